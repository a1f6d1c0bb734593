"""The artifact: a folder with learnables only, what they need to be used, and a card.

``prompts.safetensors`` holds tensors, ``artifact.json`` everything else, ``README.md`` is for
people. Nothing in it is executed on loading, and nothing that does not fit is passed over.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from torch import Tensor, nn

from diffuprompt.checkpoints import as_path, load_clip, portable_name
from diffuprompt.clip import Clip, TextPlan
from diffuprompt.diffusion import NEEDS_FIT
from diffuprompt.engine import read_tensors, write_json, write_tensors, write_text
from diffuprompt.errors import CheckpointError, ConfigError
from diffuprompt.generators import KINDS, FitConfig, PromptGenerator, build_generator
from diffuprompt.hub.card import card
from diffuprompt.learners import Learner, build_learner, upgrade_options
from diffuprompt.reading import read_json
from diffuprompt.runs import checksum

SCHEMA: Literal["diffuprompt.artifact/2"] = "diffuprompt.artifact/2"
OLD_SCHEMA = "diffuprompt.artifact/1"
TENSORS, DESCRIPTION, CARD = "prompts.safetensors", "artifact.json", "README.md"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GeneratorPart(_Model):
    """How the generator was built: its own settings, and those it was fitted by."""

    name: str
    config: dict[str, Any]
    fit: dict[str, Any]
    seed: int
    scope: str = ""  # what the noise belongs to; 0.1 had none
    solvers: tuple[int, ...] = ()  # numbers of evaluations that a solver was fitted for

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in KINDS:
            raise ValueError(f"expected one of {list(KINDS)}")
        return name


class Description(_Model):
    """The content of ``artifact.json``."""

    schema_name: Literal["diffuprompt.artifact/2"] = SCHEMA
    backbone: str
    backbone_hash: str  # of the weights alone
    backbone_identity: str  # of all that features depend on; empty in artifacts of 0.1
    preprocess: dict[str, Any]
    classes: tuple[str, ...]
    learner: str
    learner_config: dict[str, Any]
    spec: list[dict[str, Any]]
    spec_hash: str
    generator: GeneratorPart | None
    tensors_hash: str
    training: dict[str, Any]


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
    description = describe(learner, classes, generator, training, checksum(tensors))
    write_tensors(folder / TENSORS, tensors, {"format": "pt"})
    size = sum(t.numel() for t in tensors.values())
    write_text(folder / CARD, card(description.model_dump(), size))
    write_json(folder / DESCRIPTION, description.model_dump(mode="json"))
    return description


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
        backbone: where the backbone is; by default where the run around the artifact found it, or
            else what its name means on this machine.
        device: where to put everything.
        clip: an already loaded backbone.
        plan: how text features are computed.

    Raises:
        CheckpointError: a file is missing, damaged or altered; the backbone is another one; tensors
            are missing, left over or of another shape.
    """
    folder = Path(folder)
    description = read_description(folder)
    tensors, _ = read_tensors(folder / TENSORS)
    if checksum(tensors) != description.tensors_hash:
        raise CheckpointError(
            f"{folder / TENSORS}: the tensors are not those that {DESCRIPTION} describes; "
            "copy the whole artifact folder again"
        )
    clip = clip or _backbone(folder, description, backbone, device)
    _check_backbone(folder, description, clip)
    part = description.generator
    learner, generator = _build(description, clip, plan, folder / DESCRIPTION)
    if generator is not None and part is not None:
        tensors = _of_today(tensors, generator, part)
    fill(learner, tensors, "learner.", folder / TENSORS)
    if generator is not None:
        fill(generator, tensors, "generator.", folder / TENSORS)
        generator.to(clip.device).eval().requires_grad_(False)
    left = [k for k in tensors if not k.startswith(("learner.", "generator."))]
    if left or (generator is None and any(k.startswith("generator.") for k in tensors)):
        raise CheckpointError(f"{folder / TENSORS}: unexpected tensors {left or 'of a generator'}")
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


