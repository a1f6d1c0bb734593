"""The artifact: a folder with learnables only, what they need to be used, and a card.

``prompts.safetensors`` holds tensors, ``artifact.json`` everything else, ``README.md`` is for
people. Nothing in it is executed on loading, and nothing that does not fit is passed over.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffuprompt.checkpoints import portable_name
from diffuprompt.clip import Clip, TextPlan
from diffuprompt.engine import read_tensors, write_json, write_tensors, write_text
from diffuprompt.errors import CheckpointError, DiffupromptError
from diffuprompt.generators import KINDS, FitConfig, PromptGenerator, build_generator
from diffuprompt.hub.calibration import Calibration
from diffuprompt.hub.card import card
from diffuprompt.hub.description import (
    DESCRIPTION,
    Description,
    GeneratorPart,
    as_json,
    check_seal,
    read_description,
    sealed,
    typed,
)
from diffuprompt.hub.places import load_backbone
from diffuprompt.learners import Learner, build_learner, find_method, upgrade_options
from diffuprompt.runs import checksum

TENSORS, CARD = "prompts.safetensors", "README.md"
MOST_TOKENS = 4096  # of a prompt, or layers; what is described is built before it is compared
MOST_NUMBERS = 10_000
# Whatever a description of the right kinds can still make the builders stumble over
_UNBUILDABLE = (
    *(DiffupromptError, TypeError, ValueError, RuntimeError, ArithmeticError, LookupError),
    *(AttributeError, AssertionError, MemoryError),
)


@dataclass(frozen=True, eq=False)
class Artifact:
    """A loaded artifact: what was learned, ready to be used."""

    description: Description
    clip: Clip
    learner: Learner
    generator: PromptGenerator | None


def save_artifact(
    folder: Path,
    learner: Learner,
    classes: tuple[str, ...],
    generator: PromptGenerator | None,
    training: Mapping[str, Any],
) -> Description:
    """Write an artifact; ``training`` is the resolved configuration, kept for the card.

    Nothing in it belongs to this machine: of a backbone's path only the last part is kept.
    """
    tensors = {f"learner.{k}": v for k, v in learner.state_dict().items()}
    if generator is not None:
        tensors |= {f"generator.{k}": v for k, v in generator.state_dict().items()}
    description = sealed(describe(learner, classes, generator, training, checksum(tensors)))
    write_tensors(folder / TENSORS, tensors, {"format": "pt"})
    size = sum(t.numel() for t in tensors.values())
    write_text(folder / CARD, card(description.model_dump(), size))
    write_json(folder / DESCRIPTION, as_json(description))
    return description


def write_calibration(folder: Path, calibration: Calibration) -> None:
    """Put a calibration into an artifact, in the place of one that is there."""
    description = read_description(folder).model_copy(update={"calibration": calibration})
    write_json(folder / DESCRIPTION, as_json(sealed(description)))


def describe(
    learner: Learner,
    classes: tuple[str, ...],
    generator: PromptGenerator | None = None,
    training: Mapping[str, Any] | None = None,
    tensors_hash: str = "",
) -> Description:
    """Return what ``artifact.json`` says of a learner; without a hash it belongs to no file."""
    part = None
    if generator is not None:
        part = GeneratorPart(
            name=generator.name,
            config=dataclasses.asdict(generator.config),
            fit=dataclasses.asdict(generator.fitting),
            seed=generator.seed,
            scope=generator.scope,
            solvers=generator.fitted_for,
        )
    clip = learner.clip
    return Description(
        backbone=portable_name(clip.name),
        backbone_hash=clip.weights_hash,
        backbone_identity=clip.identity,
        preprocess=clip.preprocess.to_hf(),
        classes=classes,
        learner=learner.name,
        learner_config=learner.config(),
        spec=learner.spec.to_json(),
        spec_hash=learner.spec.hash,
        generator=part,
        tensors_hash=tensors_hash,
        training=dict(training or {}),
    )


def load_artifact(
    folder: Path,
    *,
    backbone: str | None = None,
    device: torch.device | str = "cpu",
    clip: Clip | None = None,
    plan: TextPlan | None = None,
) -> Artifact:
    """Load an artifact strictly.

    Args:
        folder: what `save_artifact` wrote.
        backbone: where the backbone is; by default see `load_backbone`.
        device: where to put everything.
        clip: an already loaded backbone.
        plan: how text features are computed.

    Raises:
        CheckpointError: a file is missing, damaged or altered; the backbone is another one; tensors
            are missing, left over, of another shape or of another kind.
        BackboneNeededError: nobody said yet where the backbone is; see `load_backbone`.
    """
    folder = Path(folder)
    description = read_description(folder)
    tensors, _ = read_tensors(folder / TENSORS)
    if checksum(tensors) != description.tensors_hash:
        raise CheckpointError(
            f"{folder / TENSORS}: the tensors are not those that {DESCRIPTION} describes; "
            "copy the whole artifact folder again"
        )
    if clip is None:
        clip = load_backbone(folder, description, backbone, device)
        if description.preprocess.get("exif_orientation") is True:
            clip.apply_exif_orientation()
    _check_backbone(folder, description, clip)
    learner, generator, tensors = _build(description, clip, plan, tensors, folder / DESCRIPTION)
    fill(learner, tensors, "learner.", folder / TENSORS)
    if generator is not None:
        fill(generator, tensors, "generator.", folder / TENSORS)
        generator.to(clip.device).eval().requires_grad_(False)
    left = [k for k in tensors if not k.startswith(("learner.", "generator."))]
    if left or (generator is None and any(k.startswith("generator.") for k in tensors)):
        raise CheckpointError(f"{folder / TENSORS}: unexpected tensors {left or 'of a generator'}")
    check_seal(description, folder / DESCRIPTION)
    return Artifact(description, clip, learner.to(clip.device).requires_grad_(False), generator)


def _check_backbone(folder: Path, description: Description, clip: Clip) -> None:
    """Raise `CheckpointError` unless ``clip`` is the backbone that was trained on."""
    if clip.weights_hash != description.backbone_hash:
        raise CheckpointError(
            f"{folder}: the prompts were learned on {description.backbone!r} with weights "
            f"{description.backbone_hash}, but {clip.name!r} has {clip.weights_hash}; "
            "name the right backbone with --backbone"
        )
    if clip.preprocess.to_hf() != description.preprocess:
        raise CheckpointError(
            f"{folder}: the backbone's preprocessing differs from the one at training; "
            "restore its preprocessor_config.json"
        )
    if description.backbone_identity not in ("", clip.identity):
        raise CheckpointError(
            f"{folder}: the backbone {clip.name!r} has the weights of training, but another "
            "configuration or vocabulary; restore its config.json and its tokenizer files"
        )


def _of_today(
    tensors: Mapping[str, Tensor], generator: PromptGenerator, part: GeneratorPart
) -> dict[str, Tensor]:
    """Return an artifact's tensors with those of the generator under today's names."""
    prefix = "generator."
    own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    rest = {k: v for k, v in tensors.items() if not k.startswith(prefix)}
    return rest | {prefix + k: v for k, v in generator.upgrade(part.config, own).items()}


def _build(
    description: Description,
    clip: Clip,
    plan: TextPlan | None,
    tensors: dict[str, Tensor],
    file: Path,
) -> tuple[Learner, PromptGenerator | None, dict[str, Tensor]]:
    """Build what is described, with values still to be filled in: ``tensors`` by today's names."""
    generator = None
    stored = sum(t.numel() for t in tensors.values())
    limits = {
        **dict.fromkeys(("num_ctx", "vision_ctx", "depth", "vision_depth"), MOST_TOKENS),
        "num_classes": len(description.classes),
        "size": stored // clip.config.embed_dim,  # of a cache: so many features are in the file
        **dict.fromkeys(("latent", "rank", "steps", "ensemble"), MOST_NUMBERS),
    }
    try:
        values = upgrade_options(description.learner, description.learner_config)
        learner = build_learner(
            description.learner,
            clip,
            typed(find_method(description.learner).options, values, limits),
            plan=plan,
            generator=torch.Generator().manual_seed(0),
        )
        if part := description.generator:
            generator = build_generator(
                part.name,
                learner.spec,
                clip.config.embed_dim,
                typed(KINDS[part.name].config(), part.config, limits),
                typed(FitConfig(), part.fit, limits),
                seed=part.seed,
                scope=part.scope,
            )
            for nfe in part.solvers:
                generator.solver(nfe)
            tensors = _of_today(tensors, generator, part)
    except _UNBUILDABLE as cause:
        raise CheckpointError(f"{file}: describes nothing that can be built: {cause}") from cause
    if (learner.spec.hash, learner.spec.to_json()) != (description.spec_hash, description.spec):
        raise CheckpointError(
            f"{file}: spec and spec_hash {description.spec_hash} do not belong to this "
            f"learner on this backbone ({learner.spec.hash})"
        )
    return learner, generator, tensors


def fill(module: nn.Module, tensors: Mapping[str, Tensor], prefix: str, file: Path) -> None:
    """Load the tensors under ``prefix``, strictly; every misfit in one `CheckpointError`."""
    given = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
    own = module.state_dict()
    problems = [f"missing {prefix}{k}" for k in own if k not in given]
    problems += [f"unexpected {prefix}{k}" for k in given if k not in own]
    for k in own.keys() & given.keys():
        want, got = own[k], given[k]
        if want.shape != got.shape:
            what = f"expected {tuple(want.shape)}, got {tuple(got.shape)}"
            problems.append(f"{prefix}{k}: {what}")
        elif want.dtype != got.dtype and not (want.is_floating_point() and got.is_floating_point()):
            problems.append(f"{prefix}{k}: expected {want.dtype}, got {got.dtype}")
        elif want.dtype != got.dtype and not torch.isfinite(got.to(want.dtype)).all():
            problems.append(f"{prefix}{k}: values beyond the range of {want.dtype}")
    if problems:
        raise CheckpointError(f"{file}: does not fit\n  " + "\n  ".join(sorted(problems)))
    module.load_state_dict(given)
