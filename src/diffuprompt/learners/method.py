"""What a method is, as data: the options of a learner and the recipes it is trained by; no torch.

A method is one file in `methods`. Nothing else in the package knows its name: what others must know
of a learner is a field of `Method` or a property of its options.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from diffuprompt.errors import ConfigError
from diffuprompt.learners.legacy_keys import LegacyKeys
from diffuprompt.learners.options import LATER, Options, needed, refuse
from diffuprompt.ranges import BATCH, EPOCHS, RATE, WEIGHT, Range, misfits

if TYPE_CHECKING:
    from diffuprompt.learners.base import Learner

PUBLISHED_ON = "openai/clip-vit-base-patch16"  # the field's common backbone
# protocols that a recipe's command names, and what trains by them: the field takes one source
SOURCES = {"few-shot": "NAME", "cross-dataset": "imagenet", "domain": "imagenet"}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a learner is trained; the defaults are Dassl's, the common recipe of the field.

    Attributes:
        epochs: passes over the few-shot images.
        batch: images per step; part of the recipe.
        lr: rate after the warm-up epoch at 1e-5.
        weight_decay: applied to every learnable, as in the field's code.
        views: random views that an image has; epoch e sees view e modulo ``views``. 0 is a fresh
            view every epoch, as published; fewer views can be cached and save most of the time.
        augment: what a random view is: "crop" (crop of at least 0.08 of the area, flip),
            "large-crop" (at least 0.5, flip) or "randaugment" (squashed, two of sixteen changes).
        algorithm: "sgd" (momentum 0.9), "adam" or "adamw".
        schedule: "dassl" (a warm-up epoch, then cosine by epochs), "cosine" (by steps),
            "cosine-floor" (to 1e-6), "two-stage" (one of these for each stage) or "constant".
        adam_eps: what both Adams add to the root of the second moment.
        last_batch: of an epoch, where fewer images are left than a batch: "drop" it, or "keep" it.
        unseen_views: whether epochs see views behind those that the learner was started on, as a
            cache is made of; else they count from the same first one.
    """

    epochs: Annotated[int, EPOCHS]
    batch: Annotated[int, BATCH]
    lr: Annotated[float, RATE]
    weight_decay: Annotated[float, WEIGHT] = 5e-4
    views: Annotated[int, Range(0, 10_000)] = 0
    augment: Literal["crop", "large-crop", "randaugment"] = "crop"
    algorithm: Literal["sgd", "adam", "adamw"] = "sgd"
    schedule: Literal["dassl", "cosine", "cosine-floor", "two-stage", "constant"] = "dassl"
    adam_eps: Annotated[float, Range(0, 1, above=True)] = field(default=1e-8, metadata=LATER)
    last_batch: Literal["drop", "keep"] = field(default="drop", metadata=LATER)
    unseen_views: bool = field(default=False, metadata=LATER)

    def __post_init__(self) -> None:
        refuse(misfits(self, "train"))

    def steps_per_epoch(self, images: int) -> int:
        """Return the batches of an epoch: whole ones, and what is left where that is kept.

        A set smaller than a batch is one step (as in Dassl).
        """
        whole, left = divmod(images, self.batch)
        return max(1, whole + (left > 0 and self.last_batch == "keep"))

    def stated(self) -> dict[str, Any]:
        """Return the values that keys and runs name: what came later only where it is used."""
        return needed(TrainConfig(epochs=0, batch=1, lr=1.0), asdict(self))


PAPER = TrainConfig(epochs=50, batch=32, lr=3.5e-3)
"""Of every learner with generated prompts in arXiv 2410.20164, section 5.1 (SGD; CoCoOp: batch 4).

Momentum, weight decay, schedule and views, of which it says nothing, are the field's.
"""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One named recipe of one learner.

    Attributes:
        learner: name of the method.
        name: of the recipe: a benchmark ("base-to-new", "cross-dataset", "domain", "few-shot"),
            "lite" for small towers, or a setting of its own.
        train: how it is trained.
        options: what differs from the method's own options.
        source: where the recipe is from.
        published: numbers that its authors report with it, on CLIP ViT-B/16 unless ``source`` says
            otherwise; averages over the benchmark's data sets.
        benchmark: which one it is for, where the name says more than that or something else.
        fewer_epochs: ``(shots, epochs)``: below that many shots, that many epochs.
        steps_per_shot: above 0, as many epochs as make that many steps for each shot that a class
            has on average, rounded up, of those asked for;
            those of ``train`` make them with 50 classes of at most 16 shots.
    """

    learner: str
    name: str
    train: TrainConfig
    options: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    published: Mapping[str, float] = field(default_factory=dict)
    benchmark: str = ""
    fewer_epochs: tuple[tuple[int, int], ...] = ()
    steps_per_shot: int = 0

    @property
    def command(self) -> str:
        """Return what trains by this recipe, on the data, protocol and backbone it is meant for.

        "NAME" stands for any data set.
        """
        protocol = next((p for p in SOURCES if p in (self.name, self.benchmark)), "")
        words = f"diffuprompt train --data {SOURCES.get(protocol, 'NAME')}"
        words += f" --learner {self.learner} --preset {self.name}"
        words += f" --protocol {protocol}" if protocol else ""
        return words + ("" if self.name == "lite" else f" --backbone {PUBLISHED_ON}")

    def named(self, name: str, **changes: Any) -> Preset:
        """Return the same recipe for another benchmark."""
        return replace(self, name=name, **changes)


@dataclass(frozen=True, kw_only=True)
class Method:
    """A learner by name.

    Attributes:
        name: in commands, files and records; small letters, digits and hyphens, "+" at the end.
        title: in tables and figures, as its authors spell it.
        about: one sentence.
        options: its own values of the options of its learner.
        presets: its recipes, the one to take first where none is asked for.
        learner: the class that carries ``options`` out: "module:Class", which is imported when the
            first one is built, or the class itself. By default prompts x losses.
        needs_images: False where nothing depends on training images: one result for all shots.
        templates_in: the option that takes sentence templates, by default each data set's own;
            empty for a method that its authors run with the same words everywhere.
        own_templates: data set -> its authors' templates, where they are not the data set's own.
        legacy: names of its learned tensors in its authors' checkpoints, where those can be read.
        legacy_cache: of a method whose authors save a cache of N features in a file of its own, how
            they lie there: "columns" ``(E, N)`` or "rows" ``(N, E)``; one-hot labels in another.
    """

    name: str
    title: str
    about: str
    options: Options
    presets: tuple[Preset, ...]
    learner: str | type[Learner] = "diffuprompt.learners.prompt_learner:PromptLearner"
    needs_images: bool = True
    templates_in: str = ""
    own_templates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    legacy: LegacyKeys = ()
    legacy_cache: Literal["no", "columns", "rows"] = "no"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*\+*", self.name):
            raise ConfigError(
                "method: expected a name of small letters, digits and hyphens, with or without "
                f"plus signs at its end, got {self.name!r}"
            )
        others = [preset.learner for preset in self.presets if preset.learner != self.name]
        if others:
            raise ConfigError(f"method {self.name}: its presets are of {others}; name its own")
