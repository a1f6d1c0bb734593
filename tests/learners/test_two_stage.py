"""2SFS trains norms, then a classifier, and nothing of one stage in the other."""

from __future__ import annotations

import torch
from tests.contract.towers import NAMES, pictures, tower
from tests.contract.views import image_set
from torch import Tensor

from diffuprompt.clip.model import normalize
from diffuprompt.engine.loop import train
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.presets import TrainConfig
from diffuprompt.learners.registry import build_learner
from diffuprompt.learners.tuned_towers import TunedTowers
from diffuprompt.prompts import TowerPrompts
from diffuprompt.stages.learner_task import LearnerTask

TRAINED = Classes(NAMES[:4])


class Watched(LearnerTask):
    """Keeps what is learned after every epoch."""

    def after_epoch(self, epoch: int) -> None:
        super().after_epoch(epoch)
        state = {name: p.detach().clone() for name, p in self.learner.named_parameters()}
        self.__dict__.setdefault("seen", []).append(state)


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_stages_by_epochs_and_names_by_what_was_trained():
    clip = tower("plain-vit", torch.float64)
    images = pictures(clip, 3).select(slice(0, 1))  # of the first class
    config = TrainConfig(
        epochs=5, batch=1, lr=1e-2, weight_decay=0.1, algorithm="adamw", schedule="two-stage"
    )
    learner = build_learner("2sfs", clip, {})
    data = image_set(clip, images, TRAINED)
    learner.start(data)
    learner.double()
    task = Watched(learner, data, config, seed=0)
    zero_shot = build_learner("zero-shot", clip, {}).logits(images, Classes(NAMES))
    torch.testing.assert_close(learner.logits(images, Classes(NAMES)), zero_shot)
    train(task, task.optimiser(), epochs=5, steps_per_epoch=task.steps_per_epoch)

    seen = task.__dict__["seen"]
    norms = {n for n, _ in learner.named_parameters() if n.startswith("norms")}
    assert moved(seen[0], seen[1]) == norms
    assert moved(seen[1], seen[2]) == norms | {"rows"}  # three of five epochs are over
    assert moved(seen[2], seen[3]) == {"rows"}
    assert moved(seen[3], seen[4]) == {"rows"}

    with torch.no_grad():
        prompts, changes = TowerPrompts(), learner.changes()
        tuned = TunedTowers.changed_text(learner, Classes(NAMES), prompts, changes)
        text = learner.text_features(Classes(NAMES), prompts)
    torch.testing.assert_close(seen[2]["rows"], normalize(tuned)[0, :4])
    torch.testing.assert_close(text[0, :4], seen[4]["rows"])
    torch.testing.assert_close(text[0, 4:], normalize(tuned)[0, 4:])
