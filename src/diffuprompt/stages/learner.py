"""The stage "learner": prompts trained by their own recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffuprompt.engine import peak_memory_mib, train
from diffuprompt.learners import Learner, TrainConfig
from diffuprompt.runs import Stage, StageFolder, Store, Values
from diffuprompt.stages.bench import Bench
from diffuprompt.stages.learner_task import LearnerTask

VERSION = 1
TENSORS = "learner.safetensors"


def learner_stage(
    *,
    name: str,
    options: Mapping[str, Any],
    train: Mapping[str, Any],
    precision: str,
    seed: int,
    inputs: Mapping[str, str],
) -> Stage:
    """Return the stage of a learner.

    Args:
        name: of the learner.
        options: its own, all of them.
        train: the fields of `TrainConfig`.
        precision: of towers with prompts.
        seed: of initial values, order and views.
        inputs: "images", "backbone", and "sentences" where the learner reads some.
    """
    config = {
        "learner": name,
        "options": dict(options),
        "train": dict(train),
        "precision": precision,
        "seed": seed,
    }
    return Stage(name="learner", version=VERSION, config=config, inputs=inputs)


def untrained(bench: Bench, stage: Stage) -> Learner:
    """Return the learner that a stage starts from."""
    config = stage.config
    return bench.build_learner(config["learner"], config["options"], config["seed"])


def trained(bench: Bench, store: Store, stage: Stage) -> Learner:
    """Return the trained learner, frozen; it is trained here where nobody has yet."""
    learner = untrained(bench, stage)
    bench.train.warm_views(learner.start_views)
    learner.start(bench.train)

    def make(folder: StageFolder) -> Values:
        values = _train(bench, stage, learner, folder)
        folder.write(TENSORS, dict(learner.state_dict()))
        return values

    folder = store.made(stage, make)
    learner.load_state_dict(folder.read(TENSORS))
    return learner.requires_grad_(False).eval()


def _train(bench: Bench, stage: Stage, learner: Learner, folder: StageFolder) -> Values:
    config = TrainConfig(**stage.config["train"])
    if not config.epochs or not learner.num_trainable():
        return {}
    task = LearnerTask(learner, bench.train, config, stage.config["seed"])
    bench.train.warm_views(task.num_feature_views, task.first_view)
    with task:
        result = train(
            task,
            task.optimiser(),
            epochs=config.epochs,
            steps_per_epoch=task.steps_per_epoch,
            folder=folder.work,
            fingerprint=stage.key,
            save_every_s=bench.save_every_s,
            progress=bench.progress,
            label=f"training {learner.name}",
        )
    return {**result, "peak_memory_mib": peak_memory_mib(bench.clip.device)}
