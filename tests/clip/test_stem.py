"""The CNN stem and the hybrid tower above it agree with the numbers that came with the weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from diffuprompt.checkpoints.load import load_clip
from diffuprompt.clip.model import Clip
from diffuprompt.clip.stem import EfficientNetLite0, SameConv2d, build_stem
from diffuprompt.clip.tokens import sentence_tokens
from diffuprompt.errors import CheckpointError


@pytest.fixture(scope="module")
def clip(shared_models: Path) -> Clip:
    return load_clip(shared_models / "photo-clip-lite")


@pytest.fixture(scope="module")
def expected(shared_models: Path) -> dict:
    return json.loads((shared_models / "photo-clip-lite" / "expected.json").read_text())


def pixels(index: int) -> np.ndarray:
    """Image ``index`` by the integer formula in expected.json's note, (3, 224, 224)."""
    c, y, x = np.mgrid[0:3, 0:224, 0:224]
    i = index
    t = (i + 1) * (c + 1) * x + (9 - i) * (3 - c) * y + (x * y * (i % 3)) // 16
    return np.minimum(255, np.abs(t % 512 - 256))


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [7, 8, 15, 16])
def test_same_padding_is_tensorflows(kernel: int, stride: int, size: int) -> None:
    conv = SameConv2d(1, 1, kernel, stride=stride, bias=False)
    with torch.no_grad():
        conv.weight.fill_(1.0)
    out = conv(torch.ones(1, 1, size, size))[0, 0]
    assert out.shape == (-(-size // stride),) * 2
    # an all-ones kernel counts the positions inside the picture, so it shows the padding
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    starts = [stride * n - total // 2 for n in range(out.shape[0])]
    counts = [min(s + kernel, size) - max(s, 0) for s in starts]
    torch.testing.assert_close(out, torch.outer(torch.tensor(counts), torch.tensor(counts)).float())


def test_the_readmes_tensor_names_and_count() -> None:
    with torch.device("meta"):
        stem = EfficientNetLite0()
    names = dict(stem.named_parameters())
    assert sum(p.numel() for p in names.values()) == 2_939_120
    assert "blocks.0.0.expand.weight" not in names
    assert tuple(names["blocks.6.0.project.bias"].shape) == (320,)
    assert tuple(names["blocks.2.1.depthwise.weight"].shape) == (240, 1, 5, 5)


def test_unknown_stem_is_named() -> None:
    assert build_stem(None) is None
    with pytest.raises(CheckpointError, match=r"stem\.type.*efficientnet_lite9.*Did you mean"):
        build_stem({"type": "efficientnet_lite9"})


def test_stem_values(clip: Clip, expected: dict) -> None:
    for i in range(2):
        image = pixels(i)
        assert int(image.sum()) == expected["image_checksums"][i]
        view = torch.from_numpy((image - 127) / 128).float()[None]
        with torch.inference_mode():
            grid = clip.vision.stem(view)[0]
        assert tuple(grid.shape) == (320, 7, 7)
        # the file's figures have 6 or 7 decimals; fp32 sums over 15,680 values agree to 1e-5
        assert grid.mean().item() == pytest.approx(expected["stem_mean"][i], abs=1e-5)
        assert grid.abs().mean().item() == pytest.approx(expected["stem_abs_mean"][i], abs=1e-4)
        want = torch.tensor(expected["stem_first8_y3_x3"][i])
        torch.testing.assert_close(grid[:8, 3, 3], want, atol=1e-4, rtol=1e-4)


def test_token_ids_and_embeddings(clip: Clip, expected: dict) -> None:
    # 1e-4 is what the file's own note promises of an fp32 reader
    for text, want in zip(expected["texts"], expected["token_ids"], strict=True):
        assert [clip.tokenizer.sot, *clip.tokenizer.encode(text), clip.tokenizer.eot] == want
    views = torch.stack([torch.from_numpy((pixels(i) - 127) / 128).float() for i in range(8)])
    with torch.inference_mode():
        image = functional.normalize(clip.vision(views), dim=-1)
        tokens = sentence_tokens(clip.tokenizer, expected["texts"], clip.config.text.context_length)
        text = functional.normalize(clip.text(tokens), dim=-1)[0]
    torch.testing.assert_close(image, torch.tensor(expected["image_embeds"]), atol=1e-4, rtol=0)
    torch.testing.assert_close(text, torch.tensor(expected["text_embeds"]), atol=1e-4, rtol=0)
    assert clip.scale.item() == pytest.approx(expected["logit_scale_exp"], rel=1e-6)
