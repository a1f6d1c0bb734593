"""Caches as Tip-Adapter's repository saves them: bare tensors, keys on their side, labels apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.contract.towers import NAMES, pictures, tower
from tests.hub.test_legacy import Hostile
from torch import Tensor, nn

from diffuprompt.clip.model import Clip
from diffuprompt.engine.seeds import torch_stream
from diffuprompt.errors import CheckpointError, ConfigError
from diffuprompt.hub.artifact import load_artifact
from diffuprompt.hub.legacy import check_legacy, import_legacy
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.registry import build_learner

EACH = 3  # images of a class


@pytest.fixture
def clip() -> Clip:
    return tower("plain-vit", torch.float32)


def cache(clip: Clip) -> tuple[Tensor, Tensor]:
    """Unit keys ``(N, E)`` and one-hot labels ``(N, C)``."""
    shape = (EACH * len(NAMES), clip.config.embed_dim)
    keys = torch.randn(*shape, generator=torch_stream(0, "cache"))
    labels = torch.eye(len(NAMES)).repeat(EACH, 1)
    return keys / keys.norm(dim=1, keepdim=True), labels


def write(folder: Path, clip: Clip, name: str) -> Path:
    """Save as the authors do, half precision on their device: keys (E, N), or a trained weight."""
    keys, labels = cache(clip)
    stored: Any = keys.T.half() if name.startswith("keys") else nn.Parameter(keys.half())
    torch.save(stored, folder / name)
    torch.save(labels.half(), folder / "values_16shots.pt")
    return folder / name


@pytest.mark.parametrize(
    ("method", "name"),
    [("tip-adapter", "keys_16shots.pt"), ("tip-adapter-f", "best_F_16shots.pt")],
)
def test_logits_are_the_released_formula(
    method: str, name: str, clip: Clip, tmp_path: Path
) -> None:
    path = write(tmp_path, clip, name)
    options = {"alpha": 2.0, "beta": 3.0}
    import_legacy(path, method, clip, NAMES, tmp_path / "out", options)
    artifact = load_artifact(tmp_path / "out", clip=clip)
    images, classes = pictures(clip, 4), Classes(NAMES)
    with torch.no_grad():
        ours = artifact.learner.logits(images, classes)
        zero_shot = build_learner("zero-shot", clip, {}).logits(images, classes)
        feature = artifact.learner.features(images)
        feature = feature / feature.norm(dim=1, keepdim=True)
        keys, labels = cache(clip)
        affinity = feature @ keys.half().float().T
        theirs = zero_shot + ((-1) * (3.0 - 3.0 * affinity)).exp() @ labels * 2.0
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)  # float32, logits up to 10
    assert float((ours - zero_shot).abs().max()) > 0.1


def test_what_is_no_cache_is_refused_by_name(clip: Clip, tmp_path: Path) -> None:
    keys = write(tmp_path, clip, "keys_16shots.pt")
    with pytest.raises(CheckpointError, match=r"other way are --learner tip-adapter's"):
        check_legacy(keys, "tip-adapter-f")
    with pytest.raises(ConfigError, match=r"--classes: .*count 6 classes, got 2"):
        import_legacy(keys, "tip-adapter", clip, NAMES[:2], tmp_path / "out")
    renamed = keys.rename(tmp_path / "mine.pt")
    with pytest.raises(ConfigError, match=r"--values: mine\.pt is not called"):
        check_legacy(renamed, "tip-adapter")
    check_legacy(renamed, "tip-adapter", tmp_path / "values_16shots.pt")
    with pytest.raises(ConfigError, match="--values: the checkpoints of coop are one file"):
        check_legacy(renamed, "coop", renamed)
    torch.save(torch.ones(EACH * len(NAMES), 2), tmp_path / "values")
    with pytest.raises(CheckpointError, match="other numbers"):
        check_legacy(renamed, "tip-adapter", tmp_path / "values")
    for content in (Hostile(), {"keys": 1}, torch.ones(3)):
        torch.save(content, renamed)
        with pytest.raises(CheckpointError, match=r"mine\.pt"):
            check_legacy(renamed, "tip-adapter", tmp_path / "values_16shots.pt")
    assert not (tmp_path / "owned").exists()
