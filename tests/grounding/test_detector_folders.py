"""Detectors as folders and files: what was written comes back, what does not fit is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diffuprompt.errors import CheckpointError
from diffuprompt.grounding.detectors import folder as folders
from diffuprompt.grounding.detectors.bert import BertConfig
from diffuprompt.grounding.detectors.captions import CaptionTokenizer
from diffuprompt.grounding.detectors.folder import load_detector, save_detector
from diffuprompt.grounding.detectors.glip import Glip, GlipConfig
from diffuprompt.grounding.detectors.glip_detector import GlipDetector
from diffuprompt.grounding.detectors.load import find_vocabulary, open_detector
from diffuprompt.grounding.detectors.swin import SwinConfig

WORDS = CaptionTokenizer.of_words(["red", "cup"])
CONFIG: dict[str, Any] = {
    "bert": BertConfig(vocab_size=12, width=8, layers=1, heads=2, hidden=8, max_length=9),
    "channels": 16, "extra": 0, "tower": "conv", "depth": 1, "strides": (8, 16),
    "anchors": (12, 22), "plus": 0.0, "channel_order": "rgb",
}  # fmt: skip


class Halves(nn.Module):
    """Stands for a backbone's stem: one frozen convolution to strides of 8."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 8, stride=8)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


def detector(trunk: nn.Module | None = None, name: str = "") -> GlipDetector:
    patch, channels = (4, 3) if trunk is None else (1, 5)
    swin = SwinConfig(
        patch=patch, channels=channels, width=6, depths=(1, 1), heads=(1, 2), window=2,
        outputs=(0, 1),
    )  # fmt: skip
    config = GlipConfig(swin=swin, trunk=name, **CONFIG)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = Glip(config, trunk)
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.2)
    return GlipDetector(model, WORDS, name="small", side=32)


def pictures() -> Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))


def test_a_folder_comes_back_in_half_precision(tmp_path: Path) -> None:
    written = detector()
    save_detector(written, tmp_path / "d")
    read = open_detector(str(tmp_path / "d"))
    assert (read.name, read.side, read.sites) == ("small", 32, written.sites)
    mine = dict(written.module.named_parameters())
    for name, parameter in read.module.named_parameters():
        assert torch.equal(parameter, mine[name].half().float())
    tokens = read.tokens(["red cup"])
    assert torch.equal(tokens.ids, written.tokens(["red cup"]).ids)
    save_detector(load_detector(tmp_path / "d"), tmp_path / "again")
    for file in (tmp_path / "d").iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()


def test_a_trunk_is_kept_by_name_and_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stem = Halves()
    hashes = {"stem-clip": "0123"}
    monkeypatch.setattr(folders, "load_trunk", lambda name: stem)
    monkeypatch.setattr(folders, "_hash", lambda name, source: hashes[name])
    written = detector(stem, "stem-clip")
    save_detector(written, tmp_path)
    from safetensors import safe_open

    with safe_open(str(tmp_path / "model.safetensors"), framework="pt") as file:
        assert not [name for name in file.keys() if "trunk" in name]
    read = load_detector(tmp_path)
    assert read.model.config.trunk == "stem-clip"
    assert read.model.trunk is stem
    assert not any(p.requires_grad for p in read.module.parameters())
    assert read.run(pictures(), read.tokens(["red cup", "cup"])).words.shape == (2, 20, 4)
    assert read.grids(32, 40) == [(4, 5), (2, 3)]
    hashes["stem-clip"] = "4567"
    with pytest.raises(CheckpointError, match="hash 0123, the one here has 4567"):
        load_detector(tmp_path)


def test_a_backbone_that_is_not_there_is_named(tmp_path: Path) -> None:
    save_detector(detector(), tmp_path)
    changed(tmp_path, trunk="no-such-clip", trunk_weights="00")
    with pytest.raises(CheckpointError, match="'no-such-clip' is not at hand"):
        load_detector(tmp_path)


def changed(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values), encoding="utf-8")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"model_type": "clip"}, "model_type: expected 'glip' or 'mm-grounding-dino', got 'clip'"),
        ({"side": "64"}, "got 'small' and '64'"),
        ({"name": None}, "got None and 32"),
        ({"trunk": None}, "trunk: expected a backbone's name, got None"),
        ({"colour": 1}, "no configuration of a detector"),
        ({"channels": 32}, "does not fit its configuration"),
        ({"depth": 2}, "missing tensor head.dyhead_tower.1.conv.weight"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(
    tmp_path: Path, values: dict[str, Any], told: str
) -> None:
    save_detector(detector(), tmp_path)
    changed(tmp_path, **values)
    with pytest.raises(CheckpointError) as error:
        open_detector(str(tmp_path))
    assert told in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_what_is_no_detector_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFUPROMPT_MODELS", str(tmp_path))
    with pytest.raises(CheckpointError, match="'no-such-detector' is unknown; expected scenes-"):
        open_detector("no-such-detector")
    weights = tmp_path / "glip.pth"
    weights.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="no vocabulary; put"):
        open_detector(str(weights))
    (tmp_path / "tokenizer.json").write_text(WORDS.to_json(), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"glip\.pth: not a readable checkpoint of GLIP"):
        open_detector(str(weights))


def test_a_vocabulary_is_found_among_the_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFUPROMPT_MODELS", str(tmp_path))
    tower = tmp_path / "bert-base-uncased"
    tower.mkdir()
    (tower / "config.json").write_text("{}", encoding="utf-8")
    (tower / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nred\n", encoding="utf-8")
    found = find_vocabulary(tmp_path / "elsewhere")
    assert found(["Red"]).ids.tolist() == [[2, 4, 3]]
