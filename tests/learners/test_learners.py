"""What the papers say of single learners, and what wrong options answer."""

from __future__ import annotations

import math

import pytest
import torch
from tests.contract.towers import NAMES, pictures, tiny, tower

from diffuprompt.clip.model import normalize
from diffuprompt.clip.templates import ENSEMBLES
from diffuprompt.data.images import ImageBatch
from diffuprompt.engine.seeds import torch_stream
from diffuprompt.errors import ConfigError
from diffuprompt.learners.base import Learner
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.coop_learner import CoOp
from diffuprompt.learners.methods import METHODS
from diffuprompt.learners.methods.coop import CoOpOptions
from diffuprompt.learners.options import settable
from diffuprompt.learners.prompt_options import PromptOptions
from diffuprompt.learners.registry import build_learner


def coop(clip, **options) -> Learner:
    return build_learner("coop", clip, options)


def zero_shot(clip, templates) -> Learner:
    return build_learner("zero-shot", clip, {"templates": templates})


@pytest.fixture(scope="module")
def clip():
    return tower("plain-vit", torch.float64)


@pytest.fixture(scope="module")
def vit_b16():
    """The widths of CLIP ViT-B/16; one layer, because learners count the same at any depth."""
    return tiny(
        dtype=torch.float32, text_width=512, vision_width=768, embed_dim=512, layers=1, scale=100.0
    )


@pytest.mark.parametrize(
    ("name", "config", "expected"),
    [
        ("zero-shot", {}, 0),
        ("coop", {"num_ctx": 4, "ctx_init": "a photo of a"}, 2_048),
        ("coop", {"num_ctx": 16}, 8_192),
        ("coop", {"num_ctx": 16, "class_specific": True, "num_classes": 50}, 50 * 8_192),
        ("cocoop", {}, 35_360),
    ],
)
def test_published_numbers_of_parameters(name, config, expected, vit_b16):
    learner = build_learner(name, vit_b16, config, generator=torch_stream(0, "init"))
    assert learner.num_trainable() == expected
    assert sum(t.numel() for t in learner.state_dict().values()) == expected
    free = {"coop": expected, "cocoop": 2_048, "zero-shot": 0}[name]
    assert learner.spec.size == free


def test_words_are_the_towers_own_vectors(clip):
    learner = coop(clip, num_ctx=4, ctx_init="a photo of a")
    ids = clip.tokenizer.encode("a photo of a")
    assert len(ids) == 4
    # the tower's weights were drawn in float32, so nothing is lost
    assert torch.equal(learner.ctx.detach()[0].double(), clip.text.token_embedding.weight[ids])
    assert learner.ctx.dtype == torch.float32
    clip_bytes = clip.text.token_embedding.weight.untyped_storage().data_ptr()
    assert learner.ctx.untyped_storage().data_ptr() != clip_bytes


def test_class_specific_words_are_the_same_for_every_class(clip):
    learner = coop(clip, num_ctx=4, ctx_init="a photo of a", class_specific=True, num_classes=3)
    shared = coop(clip, num_ctx=4, ctx_init="a photo of a")
    assert learner.ctx.shape == (3, 4, clip.config.text.width)
    assert torch.equal(learner.ctx, shared.ctx.expand(3, -1, -1))


@pytest.mark.parametrize("name", ["coop", "cocoop"])
def test_random_words_are_small_and_come_from_the_given_stream(name, clip, vit_b16):
    config = {"num_ctx": 16, "ctx_init": None}
    state = torch.get_rng_state()
    one, two = (
        build_learner(name, vit_b16, config, generator=torch_stream(1, "init")) for _ in range(2)
    )
    other = build_learner(name, vit_b16, config, generator=torch_stream(2, "init"))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.ctx, other.ctx)
    # 8,192 draws of N(0, 0.02): the standard error of their std is 0.8 %; four of them
    assert float(one.ctx.detach().std()) == pytest.approx(0.02, rel=0.032)
    assert torch.equal(torch.get_rng_state(), state), "the global stream was touched"


def test_templates_are_averaged_after_normalisation(clip):
    templates, classes, images = (
        ["a photo of a {}.", "{}", "of {}!"],
        Classes(NAMES),
        pictures(clip, 3),
    )
    each = [normalize(zero_shot(clip, [t]).static_text(classes)) for t in templates]
    mean = sum(each) / 3
    want = clip.scale * normalize(images.features) @ normalize(mean)[0].T
    got = zero_shot(clip, templates).logits(images, classes)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)  # float64 rounding of logits up to 20


def test_an_ensembles_name_stands_for_its_templates(clip):
    named = zero_shot(clip, ["imagenet-7"])
    assert named.config()["templates"] == list(ENSEMBLES["imagenet-7"]), (
        "an artifact says what it does"
    )
    with pytest.raises(ConfigError, match=r"'imagenet-80'.*got \['imagenet-8'\]"):
        zero_shot(clip, ["imagenet-8"])


def test_template_order_does_not_matter(clip):
    templates, classes, images = (
        ["a photo of a {}.", "{}", "of {}!"],
        Classes(NAMES),
        pictures(clip, 3),
    )
    one = zero_shot(clip, templates).logits(images, classes)
    two = zero_shot(clip, templates[::-1]).logits(images, classes)
    torch.testing.assert_close(one, two, rtol=0, atol=1e-12)


