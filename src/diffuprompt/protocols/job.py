"""One job, as asked for and as resolved; no torch, so wrong options fail before anything loads."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from diffuprompt.errors import ConfigError, near_miss
from diffuprompt.generators.config import DiffusionConfig, OverfitConfig
from diffuprompt.learners.presets import (
    PRESETS,
    Preset,
    TrainConfig,
    epochs_for_shots,
    find_preset,
)

GENERATORS = ("none", "diffusion")
PROTOCOLS = ("auto", "base-to-new", "few-shot", "holdout")
LITE_SCALE = 50.0  # below this logit scale, published learning rates under-train


@dataclass(frozen=True, kw_only=True)
class JobConfig:
    """What a user asks for; see ``diffuprompt train --help`` for the meaning of each field.

    ``overrides`` are "key=value" with keys like "lr", "train.epochs", "learner.num_ctx",
    "overfit.steps" or "diffusion.nfe".
    """

    data: str
    data_root: Path | None = None
    backbone: str = "scenes-clip"
    learner: str = "coop"
    generator: str = "none"
    shots: int = 16
    seed: int = 1
    protocol: Literal["auto", "base-to-new", "few-shot", "holdout"] = "auto"
    preset: str = "auto"
    overrides: tuple[str, ...] = ()
    out: Path | None = None
    runs_dir: Path = Path("runs")
    device: str = "auto"
    workers: int = 2
    text_memory_mib: int = 1024

    def __post_init__(self) -> None:
        learners = sorted({p.learner for p in PRESETS})
        problems = []
        for name, value, known in (
            ("learner", self.learner, learners),
            ("generator", self.generator, list(GENERATORS)),
            ("protocol", self.protocol, list(PROTOCOLS)),
        ):
            if value not in known:
                hint = near_miss(value, known)
                problems.append(f"{name}: expected one of {known}, got {value!r}.{hint}")
        if self.generator != "none" and self.learner == "zero-shot":
            problems.append("generator: zero-shot has no prompts to generate; use generator=none")
        for name, number, least in (
            ("shots", self.shots, 1),
            ("seed", self.seed, 0),
            ("text_memory_mib", self.text_memory_mib, 1),
            ("workers", self.workers, 0),
        ):
            if number < least:
                problems.append(f"{name}: expected at least {least}, got {number}")
        if problems:
            raise ConfigError("\n  ".join(problems))
        if self.preset != "auto":
            find_preset(self.learner, self.preset)
        apply_overrides(_sections(self.learner, find_any(self.learner)), self.overrides)


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """Every value that a result depends on; written to ``run.json`` before anything is computed."""

    dataset: str
    protocol: Literal["base-to-new", "few-shot", "holdout"]
    backbone: str
    learner: str
    generator: str
    shots: int
    seed: int
    preset: str
    train: TrainConfig
    options: Mapping[str, Any]
    overfit: OverfitConfig = field(default_factory=OverfitConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON form; what generation needs is left out of jobs that do not generate."""
        out = dataclasses.asdict(self)
        if self.generator == "none":
            del out["overfit"], out["diffusion"]
        return out

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Resolved:
        """Inverse of `to_json`."""
        rest = dict(data)
        sections = {"train": TrainConfig, "overfit": OverfitConfig, "diffusion": DiffusionConfig}
        built = {k: kind(**rest.pop(k)) for k, kind in sections.items() if k in rest}
        return cls(**rest, **built)

    @property
    def hash(self) -> str:
        """Eight hex digits over all values."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def method(self) -> str:
        """The learner, and "+generator" where there is one."""
        return self.learner + ("" if self.generator == "none" else f"+{self.generator}")


def resolve(job: JobConfig, *, dataset: str, own_pictures: bool, logit_scale: float) -> Resolved:
    """Fill in what the job leaves open: protocol, preset, and the preset's values."""
    protocol = job.protocol
    if protocol == "auto":
        protocol = "few-shot" if own_pictures else "base-to-new"
    name = job.preset
    if name == "auto":
        published = "few-shot" if protocol == "few-shot" else "base-to-new"
        name = "lite" if logit_scale < LITE_SCALE else published
    preset = find_preset(job.learner, name)
    sections = _sections(job.learner, preset)
    sections["train"]["epochs"] = epochs_for_shots(preset, job.shots)
    apply_overrides(sections, job.overrides)
    return Resolved(
        dataset=dataset,
        protocol=protocol,
        backbone=job.backbone,
        learner=job.learner,
        generator=job.generator,
        shots=job.shots,
        seed=job.seed,
        preset=preset.name,
        train=TrainConfig(**sections["train"]),
        options=sections["learner"],
        overfit=OverfitConfig(**sections["overfit"]),
        diffusion=DiffusionConfig(**sections["diffusion"]),
    )


