"""Prompts drawn by a tiny Stable Diffusion with a ControlNet, built here from configurations."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from tests.contract.cases import build
from tests.contract.towers import NAMES, tower
from tests.world import CLASSES, command
from torch import Tensor

from diffuprompt.checkpoints.load import load_clip
from diffuprompt.cli.draw import next_best
from diffuprompt.clip.text import TextPlan
from diffuprompt.clip.tokens import PromptedTokens, sentence_tokens
from diffuprompt.errors import CheckpointError, ConfigError
from diffuprompt.generators.base import PromptGenerator
from diffuprompt.hub.artifact import Artifact, describe, save_artifact
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.registry import build_learner
from diffuprompt.pictures.edges import edge_map
from diffuprompt.pictures.grid import PromptGrid, draw_grid
from diffuprompt.pictures.painter import Painter, PainterConfig, load_pipeline
from diffuprompt.pictures.text_states import (
    check_drawable,
    filled,
    fit_map,
    prompt_states,
    same_states,
    sentence_states,
)
from diffuprompt.pictures.views import PictureView

diffusers, transformers = map(pytest.importorskip, ("diffusers", "transformers"))
checkers = pytest.importorskip("diffusers.pipelines.stable_diffusion.safety_checker")
CLIP = tower("plain-vit", torch.float32)
WIDTH = CLIP.config.text.width
SMALL = PainterConfig(steps=2, side=64, control_end=1.0)


def artifact(case: str) -> Artifact:
    learner = build(case, CLIP, moved=True).requires_grad_(False)
    return Artifact(describe(learner, NAMES), CLIP, learner, None)


def picture() -> Image.Image:
    """A bright square on a dark ground."""
    image = Image.new("RGB", (48, 40), (20, 30, 40))
    image.paste((220, 200, 90), (12, 10, 30, 28))
    return image


@pytest.fixture(scope="module")
def pipeline() -> Any:
    """Random weights; the zero convolutions of a fresh ControlNet would hide the edges."""
    shape: dict[str, Any] = {
        "block_out_channels": (4, 8),
        "in_channels": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "cross_attention_dim": WIDTH,
        "norm_num_groups": 1,
        "attention_head_dim": 4,
        "layers_per_block": 1,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = diffusers.UNet2DConditionModel(
            out_channels=4, up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), **shape
        )
        control = diffusers.ControlNetModel(conditioning_embedding_out_channels=(4, 8), **shape)
        vae = diffusers.AutoencoderKL(
            block_out_channels=[4, 8],
            down_block_types=["DownEncoderBlock2D"] * 2,
            up_block_types=["UpDecoderBlock2D"] * 2,
            norm_num_groups=2,
        )
        with torch.no_grad():
            for p in control.parameters():
                if not p.any():
                    p.normal_(0, 0.5)
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False
    )
    return diffusers.StableDiffusionControlNetPipeline(
        vae=vae, text_encoder=None, tokenizer=None, unet=unet, controlnet=control,
        scheduler=scheduler, safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


@pytest.mark.parametrize(
    "case", ["zero-shot", "coop-middle", "coop-per-class", "maple", "clip-lora"]
)
def test_states_at_the_end_of_text_are_what_features_are_made_of(case: str) -> None:
    learner, classes = build(case, CLIP, moved=True), Classes(NAMES)
    labels, prompts = [3, 0], learner.prompts(torch.zeros(1, CLIP.config.embed_dim))
    learner.plan = TextPlan(path="plain")
    with torch.no_grad():
        states = prompt_states(learner, classes, labels, prompts)
        features = learner.text_features(classes, learner.render(prompts))[0, labels]
    assert states.shape == (2, CLIP.config.text.context_length, WIDTH)
    eot = learner.tokens(classes).eot[labels]
    ours = CLIP.text.projection(states[torch.arange(2), eot])
    torch.testing.assert_close(ours, features, rtol=0, atol=1e-5)
    plain = sentence_states(CLIP, ["a photo of a x.", "a photo of a cat."])
    if case == "zero-shot":
        torch.testing.assert_close(states, plain)
    else:
        assert float((states - plain).abs().max()) > 0.1


def test_behind_the_end_of_text_stands_end_of_text() -> None:
    eot = CLIP.tokenizer.eot
    tokens = PromptedTokens(
        ids=torch.tensor([[1, 5, eot, 0, 0], [1, eot, 0, 0, 0]]),
        eot=torch.tensor([2, 1]),
        slots=torch.zeros(2, 0, dtype=torch.long),
    )
    found = filled(CLIP, tokens)
    assert found.ids.tolist() == [[1, 5, eot, eot, eot], [1, eot, eot, eot, eot]]


def test_states_are_the_last_hidden_states_of_transformers(world: Path) -> None:
    clip = load_clip(world / "clip")
    theirs = transformers.CLIPTextModel.from_pretrained(world / "clip").eval()
    texts = ["", "a photo of a cat.", "red"]
    tokens = sentence_tokens(clip.tokenizer, texts, clip.config.text.context_length)
    with torch.no_grad():
        expected = theirs(input_ids=filled(clip, tokens).ids).last_hidden_state
        ours = sentence_states(clip, texts)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)  # of 3, float32, two layers
    assert same_states(ours, expected)


def test_a_map_between_towers_that_differ_by_a_map_is_found() -> None:
    stream = torch.Generator().manual_seed(0)
    ours = torch.randn(12, 9, 5, generator=stream)
    weight, offset = torch.randn(5, 7, generator=stream), torch.randn(7, generator=stream)
    theirs = ours @ weight + offset
    found = fit_map(ours, torch.cat([theirs, theirs[:, :1]], dim=1))  # one has a longer context
    assert found.error < 1e-3
    torch.testing.assert_close(found(ours), theirs, rtol=0, atol=0.02)  # of 5: the ridge
    noise = torch.randn(12, 9, 7, generator=stream)
    assert fit_map(ours, noise).error > 0.9
    assert same_states(theirs, theirs.half())
    assert not same_states(theirs, theirs + 0.1)
    assert not same_states(theirs, theirs[..., :5])


def test_edges_are_where_the_picture_changes() -> None:
    edges = pixels(edge_map(picture(), 64))
    assert set(np.unique(edges)) == {0, 255}
    assert 0 < (edges > 0).mean() < 0.2
    assert not edges[:3].any()
    assert edges[14:20, 24:40].any()  # the upper side of the square
    assert not edges[28:34, 28:34].any()  # and nothing inside of it


def test_prompts_and_edges_change_pixels_and_nothing_else_does(pipeline: Any) -> None:
    painter = Painter(pipeline, CLIP, NAMES, SMALL)
    assert painter.fidelity == "unchecked"
    cat, dog = sentence_states(CLIP, ["a photo of a cat.", "a photo of a dog."])
    edges, none = edge_map(picture(), 64), Image.new("RGB", (64, 64))
    first = pixels(painter.draw(cat, edges))
    assert first.shape == (64, 64, 3)
    assert np.array_equal(first, pixels(painter.draw(cat, edges)))
    assert np.abs(first - pixels(painter.draw(dog, edges))).max() > 0
    assert np.abs(first - pixels(painter.draw(cat, none))).max() > 0
    assert np.abs(first - pixels(painter.draw(cat, edges, seed=1))).mean() > 1
    free = Painter(pipeline, CLIP, NAMES, PainterConfig(steps=2, side=64, control=0.0))
    assert np.array_equal(pixels(free.draw(cat, edges)), pixels(free.draw(cat, none)))


class Drawing:
    """A generator whose draws are the learner's own prompts, moved."""

    num_noise = 1

    def sample(self, features_BE: Tensor, initial_BF: Tensor, *, draw: int) -> Tensor:
        return initial_BF + (draw + 1) * torch.cos(torch.arange(initial_BF.shape[1]))


