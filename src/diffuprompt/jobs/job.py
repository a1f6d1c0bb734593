"""One job, as asked for and as resolved; no torch, so wrong options fail before anything loads."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from diffuprompt.data import catalog_name
from diffuprompt.errors import ConfigError, near_miss
from diffuprompt.generators import (
    KINDS,
    DiffusionConfig,
    FitConfig,
    OverfitConfig,
    RivalConfig,
    stated,
)
from diffuprompt.jobs.asked_recipe import asked_preset, learner_options, override
from diffuprompt.jobs.kinds import check_kinds
from diffuprompt.jobs.overrides import SECTIONS
from diffuprompt.jobs.sections import GENERATION, read_by, sections_of
from diffuprompt.jobs.templates import check_templates, chosen_templates
from diffuprompt.jobs.upgrade import upgrade_config
from diffuprompt.learners import (
    DEFAULT,
    METHODS,
    Options,
    TrainConfig,
    automatic_preset,
    epochs_for_shots,
    find_method,
    needed,
)
from diffuprompt.protocols import PROTOCOLS
from diffuprompt.ranges import (
    DEVICE_NAMES,
    DEVICES,
    IMAGE_MIB,
    NAMES,
    OVERRIDES,
    PATH,
    SEED,
    SETTING,
    SHOTS,
    TEXT_MIB,
    WORKERS,
    misfits,
    shown,
)

NO_GENERATOR = "none"  # the learner's own prompts
GENERATORS = (NO_GENERATOR, *KINDS)
# what says where and how to compute, never what
ONLY_HERE = (
    "data_root",
    "allow_outside",
    "out",
    "runs_dir",
    "device",
    "workers",
    "rehash",
    "text_memory_mib",
    "image_memory_mib",
)
OF_DOMAINS = "domain"  # the protocol that tests other domains than those that train
LITE_SCALE = 50.0  # below this logit scale, published learning rates under-train


@dataclass(frozen=True, kw_only=True)
class JobConfig:
    """What a user asks for; see ``diffuprompt train --help`` for the meaning of each field.

    ``test_data`` are other data sets that the run is scored on, ``templates`` names or texts of
    sentences ("dataset" or nothing: each data set's own). ``overrides`` are "key=value" with keys
    like "lr", "train.epochs", "learner.num_ctx", "overfit.steps", "fit.lr" or "diffusion.nfe";
    "diffusion.preset" sets many at once. ``setting`` changes no result: it is the name under which
    a report shows an ablation.
    """

    data: Annotated[str, PATH]
    data_root: Path | None = None
    layout: Literal["auto", "domains"] = "auto"
    train_domains: NAMES = ()
    test_data: NAMES = ()
    exif_orientation: bool = False
    allow_outside: bool = False
    backbone: Annotated[str, PATH] = (
        "auto"  # `checkpoints.choose_backbone`; run.json says what it was
    )
    learner: str = DEFAULT
    generator: str = NO_GENERATOR
    shots: Annotated[int, SHOTS] = 16
    seed: Annotated[int, SEED] = 1
    protocol: str = "auto"
    preset: str = "auto"
    templates: NAMES = ()
    overrides: OVERRIDES = ()
    setting: Annotated[str, SETTING] = ""
    out: Path | None = None
    runs_dir: Path = Path("runs")
    precision: Literal["fp32", "bf16"] = "fp32"
    device: str = "auto"
    workers: Annotated[int, WORKERS] = 2
    rehash: bool = False
    text_memory_mib: Annotated[int, TEXT_MIB] = 1024
    image_memory_mib: Annotated[int, IMAGE_MIB] = 1024

    def __post_init__(self) -> None:
        problems = [line.replace("overrides: ", "--set: ", 1) for line in misfits(self)]
        for name, value, known in (
            ("learner", self.learner, list(METHODS)),
            ("generator", self.generator, list(GENERATORS)),
            ("protocol", self.protocol, ["auto", *PROTOCOLS]),
        ):
            if isinstance(value, str) and value not in known:
                hint = near_miss(value, known)
                problems.append(f"{name}: expected one of {known}, got {shown(value)}.{hint}")
        if isinstance(self.device, str) and not DEVICES.fullmatch(self.device):
            problems.append(f"device: expected {DEVICE_NAMES}, got {shown(self.device)}")
        if self.train_domains and self.layout != "domains":
            problems.append(f"train_domains: got {self.train_domains}; they need layout=domains")
        if self.train_domains and self.protocol not in ("auto", OF_DOMAINS):
            problems.append(
                f"train_domains: the protocol {self.protocol} tests no other domains; use "
                f"{OF_DOMAINS}, or leave them out to take the pictures of all domains together"
            )
        if problems:
            raise ConfigError("\n  ".join(problems))
        check_templates(find_method(self.learner), self.templates, self.overrides)
        preset = (
            asked_preset(self.learner, self.preset, self.overrides)
            or find_method(self.learner).presets[0]
        )
        sections = sections_of(preset, self.generator)
        override(sections, self.learner, self.overrides, preset)
        options = learner_options(self.learner, sections["learner"])
        if self.generator != NO_GENERATOR and not options.generates:
            raise ConfigError(
                f"generator: {self.learner}{_with(self.overrides)} has no prompts to generate; use "
                "generator=none"
            )
        if self.generator in KINDS:
            fitting = FitConfig(**sections["fit"])
            misfit = KINDS[self.generator].misfits(fitting)
            if misfit:
                raise ConfigError("\n  ".join(misfit))

    @property
    def is_transfer(self) -> bool:
        """Whether its protocol is about other test sets than the job's own."""
        name = OF_DOMAINS if self.train_domains else self.protocol
        return name in PROTOCOLS and PROTOCOLS[name].layout.targets


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """Every value that a result depends on; written to ``run.json`` before anything is computed."""

    dataset: str
    protocol: str
    backbone: str
    learner: str
    generator: str
    shots: int
    seed: int
    preset: str
    train: TrainConfig
    options: Mapping[str, Any]
    precision: Literal["fp32", "bf16"] = "fp32"
    overfit: OverfitConfig = field(default_factory=OverfitConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    rival: RivalConfig = field(default_factory=RivalConfig)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON form; what the job's generator does not read is left out."""
        values = dataclasses.asdict(self)
        values |= {name: stated(getattr(self, name)) for name in GENERATION}
        values["train"] = self.train.stated()
        out = read_by(self.generator, values)
        if self.precision == "fp32":  # as before there was a choice
            del out["precision"]
        return out

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Resolved:
        """Inverse of `to_json`, for configurations of earlier versions too.

        Raises:
            DataError: an option is used that is gone.
            TypeError: a value is of a wrong kind, missing or unknown.
        """
        rest = upgrade_config(data)
        sections = {k: rest.pop(k) for k in SECTIONS if k in rest}
        for name, values in sections.items():
            check_kinds(SECTIONS[name], values, f"{name}.")
        built = {name: SECTIONS[name](**values) for name, values in sections.items()}
        check_kinds(cls, rest)
        return cls(**rest, **built)

    @property
    def hash(self) -> str:
        """Eight hex digits over all values."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def learner_options(self) -> Options:
        """The learner's options as their dataclass."""
        return learner_options(self.learner, self.options)

    @property
    def generator_config(self) -> Any:
        """The generator's own settings as their dataclass."""
        return getattr(self, KINDS[self.generator].section)

    @property
    def method(self) -> str:
        """The learner, and "+generator" where there is one."""
        return self.learner + ("" if self.generator == NO_GENERATOR else f"+{self.generator}")


def resolve(
    job: JobConfig,
    *,
    dataset: str,
    backbone: str,
    own_pictures: bool,
    logit_scale: float,
    counts: Callable[[str], tuple[int, int]] = lambda protocol: (0, 0),
) -> Resolved:
    """Fill in what the job leaves open: protocol, preset, and the preset's values.

    Args:
        job: what was asked.
        dataset: the data set's name.
        backbone: its name, the same on every machine; a path is not.
        own_pictures: whether the data are the user's own and no known benchmark.
        logit_scale: the backbone's; "auto" takes other recipes where it is small.
        counts: returns the numbers of training images and of their classes under a protocol, which
            recipes that count steps ask for; 0 where they are not known.
    """
    protocol = job.protocol
    if protocol == "auto":
        protocol = "few-shot" if own_pictures else "base-to-new"
        protocol = OF_DOMAINS if job.train_domains else protocol
    preset = asked_preset(job.learner, job.preset, job.overrides)
    if preset is None:
        benchmark = PROTOCOLS[protocol].recipes or protocol
        preset = automatic_preset(job.learner, benchmark, lite=logit_scale < LITE_SCALE)
    method, sections = find_method(job.learner), sections_of(preset, job.generator)
    known = "" if own_pictures else catalog_name(dataset)
    asked = sections_of(preset, job.generator)  # as overridden, whatever the data set says
    override(asked, job.learner, job.overrides, preset)
    unread = learner_options(job.learner, asked["learner"]).unread
    if job.templates or method.templates_in != unread:
        sections["learner"] |= chosen_templates(method, preset.options, job.templates, known)
    images, classes = counts(protocol) if preset.steps_per_shot else (0, 0)
    sections["train"]["epochs"] = epochs_for_shots(
        preset, job.shots, images=images, classes=classes, train=TrainConfig(**asked["train"])
    )
    override(sections, job.learner, job.overrides, preset)
    read = read_by(job.generator, sections)  # what has no effect must not tell two runs apart
    return Resolved(
        dataset=dataset,
        protocol=protocol,
        backbone=backbone,
        learner=job.learner,
        generator=job.generator,
        shots=job.shots,
        seed=job.seed,
        preset=preset.name,
        train=TrainConfig(**sections["train"]),
        options=needed(method.options, sections["learner"]),
        precision=job.precision,
        **{k: SECTIONS[k](**v) for k, v in read.items() if k in GENERATION},
    )


def _with(overrides: tuple[str, ...]) -> str:
    return f" with {', '.join(overrides)}" if overrides else ""