def test_the_shift_is_one_for_all_tokens_and_sees_the_direction_only(clip):
    learner = build_learner("cocoop", clip, {}, generator=torch_stream(0, "init"))
    features = pictures(clip, 3).features
    learner.requires_grad_(False)
    shift = learner.prompts(features)["text.0"][:, 0] - learner.ctx
    assert float(shift[0, 0].abs().max()) > 1e-2
    # float32 rounding of (ctx + shift) - ctx
    torch.testing.assert_close(shift, shift[:, :1].expand_as(shift), rtol=0, atol=1e-6)
    assert float((shift[0] - shift[1]).abs().max()) > 1e-2
    again = learner.prompts(100 * features)["text.0"][:, 0] - learner.ctx
    torch.testing.assert_close(again, shift, rtol=0, atol=1e-6)


def test_the_meta_net_is_its_formula(clip):
    """pi = W2 relu(W1 f / |f| + b1) + b2 with E // 16 hidden units (Zhou et al. 2022, sec. 3.2)."""
    learner = build_learner("cocoop", clip, {}, generator=torch_stream(0, "init"))
    net, f = learner.meta_net, pictures(clip, 3).features.float()
    assert net.linear1.weight.shape == (64 // 16, 64)
    unit = f / f.norm(dim=1, keepdim=True)
    hidden = (unit @ net.linear1.weight.T + net.linear1.bias).clamp(min=0)
    want = learner.ctx + (hidden @ net.linear2.weight.T + net.linear2.bias)[:, None]
    # float32 rounding
    torch.testing.assert_close(learner.prompts(f)["text.0"][:, 0], want, rtol=0, atol=1e-6)
    bound = 1 / math.sqrt(64)
    assert bound / 2 < float(net.linear1.weight.detach().abs().max()) <= bound


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("coop", "num_ctxs", "num_ctx"),
        ("coop", "class_specfic", "class_specific"),
        ("cocoop", "ctxinit", "ctx_init"),
        ("zero-shot", "template", "templates"),
    ],
)
def test_a_wrong_option_gets_the_near_miss(name, wrong, right, clip):
    with pytest.raises(ConfigError, match=rf"{name} has no option '{wrong}'.*'{right}'\?"):
        build_learner(name, clip, {wrong: 1})


def test_a_wrong_name_gets_the_near_miss(clip):
    with pytest.raises(ConfigError, match=r"unknown learner 'cocop'.*Did you mean 'coc?oop'\?"):
        build_learner("cocop", clip, {})


def test_options_are_what_configures_a_learner(clip):
    assert tuple(settable(METHODS["coop"].options)) == (
        "num_ctx",
        "ctx_init",
        "position",
        "class_specific",
    )
    for name, method in METHODS.items():
        state = torch.get_rng_state()
        deep = isinstance(method.options, PromptOptions)  # published depths are for deeper towers
        small = {"depth": 1, "vision_depth": 1} if deep else {}
        learner = build_learner(name, clip, small, generator=torch_stream(0, "init"))
        assert set(learner.config()) >= set(settable(method.options)), (
            "config() must build an equal learner"
        )
        assert torch.equal(torch.get_rng_state(), state), f"{name} touched the global stream"
        again = build_learner(name, clip, learner.config())
        assert again.spec == learner.spec


def test_too_few_words_are_an_error(clip):
    message = r"learner\.num_ctx: expected at most 3, the tokens of ctx_init 'a photo of', got 4"
    for name in ("coop", "cocoop", "maple"):
        with pytest.raises(ConfigError, match=message):
            build_learner(name, clip, {"num_ctx": 4, "ctx_init": "a photo of"})
    with pytest.raises(ConfigError, match=message):  # also where no registry stands in front
        CoOp(clip, CoOpOptions(num_ctx=4, ctx_init="a photo of"))


def test_more_words_than_prompts_need_the_end(clip):
    learner = coop(clip, num_ctx=2, ctx_init="a photo of a", position="front")
    with pytest.raises(ConfigError, match="initial words of exactly 2 tokens"):
        learner.static_text(Classes(NAMES))


def test_class_specific_contexts_refuse_other_classes(clip):
    learner = coop(clip, num_ctx=2, class_specific=True, num_classes=6)
    images = pictures(clip, 3)
    assert learner.logits(images, Classes(NAMES)).shape == (3, 6)
    with pytest.raises(ConfigError, match="learned for 6 classes and cannot score 5"):
        learner.logits(images, Classes(NAMES[:5]))
    with pytest.raises(ConfigError, match="shared context"):
        learner.static_text(Classes([*NAMES, "owl"]))


@pytest.mark.parametrize("templates", [[], ["a photo"], ["a {}", "a photo of {name}"]])
def test_templates_need_a_place_for_the_name(templates, clip):
    with pytest.raises(ConfigError, match="templates"):
        zero_shot(clip, templates)


def test_a_batch_without_pixels_and_features_is_an_error(clip):
    empty = ImageBatch(None, None, torch.arange(2))
    with pytest.raises(ConfigError, match="neither pixels nor features"):
        coop(clip, num_ctx=2).logits(empty, Classes(NAMES))