def test_the_grid_has_the_papers_rows_and_honest_numbers(pipeline: Any) -> None:
    base, generator = artifact("maple"), cast(PromptGenerator, Drawing())
    known = Artifact(base.description, CLIP, base.learner, generator)
    painter = Painter(pipeline, CLIP, NAMES, PainterConfig(steps=1, side=64))
    grid = draw_grid(known, painter, picture(), true="cat", wrong="sea_lion")
    rows = ["hand-written", "learned", "sample 1", "sample 2", "sample 3"]
    assert list(grid.cells) == list(grid.figures) == rows
    assert len({pixels(cell).tobytes() for pair in grid.cells.values() for cell in pair}) == 10
    own = known.learner.spec.pack(known.learner.prompts(torch.zeros(1, 1)))
    second = known.learner.spec.unpack(Drawing().sample(own, own, draw=1))
    states = prompt_states(known.learner, Classes(NAMES), [0], second)[0]
    alone = painter.draw(states, edge_map(picture(), 64))
    assert np.array_equal(pixels(alone), pixels(grid.cells["sample 2"][0]))
    hand, learned = grid.figures["hand-written"], grid.figures["learned"]
    assert (hand.image_gain, hand.class_gain) == (0, 0)
    assert learned.to_image - hand.to_image == pytest.approx(learned.image_gain)
    assert -1 <= learned.to_class <= 1
    assert grid.sample_distance is not None
    assert grid.seed_distance is not None
    assert 0 < grid.sample_distance < 2
    assert 0 < grid.seed_distance < 2


def test_the_learned_row_is_there_where_the_text_tower_says_another_thing(pipeline: Any) -> None:
    painter = Painter(pipeline, CLIP, NAMES, PainterConfig(steps=1, side=64))
    own_words = build_learner("zero-shot", CLIP, {"templates": ["a dark {}!"]})

    def drawn(known: Artifact) -> PromptGrid:
        return draw_grid(known, painter, picture(), true="cat", wrong="x")

    for case in ("clip-lora", "2sfs"):  # no slots, and a changed tower
        assert list(drawn(artifact(case)).cells) == ["hand-written", "learned"]
    for known in (
        artifact("tip-adapter"),
        Artifact(describe(own_words, NAMES), CLIP, own_words, None),  # differs, and is not learned
    ):
        plain = drawn(known)
        assert list(plain.cells) == ["hand-written"]
        assert plain.sample_distance is plain.seed_distance is None
    llu = artifact("llu")  # a slot, whose own values are the hand-written words
    made = drawn(Artifact(llu.description, CLIP, llu.learner, cast(PromptGenerator, Drawing())))
    assert list(made.cells) == ["hand-written", "sample 1", "sample 2", "sample 3"]
    assert made.seed_distance is not None
    assert made.seed_distance > 0


