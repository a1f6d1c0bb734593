"""WebDataset: tar files in which the parts of a sample share the name before the first dot.

``0001.jpg`` and ``0001.cls`` are a picture and its class: a number, or a name. ``0001.txt`` is
taken where there is no ``.cls``. What else lies there is left out; nothing is unpickled, and no
name in a tar becomes a path.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffuprompt.data.archives.sample import MAX_PICTURE, Sample, Shard, split_of
from diffuprompt.data.class_names import short
from diffuprompt.data.kinds import is_hidden, suffixes
from diffuprompt.errors import DataError

ENDINGS = (".tar", ".tar.gz", ".tgz")
MAX_LABEL = 2**16  # bytes of a label
MAX_SHARDS = 100_000
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(frozen=True, kw_only=True)
class WebDataset:
    """Shards in one folder or below it; see `Archive`."""

    name: str
    folder: Path
    shards: tuple[Shard, ...]
    asked: str = "webdataset"

    def read(self, path: Path) -> Iterator[Sample]:
        """Yield what has a picture and a label, in the order of the tar.

        Raises:
            DataError: the tar is damaged, or a sample has two pictures, a picture without a label,
                or parts that are too large.
        """
        parts: dict[str, bytes] = {}
        now = ""
        try:
            with tarfile.open(path, mode="r|*") as tar:
                for member in tar:
                    folder, _, leaf = member.name.rpartition("/")
                    key, dot, kind = leaf.partition(".")
                    if not member.isfile() or is_hidden(leaf) or not dot:
                        continue
                    if f"{folder}/{key}" != now:
                        yield from _sample(path, now, parts)
                        now, parts = f"{folder}/{key}", {}
                    most = _most(kind.lower())
                    if most and member.size > most:
                        raise DataError(
                            f"{path}: {short(member.name)} has {member.size} bytes, at most {most}"
                        )
                    if most:
                        stream = tar.extractfile(member)
                        parts[kind.lower()] = stream.read() if stream is not None else b""
                yield from _sample(path, now, parts)
        except (tarfile.TarError, EOFError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"{path}: cannot be read as a tar file ({reason})") from error

    def class_names(self) -> Sequence[str]:
        """Return nothing: shards hold no names of numbers."""
        return ()


def find_shards(spec: Path) -> WebDataset | None:
    """Return the shards that ``spec`` means, None where it means none.

    It is a tar file, a pattern with ``{000..012}`` in it, or a folder with tar files in it or in
    sub folders that are called after splits, and with no other folders. Raises `DataError` for
    shards of a pattern that are missing.
    """
    if _is_tar(spec) and spec.is_file():
        return _of(spec.parent, [spec], _stem(spec))
    if _BRACES.search(str(spec)) and _is_tar(spec):
        paths = _expanded(str(spec))
        missing = [str(path) for path in paths if not path.is_file()]
        if missing:
            shown = ", ".join(missing[:5])
            raise DataError(f"{spec}: {len(missing)} of {len(paths)} shards are missing: {shown}")
        return _of(paths[0].parent, paths, paths[0].parent.resolve().name)
    found = _in_folder(spec)
    return _of(spec, found, spec.resolve().name) if found else None


def _in_folder(folder: Path) -> list[Path]:
    """Return the tar files of a folder that has no other folders than splits without any."""
    try:
        inside = sorted(p for p in folder.iterdir() if not is_hidden(p.name))
        folders = [path for path in inside if path.is_dir()]
        if any(split_of([path.name]) is None for path in folders):
            return []
        deeper = [sorted(path.iterdir()) for path in folders]
    except OSError:  # whoever reads it as a folder of classes says what is wrong
        return []
    files = [path for paths in (inside, *deeper) for path in paths]
    if any(path.is_dir() for paths in deeper for path in paths):
        return []
    return [path for path in files if _is_tar(path) and path.is_file()]


def _of(folder: Path, paths: Sequence[Path], name: str) -> WebDataset:
    shards = tuple(
        Shard(path=path, split=split_of(path.relative_to(folder).parts)) for path in paths
    )
    return WebDataset(name=name, folder=folder, shards=shards)


def _sample(path: Path, key: str, parts: dict[str, bytes]) -> Iterator[Sample]:
    pictures = [kind for kind in parts if _is_picture(kind)]
    if not pictures:
        return
    where = f"{path}: {short(key.strip('/'))}"
    if len(pictures) > 1:
        raise DataError(f"{where} has several pictures: {', '.join(pictures)}; expected one")
    text = parts.get("cls", parts.get("txt"))
    if text is None:
        raise DataError(f"{where} has no label; expected a part .cls (or .txt) beside the picture")
    try:
        label = text.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: its label is no UTF-8 text") from error
    if not label:
        raise DataError(f"{where}: its label is empty")
    number = label.isascii() and label.isdigit() and len(label) < 10
    yield Sample(picture=parts[pictures[0]], label=int(label) if number else label)


def _most(kind: str) -> int:
    """Return how many bytes a part may have, 0 for one that is not read."""
    return MAX_PICTURE if _is_picture(kind) else MAX_LABEL if kind in ("cls", "txt") else 0


def _is_picture(kind: str) -> bool:
    return f".{kind.rpartition('.')[2]}" in suffixes()


def _is_tar(path: Path) -> bool:
    return path.name.lower().endswith(ENDINGS)


def _stem(path: Path) -> str:
    return path.name.partition(".")[0]


def _expanded(pattern: str) -> list[Path]:
    """Return the paths of ``a-{000..012}.tar``; leading zeros are kept."""
    match = _BRACES.search(pattern)
    if match is None:
        return [Path(pattern)]
    first, last = match.groups()
    if not 0 <= int(last) - int(first) < MAX_SHARDS:
        raise DataError(f"{pattern}: expected {{first..last}} of at most {MAX_SHARDS} shards")
    numbers = [str(n).zfill(len(first)) for n in range(int(first), int(last) + 1)]
    head, tail = pattern[: match.start()], pattern[match.end() :]
    return [path for number in numbers for path in _expanded(f"{head}{number}{tail}")]
