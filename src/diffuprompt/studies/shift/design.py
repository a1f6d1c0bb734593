"""What the study under shift compares, and on which worlds: a source and its targets."""

from __future__ import annotations

from dataclasses import dataclass

from diffuprompt.data import HALVES, SCENE_STYLES, SHIFTS
from diffuprompt.errors import ConfigError, near_miss

PROTOCOL = "few-shot"  # trained on all classes of the source, as the published protocols are
SEVERITIES = (3,)
TEXTUAL = ("coop", "cocoop")  # learners of prompts of one tower, and of both
MULTI_MODAL = ("maple", "promptsrc", "coprompt")
# Multi-modal prompts suit changes of style, says the paper, and textual ones natural oddities as in
# ImageNet-A (section 5.2). Oddities cannot be made; damaged pictures stand beside the styles.
STYLES = ("scenes-sketch", "scenes-inverted", "scenes-painted", "grey", "edges", "palette")
WHOLE = "caltech101"
_LIVING, _OBJECTS = HALVES
_SCENES = tuple(name for name in SCENE_STYLES if name != "scenes")


@dataclass(frozen=True, kw_only=True)
class World:
    """A data set to train on, and those that are scored after it.

    Attributes:
        name: what a person calls it.
        source: catalog name of the data set that is trained on.
        targets: names of the test sets over which the mean is taken; of ``made`` worlds, kinds of
            shift that `data.write_shifted` makes of the source's test pictures.
        controls: catalog names of test sets that are scored and in no mean.
        made: whether the targets are written first.
    """

    name: str
    source: str
    targets: tuple[str, ...]
    controls: tuple[str, ...] = ()
    made: bool = False

    def is_style(self, target: str) -> bool:
        """Whether a target is of another style; the others are of pictures that were damaged."""
        return (target.rpartition("-")[0] if self.made else target) in STYLES

    def is_target(self, dataset: str) -> bool:
        """Whether a record's test set is one of the targets."""
        if not self.made:
            return dataset in self.targets
        kind, _, severity = dataset.rpartition("-")
        return kind in self.targets and severity.isdigit()


WORLDS: dict[str, World] = {
    world.name: world
    for world in (
        World(name="scenes", source="scenes", targets=_SCENES),
        World(name="corruptions", source=WHOLE, targets=tuple(SHIFTS), made=True),
        World(name="living", source=_LIVING, targets=(_OBJECTS,), controls=("scenes",)),
        World(name="objects", source=_OBJECTS, targets=(_LIVING,), controls=("scenes",)),
    )
}


def find_worlds(names: tuple[str, ...]) -> tuple[World, ...]:
    """Return the worlds of some names; all without any. Raises `ConfigError` for unknown ones."""
    problems = [
        f"--worlds: expected some of {list(WORLDS)}, got {name!r}.{near_miss(name, list(WORLDS))}"
        for name in names
        if name not in WORLDS
    ]
    if problems:
        raise ConfigError("\n  ".join(problems))
    return tuple(WORLDS[name] for name in names or WORLDS)


def world_of(source: str) -> World | None:
    """Return the world that is trained on a data set; None where there is none."""
    return next((world for world in WORLDS.values() if world.source == source), None)