def command(job: JobConfig) -> str:
    """Return the command line of a job, without what only says where things are."""
    words = ["diffuprompt train"]
    for f in dataclasses.fields(job):
        value = getattr(job, f.name)
        if f.name in ("data_root", "out", "runs_dir", "device", "workers", "text_memory_mib"):
            continue
        if f.name == "overrides":
            words += [f"--set {text}" for text in value]
        elif f.name in ("data", "backbone"):
            words.append(f"--{f.name} {str(value).rstrip('/').split('/')[-1]}")
        elif value != f.default or f.name in ("learner", "shots", "seed"):
            words.append(f"--{f.name.replace('_', '-')} {value}")
    return " ".join(words)


def find_any(learner: str) -> Preset:
    """Return some recipe of ``learner``: enough to know which keys there are."""
    return next(p for p in PRESETS if p.learner == learner)


def apply_overrides(sections: dict[str, dict[str, Any]], overrides: tuple[str, ...]) -> None:
    """Set "section.key=value" or, where only one section has it, "key=value", in place.

    Raises:
        ConfigError: unknown or ambiguous keys, or values that are no JSON; all at once.
    """
    known = [f"{s}.{k}" for s, keys in sections.items() for k in keys]
    problems = []
    for text in overrides:
        key, equals, raw = text.partition("=")
        short = [name for name in known if name == key or name.split(".", 1)[1] == key]
        exact = [name for name in short if name == key] or short
        if "." not in key and f"train.{key}" in short:
            exact = [f"train.{key}"]
        if not equals or len(exact) != 1:
            why = "expected KEY=VALUE" if not equals else "unknown key"
            why = f"ambiguous, one of {exact}" if len(exact) > 1 else why
            plain = known + [name.split(".", 1)[1] for name in known]
            problems.append(f"--set {text}: {why}.{near_miss(key, plain) if not exact else ''}")
            continue
        section, name = exact[0].split(".", 1)
        sections[section][name] = _value(raw)
    if problems:
        raise ConfigError("\n  ".join(problems))
    for section, kind in (
        ("train", TrainConfig),
        ("overfit", OverfitConfig),
        ("diffusion", DiffusionConfig),
    ):
        _typed(section, kind, sections[section])


def _sections(learner: str, preset: Preset) -> dict[str, dict[str, Any]]:
    options: dict[str, dict[str, Any]] = {
        "zero-shot": {"templates": ["a photo of a {}."]},
        "coop": {"num_ctx": 16, "ctx_init": None, "position": "end", "class_specific": False},
        "cocoop": {"num_ctx": 4, "ctx_init": "a photo of a"},
    }
    return {
        "train": dataclasses.asdict(preset.train),
        "learner": {**options[learner], **preset.options},
        "overfit": dataclasses.asdict(OverfitConfig()),
        "diffusion": dataclasses.asdict(DiffusionConfig()),
    }


def _value(raw: str) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw


def _typed(section: str, kind: type, values: dict[str, Any]) -> None:
    """Raise a `ConfigError` for values of another type than the section's defaults."""
    for f in dataclasses.fields(kind):
        value, name = values[f.name], f"{section}.{f.name}"
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if f.type == "int" and (not number or value != int(value)):
            raise ConfigError(f"{name}: expected a whole number, got {value!r}")
        if f.type == "float" and not number:
            raise ConfigError(f"{name}: expected a number, got {value!r}")
        if f.type == "int":
            values[f.name] = int(value)
    kind(**values)
