"""Two halves of Caltech101 that share no class: living things, and objects.

The rule: living are people, animals, plants, fungi, whole or in part, dead ones such as dinosaurs
too; objects are all that people made, pictures and figures of living things (Garfield, Snoopy,
a Buddha) and dishes (pizza) among them. ``face`` is living: its pictures show people. Each half
keeps the order of the whole and its few-shot subsets are drawn from it alone.
"""

from __future__ import annotations

from diffuprompt.data.manifest import Manifest
from diffuprompt.errors import DataError

WHOLE = "caltech101"
_LIVING = (
    "face", "leopard", "ant", "bass", "beaver", "bonsai", "brain", "brontosaurus", "butterfly",
    "cougar_body", "cougar_face", "crab", "crayfish", "crocodile", "crocodile_head", "dalmatian",
    "dolphin", "dragonfly", "elephant", "emu", "flamingo", "flamingo_head", "gerenuk", "hawksbill",
    "hedgehog", "ibis", "joshua_tree", "kangaroo", "llama", "lobster", "lotus", "mayfly",
    "nautilus", "octopus", "okapi", "panda", "pigeon", "platypus", "rhino", "rooster", "scorpion",
    "sea_horse", "starfish", "stegosaurus", "strawberry", "sunflower", "tick", "trilobite",
    "water_lilly", "wild_cat",
)  # fmt: skip
_OBJECTS = (
    "motorbike", "accordion", "airplane", "anchor", "barrel", "binocular", "buddha", "camera",
    "cannon", "car_side", "ceiling_fan", "cellphone", "chair", "chandelier", "cup", "dollar_bill",
    "electric_guitar", "euphonium", "ewer", "ferry", "garfield", "gramophone", "grand_piano",
    "headphone", "helicopter", "inline_skate", "ketch", "lamp", "laptop", "mandolin", "menorah",
    "metronome", "minaret", "pagoda", "pizza", "pyramid", "revolver", "saxophone", "schooner",
    "scissors", "snoopy", "soccer_ball", "stapler", "stop_sign", "umbrella", "watch", "wheelchair",
    "windsor_chair", "wrench", "yin_yang",
)  # fmt: skip
HALVES: dict[str, tuple[str, ...]] = {
    f"{WHOLE}-living": _LIVING,
    f"{WHOLE}-objects": _OBJECTS,
}


def half_of(whole: Manifest, name: str) -> Manifest:
    """Return a half of Caltech101, called ``name``, a key of `HALVES`.

    Raises `DataError` where ``whole`` does not have just the classes of both lists.
    """
    known = {c for classes in HALVES.values() for c in classes}
    odd = sorted(known ^ set(whole.classes))
    if odd:
        raise DataError(
            f"{whole.name}: expected the {len(known)} classes of Caltech101 to take the half "
            f"{name!r} of; missing or unknown: {odd[:12]}"
        )
    chosen = set(HALVES[name])
    labels = [label for label, c in enumerate(whole.classes) if c in chosen]
    part = whole.select(labels)
    return Manifest(name, part.root, part.classes, part.splits)
