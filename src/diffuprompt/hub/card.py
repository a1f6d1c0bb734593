"""The card of an artifact: what it is, how it was made, how to use it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from diffuprompt.learners import find_method

MOST = 100  # characters of a name
_HIDDEN = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")
# A "_" inside a word is no markup; "www." and "://" and "@" make links by themselves
_MARKUP = re.compile(r"[\\`*\[\]<>|~&$#@:]|(?<![^\W_])_|_(?![^\W_])|(?<=www)\.", re.IGNORECASE)

_CARD = """\
# {title}

Prompts for the frozen backbone {backbone} (weights {backbone_hash}), learned with diffuprompt.
The backbone itself is not part of this folder.

| | |
|---|---|
| learner | {learner} |
| generator | {generator} |
| data set | {dataset}, {shots} images per class, seed {seed}, protocol {protocol} |
| classes | {num_classes}: {some_classes} |
| learned numbers | {size:,} |

## Use

```python
from diffuprompt import Classifier

classifier = Classifier.from_pretrained("this/folder")
classifier("photo.jpg")  # name -> probability, the most probable first
classifier.with_classes(["lynx", "house cat"])("photo.jpg")
```

```
diffuprompt predict photo.jpg --artifact this/folder
```

`prompts.safetensors` holds tensors only; loading runs no code and refuses another backbone.
"""


def card(description: Mapping[str, Any], size: int) -> str:
    """Return the Markdown text for an artifact's description with ``size`` learned numbers."""
    training, classes = description["training"], list(description["classes"])
    generator, method = description["generator"], find_method(description["learner"])
    return _CARD.format(
        title=f"{method.title} on {_text(training.get('dataset', 'a data set'))}",
        backbone=_code(description["backbone"]),
        backbone_hash=_text(description["backbone_hash"]),
        learner=_text(description["learner"]),
        generator=_text(generator["name"] if generator else "none"),
        dataset=_text(training.get("dataset", "unknown")),
        shots=_text(training.get("shots", "unknown")),
        seed=_text(training.get("seed", "unknown")),
        protocol=_text(training.get("protocol", "unknown")),
        num_classes=len(classes),
        some_classes=", ".join(map(_text, classes[:8])) + (", ..." if len(classes) > 8 else ""),
        size=size,
    )


def _text(value: object) -> str:
    """Return a value as Markdown that shows it as it is: no markup, no links, one line."""
    return _MARKUP.sub(r"\\\g<0>", _visible(str(value)))


def _code(value: object) -> str:
    """Return a value as a code span, which knows no escapes."""
    return f"`{_visible(str(value)).replace('`', chr(39)) or ' '}`"


def _visible(text: str) -> str:
    """Show invisible characters and those that reorder text by their numbers; cut what is long."""
    shown = "".join(
        f"U+{ord(c):04X}" if unicodedata.category(c) in _HIDDEN else c for c in text[:MOST]
    )
    return shown + ("..." if len(text) > MOST else "")
