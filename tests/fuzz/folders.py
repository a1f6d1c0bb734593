"""Folders of pictures as people, Macs, Windows and archives leave them."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from hypothesis import strategies as st
from tests.fuzz.group import Example, Group, Silent

from diffuprompt.data import open_dataset

PIXEL = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0\x90wS\xde\0\0\0\x0cIDATx"
    b"\x9cc\xf8\xcf\xc0\0\0\x03\x01\x01\0\xc9\xfe\x92\xef\0\0\0\0IEND\xaeB`\x82"
)
CLASSES = (b"robin", b"sea_lion", "Grünfink".encode(), "猫".encode(), b"a'b\"c", b"$(x)", b"ox")
STRANGE = (
    b"sea lion", b"Sea Lion", unicodedata.normalize("NFD", "Grünfink").encode(), b"0",
    b"n02672831", b"x" * 200,
    b"bad\xff",
    b"_", b" ", b"a\x07b", "z\u200bw".encode(), "\u202eab".encode(), b".hidden", b"-rf", b"robin ",
)  # fmt: skip
PICTURES = (b"1.png", b"2.JPG", b"c.jfif", b"d.tiff", b"e.gif", b"f.webp", b"g.png", b"h.bmp")
ODD = (
    b"._1.png", b".hidden.png", b"Thumbs.db", b"notes.txt", b"b.heic", b"r.CR2", b"bad\xff.png",
    b"x.eps", b"x.svg", b"noend", b"a\nb.png", "n\u0303.png".encode(), b".DS_Store", b"1.png.part",
)  # fmt: skip
SPLIT_FOLDERS = ((), (), (), (b"train", b"test"), (b"train", b"val", b"test"), (b"test",))
SUFFIXES = (".png", ".jpg", ".jfif", ".tiff", ".gif", ".webp", ".bmp")  # of those above
LEFT_OUT = (b".heic", b".cr2")

Tree = dict[bytes, list[bytes]]  # folder -> files


def material(_folder: Path) -> None:
    return None


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    found: Tree = {}
    names = draw(st.lists(st.sampled_from(CLASSES), min_size=2, max_size=4, unique=True))
    if draw(st.integers(0, 2)) == 0:
        names.append(draw(st.sampled_from(STRANGE)))
    for split in draw(st.sampled_from(SPLIT_FOLDERS)) or (b"",):
        for name in names:
            if split and draw(st.integers(0, 9)) == 0:
                continue
            files = list(PICTURES[: draw(st.integers(2, 8)) if draw(st.integers(0, 9)) else 0])
            if draw(st.integers(0, 3)) == 0:
                files.append(draw(st.sampled_from(ODD)))
            found[os.path.join(split, name) if split else name] = files
    return found


def examples(_material: None) -> st.SearchStrategy[Example]:
    return trees().map(lambda tree: Example(what=tree, is_wrong=_is_wrong(tree), names=("set",)))


def _visible(tree: Tree) -> dict[bytes, list[bytes]]:
    """Return the files that count, of the folders that count."""
    hidden = (b".",)
    return {
        folder: [file for file in files if not file.startswith(hidden)]
        for folder, files in tree.items()
        if not os.path.basename(folder).startswith(hidden)
    }


def _is_picture(file: bytes) -> bool:
    return os.path.splitext(file)[1].lower().decode("ascii", "replace") in SUFFIXES


def _is_wrong(tree: Tree) -> bool:
    tree = _visible(tree)
    names = {os.path.basename(folder) for folder in tree}
    texts = []
    for name in names:
        try:
            text = name.decode()
        except UnicodeDecodeError:
            return True
        if not text.isprintable() or not text.replace("_", " ").strip():
            return True
        texts.append(" ".join(unicodedata.normalize("NFC", text).replace("_", " ").split()).lower())
    if len(set(texts)) < len({unicodedata.normalize("NFC", name.decode()) for name in names}):
        return True
    return any(
        file.lower().endswith(LEFT_OUT) or (_is_picture(file) and b"\xff" in file)
        for files in tree.values()
        for file in files
    )


def check(_material: None, example: Example, folder: Path) -> None:
    root = os.fsencode(folder / "set")
    for inner, files in example.what.items():
        os.makedirs(os.path.join(root, inner), exist_ok=True)
        for file in files:
            with open(os.path.join(root, inner, file), "wb") as stream:
                stream.write(PIXEL)
    tree = _visible(example.what)
    manifest = open_dataset(folder / "set").check(needs=("test",))
    wanted = {
        os.path.join(inner, file)
        for inner, files in tree.items()
        for file in files
        if _is_picture(file)
    }
    listed = [item for items in manifest.splits.values() for item in items]
    found = {os.fsencode(item.path) for item in listed}
    if len(found) < len(listed):
        raise Silent("a picture stands twice in the manifest")
    if found != wanted:
        raise Silent(f"other pictures than there are: {sorted(found ^ wanted)[:3]}")
    for item in listed:
        above = Path(item.path).parent.name
        if unicodedata.normalize("NFC", above) != unicodedata.normalize(
            "NFC", manifest.classes[item.label]
        ):
            raise Silent(f"{item.path} is labelled {manifest.classes[item.label]!r}")


GROUP = Group(name="folders", material=material, examples=examples, check=check)
