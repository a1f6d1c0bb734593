"""The fifteen data sets of the benchmark and the scenes, by name, as data."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from diffuprompt.data.aircraft import FILES as AIRCRAFT_FILES, read_aircraft
from diffuprompt.data.halves import HALVES, WHOLE, half_of
from diffuprompt.data.locate import data_folders, first_existing, homes
from diffuprompt.data.manifest import Manifest
from diffuprompt.data.splitfile import PREFIX, read_split_file
from diffuprompt.errors import DataError, near_miss

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


def open_named(name: str, *, root: Path | None = None, cache: Path | None = None) -> Manifest:
    """Open a data set of the catalog; the manifest is not checked yet.

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
    entry, folders = CATALOG[name], data_folders(root)
    try:
        if entry.split:
            return _open_split(entry, folders)
        if name == "fgvc_aircraft":
            return _open_aircraft(entry, folders)
    except DataError as error:
        raise DataError(f"{entry.title}: {error}") from error
    raise DataError(
        f"{entry.title} cannot be opened by name yet: it has no community split file. Arrange it "
        "as train/<class>/ and test/<class>/ with the class names as folder names, or list it in "
        "a CSV (path,label,split), and pass that path"
    )


def _open_split(entry: Entry, folders: list[Path]) -> Manifest:
    top, _, inside = entry.images.partition("/")
    places = homes(folders, top, entry.name)
    splits = [place / entry.split_file for place in places]
    for folder in folders:
        splits += [folder / "coop-splits" / entry.split_file, folder / entry.split_file]
    images, split = first_existing(
        {
            f"the image folder {entry.images}": [place / inside for place in places],
            f"the split file {entry.split_file}": splits,
        }
    )
    # published data sets are kept once and linked to
    manifest = read_split_file(split, images, entry.name, allow_links=True)
    sizes = tuple(len(items) for items in manifest.splits.values())
    if sizes != entry.sizes:
        log.warning("%s: %s images, not the official %s", split, sizes, entry.sizes)
    return manifest


def _open_aircraft(entry: Entry, folders: list[Path]) -> Manifest:
    places = homes(folders, entry.name)
    lists = {file: [place / file for place in places] for file in AIRCRAFT_FILES}
    return read_aircraft(first_existing(lists)[0].parent)
