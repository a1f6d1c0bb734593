"""The stages "generator" and "joint": p(prompts given image), trained on V* of a learner.

"generator" takes a finished learner; "joint" moves learner and generator together, from where the
learner stands after its own training.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor

from diffuprompt.engine import peak_memory_mib
from diffuprompt.generators import Base, OverfitConfig, PromptGenerator, fit, fit_joint
from diffuprompt.learners import Learner
from diffuprompt.runs import Stage, StageFolder, Store, Values
from diffuprompt.stages.bench import Bench
from diffuprompt.stages.flat_prompts import task_loss
from diffuprompt.stages.overfit import Targets, problem_of

VERSION = 1
TENSORS, LEARNER = "generator.safetensors", "learner.safetensors"
SOLVERS = "solvers."  # what the stage "sampler" fits


def generator_stage(
    *,
    name: str,
    settings: Mapping[str, Any],
    fit: Mapping[str, Any],
    overfit: Mapping[str, Any] | None,
    precision: str,
    seed: int,
    dataset: str,
    learner: str,
    targets: str,
) -> Stage:
    """Return the stage of a generator.

    Args:
        name: of the generator.
        settings: its own, as far as they decide its training.
        fit: the fields of `FitConfig`.
        overfit: joint training: the fields of `OverfitConfig`, by which every batch is overfitted
            anew; None trains the generator alone.
        precision: of its training, and of towers with prompts.
        seed: of initial weights, order and noise.
        dataset: name of the data set, to which the fixed noise belongs.
        learner: key of the stage that trained the learner.
        targets: key of the stage that found V* of it.
    """
    config: dict[str, Any] = {
        "generator": name,
        "settings": dict(settings),
        "fit": dict(fit),
        "precision": precision,
        "seed": seed,
        "dataset": dataset,
    }
    if overfit is not None:
        config["overfit"] = dict(overfit)
    return Stage(
        name="generator" if overfit is None else "joint",
        version=VERSION,
        config=config,
        inputs={"learner": learner, "targets": targets},
    )


def train_generator(
    bench: Bench,
    store: Store,
    stage: Stage,
    learner: Learner,
    generator: PromptGenerator,
    targets: Targets,
) -> StageFolder:
    """Fill ``generator`` (and, of "joint", ``learner``) with what the stage trains; frozen then."""

    def make(folder: StageFolder) -> Values:
        values = _fit(bench, stage, learner, generator, targets, folder)
        state = generator.state_dict()
        folder.write(TENSORS, {k: v for k, v in state.items() if not k.startswith(SOLVERS)})
        if "overfit" in stage.config:
            folder.write(LEARNER, dict(learner.state_dict()))
        return values

    folder = store.made(stage, make)
    load(generator, folder.read(TENSORS))
    if "overfit" in stage.config:
        learner.load_state_dict(folder.read(LEARNER))
    learner.requires_grad_(False).eval()
    generator.requires_grad_(False).eval()
    return folder


def load(generator: PromptGenerator, tensors: Mapping[str, Tensor]) -> None:
    """Fill a generator; solvers that are not among ``tensors`` stay as they are."""
    own = {k: v for k, v in generator.state_dict().items() if k.startswith(SOLVERS)}
    generator.load_state_dict({**own, **tensors})


def joint_base(bench: Bench, learner: Learner, overfit: Mapping[str, Any], lr: float) -> Base:
    """Return the learner as joint training sees it; ``lr`` is what overfitting it before took."""
    images = bench.train
    problem, config = problem_of(OverfitConfig(**overfit), learner, images)

    def own(index_B: Tensor) -> Tensor:
        prompts = learner.prompts(images.features[index_B])
        return learner.spec.pack(prompts).expand(len(index_B), -1)

    return Base(module=learner, own=own, problem=problem, overfit=config, lr=lr)


def _fit(
    bench: Bench,
    stage: Stage,
    learner: Learner,
    generator: PromptGenerator,
    targets: Targets,
    folder: StageFolder,
) -> Values:
    config, call = stage.config, partial(fit, generator)
    num_classes = config["fit"]["classes"]
    if "overfit" in config:
        base = joint_base(bench, learner, config["overfit"], targets.lr)
        call = partial(fit_joint, generator, base=base)
    values = call(
        targets.pairs,
        task_loss(learner, targets.images, num_classes=num_classes, seed=config["seed"]),
        folder=folder.work,
        fingerprint=stage.key,
        save_every_s=bench.save_every_s,
        progress=bench.progress,
    )
    return {**values, "peak_memory_mib": peak_memory_mib(bench.clip.device)}
