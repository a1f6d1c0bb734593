"""One door to every detector: a bundled name, a folder, GLIP's file, or a hub id."""

from __future__ import annotations

import re
from pathlib import Path

from diffuprompt.checkpoints import fetch, find_local, is_at_hand
from diffuprompt.errors import CheckpointError
from diffuprompt.grounding.contract import Detector
from diffuprompt.grounding.detectors.captions import CaptionTokenizer
from diffuprompt.grounding.detectors.folder import CONFIG, MODEL_TYPE, load_detector
from diffuprompt.grounding.detectors.glip_checkpoint import load_glip
from diffuprompt.reading import read_json

BUNDLED_DETECTOR = "scenes-glip"
VOCABULARIES = ("tokenizer.json", "vocab.txt")
TEXT_TOWERS = ("bert-base-uncased", "google-bert/bert-base-uncased")  # whose words GLIP reads
STATES = (".pth", ".pt", ".bin")
MM = "mm-grounding-dino"
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)


def open_detector(name_or_path: str, *, download: bool = True) -> Detector:
    """Return a frozen detector.

    Args:
        name_or_path: "scenes-glip" or "collages-glip" (bundled), a folder that `save_detector`
            wrote, GLIP's ``glip_a_tiny_o365.pth`` (with bert-base-uncased's ``tokenizer.json`` or
            ``vocab.txt`` beside it, or that model at hand), a folder of transformers or a hub id of
            MM-Grounding-DINO or LLMDet, or the name of such a folder under
            ``$DIFFUPROMPT_MODELS``.
        download: whether a hub id that is not at hand is fetched.

    Raises:
        CheckpointError: nothing has this name, or a file of it cannot be used.
    """
    name = str(name_or_path)
    place = find_local(name)
    if place is None and _HUB_ID.fullmatch(name) and not name.startswith("."):
        if not (download or is_at_hand(name)):
            raise CheckpointError(
                f"detector {ascii(name)[:80]} is not here, and nothing is downloaded because a "
                "file names it; name it with --detector"
            )
        place = fetch(name)
    if place is None:
        raise CheckpointError(
            f"detector {name!r} is unknown; expected {BUNDLED_DETECTOR}, a folder of a detector "
            "(ours, or transformers' MM-Grounding-DINO), glip_a_tiny_o365.pth, or a hub id "
            "'owner/name'"
        )
    if place.is_file():
        if place.suffix not in STATES:
            raise CheckpointError(f"{place}: expected GLIP's .pth, or a folder")
        return load_glip(place, find_vocabulary(place.parent))
    source = place / CONFIG
    fields = read_json(source)
    kind = fields.get("model_type") if isinstance(fields, dict) else None
    if kind == MODEL_TYPE:
        return load_detector(place)
    if kind == MM:
        from diffuprompt.grounding.detectors.mm_folder import load_mm_grounding_dino

        return load_mm_grounding_dino(place, find_vocabulary(place))
    raise CheckpointError(f"{source}: model_type: expected {MODEL_TYPE!r} or {MM!r}, got {kind!r}")


def find_vocabulary(folder: Path) -> CaptionTokenizer:
    """Return the tokenizer in a folder, else the one of bert-base-uncased where that is at hand.

    Raises:
        CheckpointError: there is neither.
    """
    towers = [place for tower in TEXT_TOWERS if (place := find_local(tower)) is not None]
    for place in (folder, *towers):
        for name in VOCABULARIES:
            if (place / name).is_file():
                return CaptionTokenizer.from_file(place / name)
    raise CheckpointError(
        f"{folder}: no vocabulary; put tokenizer.json or vocab.txt of {TEXT_TOWERS[0]} there, or "
        f"its folder into $DIFFUPROMPT_MODELS"
    )
