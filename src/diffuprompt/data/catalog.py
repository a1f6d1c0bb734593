"""The fifteen data sets of the benchmark and the scenes, by name, as data."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from diffuprompt.data.halves import HALVES, WHOLE, half_of
from diffuprompt.data.locate import data_folders, first_existing, homes
from diffuprompt.data.manifest import Manifest
from diffuprompt.data.official import (
    AIRCRAFT_FILES,
    LISTS,
    NAMES_FILE,
    OFFICIAL,
    ImageNetPlaces,
    read_aircraft,
    read_imagenet,
    read_lists,
    read_variant,
)
from diffuprompt.data.provenance import PROVENANCE, Provenance
from diffuprompt.data.splitfile import PREFIX, read_split_file
from diffuprompt.errors import AbsentDataError, DataError, near_miss

if TYPE_CHECKING:
    from diffuprompt.data.scenes.attributes import Style

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One published data set: where its images lie, its official sizes, its zero-shot template.

    ``images`` is relative to the folder of all data sets; ``sizes`` counts train, val and test,
    0 where the benchmark has no such split (ImageNet tests on its val images).
    """

    name: str
    title: str
    images: str
    num_classes: int
    sizes: tuple[int, int, int]
    template: str = "a photo of a {}."
    split: str = ""

    @property
    def split_file(self) -> str:
        """Name of the community's split file, empty for a data set without one."""
        return f"{PREFIX}{self.split}.json" if self.split else ""

    @property
    def provenance(self) -> Provenance:
        """Where it is described, its licence and the rule of its class names."""
        return PROVENANCE[self.name]


_SUFFIX = "-matched-frequency-format-val"
_ROWS = (
    Entry("imagenet", "ImageNet", "imagenet/images", 1000, (1281167, 0, 50000)),
    Entry(
        *("caltech101", "Caltech101", "caltech-101/101_ObjectCategories", 100, (4128, 1649, 2465)),
        split="Caltech101",
    ),
    Entry(
        *("oxford_pets", "OxfordPets", "oxford_pets/images", 37, (2944, 736, 3669)),
        template="a photo of a {}, a type of pet.",
        split="OxfordPets",
    ),
    Entry(
        *("stanford_cars", "StanfordCars", "stanford_cars", 196, (6509, 1635, 8041)),
        split="StanfordCars",
    ),
    Entry(
        *("oxford_flowers", "Flowers102", "oxford_flowers/jpg", 102, (4093, 1633, 2463)),
        template="a photo of a {}, a type of flower.",
        split="OxfordFlowers",
    ),
    Entry(
        *("food101", "Food101", "food-101/images", 101, (50500, 20200, 30300)),
        template="a photo of {}, a type of food.",
        split="Food101",
    ),
    Entry(
        *("fgvc_aircraft", "FGVCAircraft", "fgvc_aircraft/images", 100, (3334, 3333, 3333)),
        template="a photo of a {}, a type of aircraft.",
    ),
    Entry("sun397", "SUN397", "sun397/SUN397", 397, (15880, 3970, 19850), split="SUN397"),
    Entry(
        *("dtd", "DTD", "dtd/images", 47, (2820, 1128, 1692)),
        template="{} texture.",
        split="DescribableTextures",
    ),
    Entry(
        *("eurosat", "EuroSAT", "eurosat/2750", 10, (13500, 5400, 8100)),
        template="a centered satellite photo of {}.",
        split="EuroSAT",
    ),
    Entry(
        *("ucf101", "UCF101", "ucf101/UCF-101-midframes", 101, (7639, 1898, 3783)),
        template="a photo of a person doing {}.",
        split="UCF101",
    ),
    Entry("imagenetv2", "ImageNetV2", f"imagenetv2/imagenetv2{_SUFFIX}", 1000, (0, 0, 10000)),
    Entry("imagenet_sketch", "ImageNet-Sketch", "imagenet-sketch/images", 1000, (0, 0, 50889)),
    Entry("imagenet_a", "ImageNet-A", "imagenet-adversarial/imagenet-a", 200, (0, 0, 7500)),
    Entry("imagenet_r", "ImageNet-R", "imagenet-rendition/imagenet-r", 200, (0, 0, 30000)),
)
NUMBERED = "imagenetv2"  # its folders are 0 to 999
LIST_OF_NAMES = ("imagenet", NUMBERED, "imagenet_sketch", "imagenet_a", "imagenet_r")
_IMAGENET = ("images", ".", "ILSVRC/Data/CLS-LOC")  # where train and val are in its folder
CATALOG = {entry.name: entry for entry in _ROWS}
SCENE_STYLES: dict[str, Style] = {
    "scenes": "clean",
    "scenes-sketch": "sketch",
    "scenes-noisy": "noisy",
    "scenes-inverted": "inverted",
    "scenes-painted": "painted",
}


def names() -> tuple[str, ...]:
    """Return every name that `open_named` knows, the scenes first, halves of data sets last."""
    return (*SCENE_STYLES, *CATALOG, *HALVES)


def catalog_name(name: str) -> str:
    """Return the catalog's name of a data set that was opened, any other name as it is.

    A half of Caltech101 is of the whole, and what the authors' own lists say (`read_lists`) of the
    data set that they list.
    """
    plain = WHOLE if name in HALVES else name.removesuffix(OFFICIAL)
    return plain if plain in CATALOG else name