def _backbone(
    folder: Path, description: Description, given: str | None, device: torch.device | str
) -> Clip:
    """Load the backbone that was named, or look where training had it."""
    run = folder.resolve().parent / "run.json"
    if given is None and run.is_file():
        found = read_json(run).get("job", {}).get("backbone", "")
        given = found if as_path(found) else None
    try:
        return load_clip(given or description.backbone, device=device)
    except CheckpointError as cause:
        raise CheckpointError(
            f"{folder}: these prompts need the backbone {description.backbone!r} (weights "
            f"{description.backbone_hash}); say where it is with --backbone. {cause}"
        ) from cause


def _build(
    description: Description, clip: Clip, plan: TextPlan | None, file: Path
) -> tuple[Learner, PromptGenerator | None]:
    """Build what the description describes, with values still to be filled in."""
    generator = None
    try:
        learner = build_learner(
            description.learner,
            clip,
            upgrade_options(description.learner, description.learner_config),
            plan=plan,
            generator=torch.Generator().manual_seed(0),
        )
        if part := description.generator:
            generator = build_generator(
                part.name,
                learner.spec,
                clip.config.embed_dim,
                KINDS[part.name].config(**part.config),
                FitConfig(**part.fit),
                seed=part.seed,
                scope=part.scope,
            )
            for nfe in part.solvers:
                generator.solver(nfe)
    except (ConfigError, TypeError, ValueError, RuntimeError) as cause:
        raise CheckpointError(f"{file}: describes nothing that can be built: {cause}") from cause
    if (learner.spec.hash, learner.spec.to_json()) != (description.spec_hash, description.spec):
        raise CheckpointError(
            f"{file}: spec and spec_hash {description.spec_hash} do not belong to this "
            f"learner on this backbone ({learner.spec.hash})"
        )
    return learner, generator


def read_description(folder: Path) -> Description:
    """Read and validate ``artifact.json``; all problems at once."""
    path = Path(folder) / DESCRIPTION
    data = read_json(path)
    found = data.get("schema_name") if isinstance(data, dict) else None
    if found not in (SCHEMA, OLD_SCHEMA):
        raise CheckpointError(
            f"{path}: expected schema {SCHEMA!r} or {OLD_SCHEMA!r}, got {found!r}; an artifact of "
            "a later version needs that version: pip install --upgrade diffuprompt"
        )
    try:
        return Description.model_validate(_upgraded(data) if found == OLD_SCHEMA else data)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise CheckpointError(f"{path}: not a valid artifact\n  " + "\n  ".join(lines)) from error


def _upgraded(data: dict[str, Any]) -> dict[str, Any]:
    """Return an ``artifact.json`` of 0.1 as one of today."""
    part = data.get("generator")
    if isinstance(part, dict):
        config = part.get("config")
        solvers = []
        if isinstance(config, dict) and config.get("sampler") in NEEDS_FIT:
            solvers = [config.get("nfe")]
        part = {**part, "solvers": solvers}
    return {**data, "schema_name": SCHEMA, "backbone_identity": "", "generator": part}


def fill(module: nn.Module, tensors: Mapping[str, Tensor], prefix: str, file: Path) -> None:
    """Load the tensors under ``prefix``, strictly; every misfit in one `CheckpointError`."""
    given = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
    own = module.state_dict()
    problems = [f"missing {prefix}{k}" for k in own if k not in given]
    problems += [f"unexpected {prefix}{k}" for k in given if k not in own]
    problems += [
        f"{prefix}{k}: expected {tuple(own[k].shape)}, got {tuple(given[k].shape)}"
        for k in own
        if k in given and own[k].shape != given[k].shape
    ]
    if problems:
        raise CheckpointError(f"{file}: does not fit\n  " + "\n  ".join(problems))
    module.load_state_dict(given)