def test_prompts_of_the_image_tower_alone_are_refused() -> None:
    with pytest.raises(ConfigError, match="vpt: its prompts enter the image tower alone"):
        check_drawable(artifact("vpt").learner)
    check_drawable(artifact("ivlp").learner)


def test_the_wrong_class_is_the_next_one_by_generated_prompts() -> None:
    def view(name: str, **guesses: str) -> PictureView:
        kinds = {k: SimpleNamespace(guesses=[(n, 0.3) for n in v]) for k, v in guesses.items()}
        return PictureView(picture=picture(), name=name, prompts=cast(Any, kinds))

    assert next_best(view("a", own="cab", generated="abc", shuffled="abc")) == "b"
    assert next_best(view("b", own="cab", generated="abc", shuffled="abc")) == "a"
    assert next_best(view("c", own="cab", shuffled="bac")) == "a"


class Tokenizer:
    """Hands texts through to `Encoder`, in the form that transformers' gives ids."""

    model_max_length = 77

    def __call__(self, texts: list[str], **how: Any) -> SimpleNamespace:
        return SimpleNamespace(input_ids=Texts(texts))


class Texts(list):
    def to(self, device: object) -> Texts:
        return self


class Encoder(torch.nn.Module):
    """A text encoder that says what our tower says, through a map or as it is."""

    device = "cpu"

    def __init__(self, weight: Tensor | None) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, texts: list[str]) -> tuple[Tensor]:
        states = sentence_states(CLIP, texts)
        return (states if self.weight is None else states @ self.weight,)


def test_how_states_reach_the_model_is_said() -> None:
    def made(width: int, encoder: Encoder | None) -> Any:
        return SimpleNamespace(
            unet=SimpleNamespace(config={"cross_attention_dim": width}),
            text_encoder=encoder,
            tokenizer=Tokenizer(),
            set_progress_bar_config=lambda **_: None,
        )

    other = torch.randn(WIDTH, 20, generator=torch.Generator().manual_seed(0))
    same = Painter(made(WIDTH, Encoder(None)), CLIP, NAMES, SMALL)
    assert (same.fidelity, same.error) == ("exact", 0)
    mapped = Painter(made(20, Encoder(other)), CLIP, NAMES, SMALL)
    assert mapped.fidelity == "approximate"
    assert mapped.error < 1e-2
    with pytest.raises(ConfigError, match=r"--model: reads texts of width 20, .* has 32"):
        Painter(made(20, None), CLIP, NAMES, SMALL)


def test_the_command_draws_with_models_of_folders(
    pipeline: Any, world: Path, tmp_path: Path
) -> None:
    shape = {"hidden_size": 8, "num_attention_heads": 1, "num_hidden_layers": 1, "image_size": 8}
    checker = checkers.StableDiffusionSafetyChecker(
        transformers.CLIPConfig(vision_config={**shape, "patch_size": 8}, projection_dim=8)
    )
    reader = transformers.CLIPImageProcessor()
    parts = pipeline.components | {"safety_checker": checker, "feature_extractor": reader}
    type(pipeline)(**parts).save_pretrained(tmp_path / "sd")
    pipeline.controlnet.save_pretrained(tmp_path / "control")
    loaded = load_pipeline(str(tmp_path / "sd"), str(tmp_path / "control"))
    assert loaded.safety_checker is None  # no cell is painted black
    clip = load_clip(world / "clip")
    learner = build_learner("coop", clip, {"num_ctx": 2, "ctx_init": None})
    save_artifact(tmp_path / "artifact", learner, CLASSES, None, {})
    image, out = world / "colours" / "red" / "0.png", tmp_path / "drawn"
    words = ("draw", tmp_path / "artifact", "--image", image, "--backbone", world / "clip")
    words = (*words, "--pictures", "--model", tmp_path / "sd", "--steps", 1, "--side", 64)
    done = command(*words, "--controlnet", tmp_path / "control", "--words", 1, "--out", out)
    assert done.code == 0, done.err
    (best, second) = re.findall(r"(\w+) [0-9.]+ %", done.out)  # one is not enough with --pictures
    assert f"0.png: {best}, and {second}; prompts are unchecked" in done.out
    assert set(json.loads((out / "0-prompts.json").read_text())["rows"]) == {
        "hand-written",
        "learned",
    }
    with Image.open(out / "0-prompts.png") as sheet:
        assert sheet.width > 2 * 224
    with pytest.raises(CheckpointError, match=r"--model .*cannot be loaded"):
        load_pipeline(str(tmp_path / "sd"), str(tmp_path / "sd"))
