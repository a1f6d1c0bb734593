"""Our towers against transformers.CLIPModel with random weights: features and every gradient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.clip import tiny
from torch import Tensor, nn

from diffuprompt.checkpoints.hf import load_hf
from diffuprompt.checkpoints.keys import hf_table
from diffuprompt.checkpoints.weights import Origin
from diffuprompt.clip.config import ClipConfig, TextConfig, VisionConfig
from diffuprompt.clip.model import Clip
from diffuprompt.clip.text import TextPlan, TextTower
from diffuprompt.clip.tokens import PromptedTokens, sentence_tokens
from diffuprompt.clip.vision import VisionTower
from diffuprompt.data.transforms import Preprocess

transformers = pytest.importorskip("transformers")

TEXTS = ["the photo of a cat", "dog", "the the cats & 3 dogs", "of"]
CONFIGS: dict[str, dict[str, Any]] = {
    "quick gelu": {},
    "gelu": {"text": {"hidden_act": "gelu"}, "vision": {"hidden_act": "gelu"}},
    "mixed": {"vision": {"hidden_act": "gelu_pytorch_tanh"}, "projection_dim": 7},
    "legacy eos": {"text": {"eos_token_id": 2}},
    "one layer": {"text": {"num_hidden_layers": 1}, "vision": {"num_hidden_layers": 1}},
    "other shapes": {
        "text": {"hidden_size": 40, "num_attention_heads": 5, "layer_norm_eps": 1e-3},
        "vision": {
            "hidden_size": 36,
            "num_attention_heads": 2,
            "image_size": 29,  # patches do not cover it: the rest is not read
            "patch_size": 7,
            "layer_norm_eps": 1e-6,
        },
    },
}


def weights_like(x: Tensor) -> Tensor:
    """Fixed weights that make a scalar of ``x`` in which no entry is lost."""
    return torch.cos(torch.arange(x.numel(), dtype=x.dtype)).view_as(x)


@pytest.mark.parametrize("path", ["fast", "plain"])
@pytest.mark.parametrize("name", CONFIGS)
def test_features_and_gradients(name: str, path: Any, tmp_path: Path) -> None:
    theirs = tiny.oracle(**CONFIGS[name])
    clip = load_hf(tiny.write_folder(theirs, tmp_path), dtype=torch.float64).requires_grad_(True)
    theirs = theirs.double()
    tokens = sentence_tokens(clip.tokenizer, TEXTS, clip.config.text.context_length)
    side = clip.config.vision.image_size
    generator = torch.Generator().manual_seed(1)
    pixels = [torch.randn(3, 3, side, side, dtype=torch.float64, generator=generator)] * 2
    pixels = [p.clone().requires_grad_() for p in pixels]

    image, text = clip.vision(pixels[0]), clip.text(tokens, None, TextPlan(path=path))
    logits = clip.logits(image, text)
    want_image = theirs.get_image_features(pixels[1]).pooler_output
    want_text = theirs.get_text_features(tokens.ids).pooler_output
    want_logits = theirs(input_ids=tokens.ids, pixel_values=pixels[1]).logits_per_image
    # fp64 on both sides: only the order of sums differs
    torch.testing.assert_close(image, want_image, atol=1e-11, rtol=1e-11)
    torch.testing.assert_close(text[0], want_text, atol=1e-11, rtol=1e-11)
    torch.testing.assert_close(logits, want_logits, atol=1e-11, rtol=1e-11)

    (logits * weights_like(logits)).sum().backward()
    (want_logits * weights_like(want_logits)).sum().backward()
    torch.testing.assert_close(pixels[0].grad, pixels[1].grad, atol=1e-10, rtol=1e-8)
    want = dict(theirs.named_parameters())
    for ours, origin in hf_table(clip.config).items():
        grad = clip.get_parameter(ours).grad
        assert grad is not None, ours
        for key, part in origin.split(grad).items():
            torch.testing.assert_close(part, want[key].grad, atol=1e-10, rtol=1e-8, msg=key)


# Full shapes. Weights repeat a random tile of prime length, which is quick to write and leaves no
# two rows equal; each tower is compared alone so that memory stays near two copies of it.

SHAPES = {
    # patch, vision width, layers, heads, text width, text heads, embedding
    "ViT-B/16": (16, 768, 12, 12, 512, 8, 512),
    "ViT-L/14": (14, 1024, 24, 16, 768, 12, 768),
}
TILE = 65_537


def fill_with_tiles(module: nn.Module) -> nn.Module:
    tile = torch.randn(TILE, generator=torch.Generator().manual_seed(0))
    offset = 0
    for name, parameter in module.named_parameters():
        flat = parameter.data.view(-1)
        repeats = -(-flat.numel() // TILE) + 1
        values = tile.repeat(repeats)[offset % TILE :][: flat.numel()]
        scale = 0.1 if parameter.ndim == 1 else parameter[0].numel() ** -0.5
        flat.copy_(values * scale + float(parameter.ndim == 1 and "weight" in name))
        offset += 1009
    return module.eval().requires_grad_(False)


def take(tower: nn.Module, prefix: str, table: dict[str, Origin], theirs: nn.Module) -> nn.Module:
    """Give our ``tower`` the weights of ``theirs`` through the table that reads checkpoints."""
    state = theirs.state_dict()
    own = {name: table[f"{prefix}.{name}"] for name in tower.state_dict()}
    joined = {name: o.join([state[n] for n in o.names]) for name, o in own.items()}
    tower.load_state_dict(joined, assign=True)
    return tower.eval().requires_grad_(False)


def full_config(name: str) -> ClipConfig:
    patch, width, layers, heads, text_width, text_heads, embed = SHAPES[name]
    return ClipConfig(
        embed_dim=embed,
        text=TextConfig(
            width=text_width,
            layers=12,
            heads=text_heads,
            mlp_width=4 * text_width,
            vocab_size=49408,
            context_length=77,
            sot=49406,
            eot=49407,
            pad=49407,
        ),
        vision=VisionConfig(
            width=width,
            layers=layers,
            heads=heads,
            mlp_width=4 * width,
            image_size=224,
            patch_size=patch,
        ),
    )


@pytest.mark.parametrize("name", ["ViT-B/16", pytest.param("ViT-L/14", marks=pytest.mark.slow)])
def test_full_shapes_vision(name: str) -> None:
    config = full_config(name)
    v = config.vision
    with torch.device("meta"):
        theirs = transformers.CLIPVisionModelWithProjection(
            transformers.CLIPVisionConfig(
                hidden_size=v.width,
                intermediate_size=v.mlp_width,
                num_hidden_layers=v.layers,
                num_attention_heads=v.heads,
                image_size=v.image_size,
                patch_size=v.patch_size,
                projection_dim=config.embed_dim,
            )
        )
        ours = VisionTower(v, config.embed_dim)
    theirs = fill_with_tiles(real(theirs))
    take(ours, "vision", hf_table(config), theirs)
    pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    mine, other = (pixels.clone().requires_grad_() for _ in range(2))
    got, want = ours(mine), theirs(other).image_embeds
    close(got, want)
    (got * weights_like(got)).sum().backward()
    (want * weights_like(want)).sum().backward()
    close(mine.grad, other.grad)


@pytest.mark.parametrize("name", SHAPES)
def test_full_shapes_text(name: str) -> None:
    config = full_config(name)
    t = config.text
    with torch.device("meta"):
        theirs = transformers.CLIPTextModelWithProjection(
            transformers.CLIPTextConfig(
                hidden_size=t.width,
                intermediate_size=t.mlp_width,
                num_hidden_layers=t.layers,
                num_attention_heads=t.heads,
                projection_dim=config.embed_dim,
            )
        )
        ours = TextTower(t, config.embed_dim)
    theirs = fill_with_tiles(real(theirs))
    take(ours, "text", hf_table(config), theirs)
    ids = torch.full((2, 77), t.pad)
    ids[0, :8] = torch.tensor([t.sot, 320, 1125, 539, 320, 2368, 269, t.eot])
    ids[1, :3] = torch.tensor([t.sot, 1929, t.eot])
    tokens = PromptedTokens(ids=ids, eot=torch.tensor([7, 2]), slots=torch.zeros(2, 0).long())
    positions = theirs.text_model.embeddings.position_embedding.weight
    positions.requires_grad_(True)
    ours.positions = nn.Parameter(positions.detach().clone())
    got, want = ours(tokens)[0], theirs(input_ids=ids).text_embeds
    close(got, want)
    (got * weights_like(got)).sum().backward()
    (want * weights_like(want)).sum().backward()
    close(ours.positions.grad, positions.grad)


def real(module: nn.Module) -> nn.Module:
    """Move a meta module to the CPU; its only buffers are position numbers."""
    module = module.to_empty(device="cpu")
    for buffer in module.buffers():
        buffer.copy_(torch.arange(buffer.numel()).view_as(buffer))
    return module


def close(got: Tensor | None, want: Tensor | None) -> None:
    """fp32 sums in another order through up to 24 layers: 1e-4 of the largest entry."""
    assert got is not None
    assert want is not None
    assert got.shape == want.shape
    got, want = got.detach(), want.detach()
    assert float((got - want).abs().max() / want.abs().max()) < 1e-4


def test_the_fixture_tokenizer_is_the_models(tmp_path: Path) -> None:
    clip = load_hf(tiny.write_folder(tiny.oracle(), tmp_path))
    assert isinstance(clip, Clip)
    assert clip.config.text.vocab_size == clip.tokenizer.vocab_size == tiny.VOCABULARY
    assert clip.preprocess == Preprocess.for_size(24)
    assert not any(p.requires_grad for p in clip.parameters())
    assert not clip.training
