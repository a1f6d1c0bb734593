"""One way in for expressions about picture files, whatever layout they come in."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from diffuprompt.data import data_folders, short
from diffuprompt.errors import DataError
from diffuprompt.grounding.worlds import flickr, refer
from diffuprompt.grounding.worlds.checking import Collector
from diffuprompt.grounding.worlds.coco import read_coco
from diffuprompt.grounding.worlds.filed import FiledExpressions
from diffuprompt.grounding.worlds.mdetr import has_captioned_images, read_mdetr
from diffuprompt.grounding.worlds.roots import RootFinder, root_phrase
from diffuprompt.grounding.worlds.splits import SPLITS, check_split, split_of_name
from diffuprompt.reading import read_json

Layout = Literal["refer", "flickr", "json"]

# Below the folder of annotations, or one of the two above it
_PICTURES = (
    ".",
    "images",
    "train2014",
    "images/train2014",
    "images/mscoco/images/train2014",
    "flickr30k-images",
    "flickr30k_images",
)
_EXPECTED = """\
expected one of
  a folder with refs(...).p and instances.json (RefCOCO, RefCOCO+, RefCOCOg), or that refs file
  a folder with Sentences, Annotations and <split>.txt (Flickr30k Entities)
  a folder with one finetune_..._<split>.json (MDETR), or that file
  a folder with <split>.json or annotations.json (images, and annotations with image_id, bbox and \
caption), or any such file
  a path with {split} in it, in whose place the split is put"""


def open_expressions(
    spec: str | Path,
    split: str,
    *,
    pictures: Path | None = None,
    roots: RootFinder = root_phrase,
) -> FiledExpressions:
    """Return the expressions of a split; what layout they are in is found out.

    Args:
        spec: a file or folder, also below the data folder: RefCOCO's, MDETR's, Flickr30k Entities'
            or a user's own, see `refer`, `mdetr`, `flickr` and `coco`; "{split}" in it stands for
            the split.
        split: "train", "val", "test", "testA" or "testB", as the set has them; of a JSON file of
            one's own that names no splits, "train", "val" and "test" are dealt by picture, and
            "all" is everything.
        pictures: folder of the pictures; looked for beside the annotations when it is not given.
        roots: finds root phrases where annotations have none.

    Raises:
        DataError: the layout is unknown, or anything is wrong with an annotation of the split; all
            of it is said at once.
    """
    check_split(split, [*SPLITS, "all"], spec)
    path = _found(str(spec).replace("{split}", split))
    layout, file = _layout(path, split)
    if pictures is None:
        folder = (file if layout == "flickr" else file.parent).absolute()
        folders = [base / name for base in (folder, *folder.parents[:2]) for name in _PICTURES]
    else:
        folders = [pictures]
    collector = Collector(file, folders, roots=roots)
    if layout == "refer":
        refer.read_refer(file, split, collector)
    elif layout == "flickr":
        flickr.read_flickr(file, split, collector)
    else:
        data = read_json(file, error=DataError)
        read = read_mdetr if has_captioned_images(data) else read_coco
        read(data, file, split, collector)
    return collector.finish()


def _found(spec: str) -> Path:
    places = [Path(spec), *(folder / spec for folder in data_folders())]
    try:
        there = [path for path in places if path.exists()]
    except (OSError, ValueError) as cause:  # too long, or with a null character
        raise DataError(f"{short(spec)} is no path; {_EXPECTED}") from cause
    if there:
        return there[0]
    looked = ", ".join(str(path) for path in places)
    raise DataError(f"no file or folder {short(spec)}, looked for at {looked}; {_EXPECTED}")


def _layout(path: Path, split: str) -> tuple[Layout, Path]:
    """Return the layout of a file or folder, and the file or folder that a reader wants.

    Raises:
        DataError: it is none of them, or more than one.
    """
    if path.is_file():
        if path.suffix in (".p", ".pkl", ".pickle"):
            return "refer", path
        if path.suffix == ".json":
            return "json", path
        raise DataError(f"{path}: not known by its name; {_EXPECTED}")
    if (path / flickr.SENTENCES).is_dir() and (path / flickr.ANNOTATIONS).is_dir():
        return "flickr", path
    references = sorted(path.glob("refs(*).p"))
    prepared = sorted(path.glob("finetune_*.json"))
    own = [file for name in (split, "annotations") if (file := path / f"{name}.json").is_file()][:1]
    of_split = [file for file in prepared if split_of_name(file) == split]
    candidates = [*references, *of_split, *own]
    if len(candidates) > 1:
        shown = ", ".join(file.name for file in candidates)
        raise DataError(f"{path}: several sets of expressions ({shown}); name one of these files")
    if not candidates and prepared:
        shown = ", ".join(file.name for file in prepared)
        raise DataError(f"{path}: no split {split!r} among {shown}")
    if not candidates:
        raise DataError(f"{path}: no expressions of split {split!r} found; {_EXPECTED}")
    return ("refer" if references else "json"), candidates[0]
