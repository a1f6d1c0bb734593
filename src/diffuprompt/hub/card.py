"""The card of an artifact: what it is, how it was made, how to use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffuprompt.learners import find_method

_CARD = """\
# {title}

Prompts for the frozen backbone `{backbone}` (weights {backbone_hash}), learned with diffuprompt.
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
        title=f"{method.title} on {training.get('dataset', 'a data set')}",
        backbone=description["backbone"],
        backbone_hash=description["backbone_hash"],
        learner=description["learner"],
        generator=generator["name"] if generator else "none",
        dataset=training.get("dataset", "unknown"),
        shots=training.get("shots", "unknown"),
        seed=training.get("seed", "unknown"),
        protocol=training.get("protocol", "unknown"),
        num_classes=len(classes),
        some_classes=", ".join(classes[:8]) + (", ..." if len(classes) > 8 else ""),
        size=size,
    )
