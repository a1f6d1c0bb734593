"""A data set whose top folders are domains: ``domain/class/picture`` (as PACS, OfficeHome, VLCS).

Some domains train, and each of the others is a data set of its own, to test on.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from diffuprompt.data.folders import read_folder
from diffuprompt.data.identifiers import with_names
from diffuprompt.data.kinds import is_hidden, is_meant, suffixes
from diffuprompt.data.manifest import Item, Manifest, Split
from diffuprompt.data.registry import registered
from diffuprompt.errors import ConfigError, DataError, near_miss


def domain_folder(spec: str, root: Path | None = None) -> Path:
    """Return the folder of domains that ``spec`` means, whether or not it is there.

    A name of `registered`, a path, or where there is none, a path below ``root``.
    """
    path = Path(spec).expanduser()
    mine = registered()
    if spec in mine:
        return Path(mine[spec].path)
    return root / path if root is not None and not path.exists() else path


def domain_names(root: Path) -> tuple[str, ...]:
    """Return the names of the domains, sorted.

    Raises:
        DataError: ``root`` is no folder, has pictures of its own, or fewer than two sub folders.
    """
    if not root.is_dir():
        raise DataError(f"{root}: expected a folder with one sub folder per domain")
    inside = [path for path in sorted(root.iterdir()) if not is_hidden(path.name)]
    loose = [p.name for p in inside if p.suffix.lower() in suffixes() or is_meant(p)]
    if loose:
        raise DataError(
            f"{root}: {len(loose)} image(s) outside any domain, e.g. {loose[0]}; expected "
            "domain/class/picture"
        )
    names = tuple(path.name for path in inside if os.path.isdir(path))
    if len(names) < 2:
        raise DataError(f"{root}: expected at least two domains as sub folders, got {list(names)}")
    return names


def open_domains(
    root: Path, train: Sequence[str], *, title: str = "", allow_outside: bool = False
) -> tuple[Manifest, tuple[Manifest, ...]]:
    """Return what the domains ``train`` make together, and each other domain to test on.

    The pictures of a training domain are split as those of a class folder (`hash_split`), so that
    some are held out; of the others every picture is in test. All have the names of all domains'
    classes, in one order. Nothing is checked yet. Without ``train`` all domains are pooled, as if
    they were one data set. Names begin with ``title``, by default the folder's.

    Raises:
        ConfigError: ``train`` names a domain that is not there.
        DataError: see `domain_names` and `read_folder`.
    """
    names = domain_names(root)
    wrong = [name for name in train if name not in names]
    if wrong:
        hint = near_miss(wrong[0], names)
        raise ConfigError(
            f"train_domains: expected some of {list(names)}, the folders of {root}, got "
            f"{wrong[0]!r}.{hint}"
        )
    found = {name: read_folder(root / name, allow_outside=allow_outside) for name in names}
    classes = tuple(sorted({c for manifest in found.values() for c in manifest.classes}))
    title = title or root.resolve().name
    pooled = [name for name in names if not train or name in train]
    rest = [name for name in names if name not in pooled]
    splits: tuple[Split, ...] = ("train", "val", "test")
    source = Manifest(
        f"{title}-{'+'.join(pooled)}" if train else title,
        root,
        classes,
        {s: tuple(i for n in pooled for i in _items(n, found[n], classes, s)) for s in splits},
    )
    targets = [
        Manifest(f"{title}-{n}", root, classes, {"test": _items(n, found[n], classes, *splits)})
        for n in rest
    ]
    return with_names(source, root), tuple(with_names(target, root) for target in targets)


def _items(
    name: str, manifest: Manifest, classes: Sequence[str], *splits: Split
) -> tuple[Item, ...]:
    """Return pictures of a domain, with paths from the top folder, in the order of the classes."""
    label = {c: classes.index(c) for c in manifest.classes}
    items = [
        Item(f"{name}/{item.path}", label[manifest.classes[item.label]])
        for split in splits
        for item in manifest.splits[split]
    ]
    return tuple(sorted(items, key=lambda item: item.label))