def is_test_only(name: str) -> bool:
    """Whether a data set is published without training images."""
    return name in CATALOG and CATALOG[name].sizes[0] == 0


def open_named(name: str, *, root: Path | None = None, cache: Path | None = None) -> Manifest:
    """Open a data set of the catalog; the manifest is not checked yet.

    Nine have a split file of the community, which says train, val, test and names; where it is not
    there, the authors' own lists are read as another data set (`read_lists`). Aircraft has official
    lists, and ImageNet and its variants are folders by WordNet id (or number) and a list of names.

    ``root`` is the folder that holds the published data sets (see `data_folders`), ``cache``
    the folder in which the scenes get a folder of their own. Raises `DataError` for an unknown
    name, and for files that are not there it says which and where they were looked for.
    """
    if name in SCENE_STYLES:
        from diffuprompt.data.scenes import materialise

        # a folder of its own: it is replaced as a whole when it is incomplete
        return materialise(None if cache is None else cache / name, style=SCENE_STYLES[name])
    if name in HALVES:
        return half_of(open_named(WHOLE, root=root), name)
    if name not in CATALOG:
        hint = near_miss(name, names())
        raise DataError(f"unknown data set {name!r}.{hint} Known: {', '.join(names())}")
    entry = CATALOG[name]
    manifest = open_entry(entry, data_folders(root))
    sizes = tuple(len(items) for items in manifest.splits.values())
    if manifest.name == entry.name and sizes != entry.sizes:
        log.warning("%s: %s images, not the official %s", manifest.root, sizes, entry.sizes)
    if len(manifest.classes) != entry.num_classes:
        many = (len(manifest.classes), entry.num_classes)
        log.warning("%s: %d classes, not the official %d", manifest.root, *many)
    return manifest


def image_places(entry: Entry, root: Path | None = None) -> list[Path]:
    """Return where the pictures of a data set are looked for, the usual place first."""
    return _images(entry, data_folders(root))


def open_entry(entry: Entry, folders: list[Path]) -> Manifest:
    """Open what lies in ``folders`` (see `data_folders`), whatever its size; see `open_named`."""
    try:
        if entry.split:
            return _open_split(entry, folders)
        if entry.name in LIST_OF_NAMES:
            return _open_imagenet(entry, folders)
        places = homes(folders, entry.name)
        lists = {file: [place / file for place in places] for file in AIRCRAFT_FILES}
        return read_aircraft(first_existing(lists)[0].parent)
    except DataError as error:
        here = any(place.is_dir() for place in _images(entry, folders))
        kind = DataError if here else AbsentDataError
        raise kind(f"{entry.title}: {error}") from error


def _images(entry: Entry, folders: list[Path]) -> list[Path]:
    top, _, inside = entry.images.partition("/")
    usual = [place / inside for place in homes(folders, top, entry.name)]
    if entry.name == "imagenet":  # as its archives unpack
        found = [place / at for place in homes(folders, top) for at in _IMAGENET]
        return [p for p in found if (p / "val").is_dir() or (p / "train").is_dir()] or usual
    if entry.name in LIST_OF_NAMES:
        unpacked = {"imagenet_sketch": "sketch"}.get(entry.name, Path(inside).name)
        tops = [*homes(folders, top, entry.name), *folders]
        return list(dict.fromkeys([*usual, *(place / unpacked for place in tops)]))
    return usual


def _open_imagenet(entry: Entry, folders: list[Path]) -> Manifest:
    top = entry.images.partition("/")[0]
    own = [place / NAMES_FILE for place in homes(folders, top, entry.name)]
    shared = [place / NAMES_FILE for place in homes(folders, "imagenet")]
    images, listed = first_existing(
        {
            f"the image folder {entry.images}": _images(entry, folders),
            f"{NAMES_FILE}, a line 'n01440764 tench' for each class (DATASETS.md of CoOp's "
            "repository says where it is)": list(dict.fromkeys([*own, *shared])),
        }
    )
    places = ImageNetPlaces(name=entry.name, images=images, names=listed)
    if entry.name == "imagenet":
        return read_imagenet(places)
    return read_variant(places, numbered=entry.name == NUMBERED)


def _open_split(entry: Entry, folders: list[Path]) -> Manifest:
    top = entry.images.partition("/")[0]
    places = homes(folders, top, entry.name)
    splits = [place / entry.split_file for place in places]
    for folder in folders:
        splits += [folder / "coop-splits" / entry.split_file, folder / entry.split_file]
    image_folders = _images(entry, folders)
    if not any(path.is_file() for path in splits):
        home = next((place for place in places if _has_lists(entry, place)), None)
        images = next((path for path in image_folders if path.is_dir()), None)
        if home is not None and images is not None:
            log.warning(
                "%s: no %s, so the authors' own lists are read, as %s-official: other images than "
                "the benchmark's, so no published number is of them",
                *(home, entry.split_file, entry.name),
            )
            return read_lists(entry.name, home, images)
    images, split = first_existing(
        {
            f"the image folder {entry.images}": image_folders,
            f"the split file {entry.split_file} (the benchmark's split was drawn at random once, "
            "and only this file says it; DATASETS.md of CoOp's repository names it)": splits,
        }
    )
    # published data sets are kept once and linked to
    return read_split_file(split, images, entry.name, allow_links=True)


def _has_lists(entry: Entry, home: Path) -> bool:
    return entry.name in LISTS and all((home / file).is_file() for file in LISTS[entry.name].files)
