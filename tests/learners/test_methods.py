"""What a method says about its learner, adding one, and options of earlier versions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from tests.contract.towers import NAMES, pictures, tower

from diffuprompt.engine.seeds import torch_stream
from diffuprompt.errors import ConfigError
from diffuprompt.jobs.overrides import read_options
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.coop_learner import CoOp
from diffuprompt.learners.method import Method, Preset, TrainConfig
from diffuprompt.learners.methods import DEFAULT, METHODS, register
from diffuprompt.learners.methods.coop import CoOpOptions
from diffuprompt.learners.options import changed
from diffuprompt.learners.presets import all_presets, find_method
from diffuprompt.learners.prompt_learner import PromptLearner
from diffuprompt.learners.prompt_options import PromptOptions
from diffuprompt.learners.registry import build_learner, learner_class, upgrade_options


@pytest.fixture(scope="module")
def clip():
    return tower("plain-vit", torch.float32)


@pytest.fixture
def _no_trace():
    """What is registered is forgotten after the test."""
    before = dict(METHODS)
    yield
    METHODS.clear()
    METHODS.update(before)


def mine(name: str = "mine", **fields) -> Method:
    recipe = Preset(learner=name, name="lite", train=TrainConfig(epochs=1, batch=2, lr=0.1))
    values = {"title": "Mine", "about": "A test.", "options": PromptOptions(), "presets": (recipe,)}
    return Method(name=name, **{**values, **fields})


def test_methods_stand_in_the_order_of_published_tables():
    titles = [method.title for method in METHODS.values()]
    assert titles == [
        "Zero-shot CLIP",
        "CoOp",
        "CoCoOp",
        "ProGrad",
        "CLIP-Adapter",
        "Tip-Adapter",
        "Tip-Adapter-F",
        "LLU",
        "CLIP-LoRA",
        "2SFS",
        "VPT",
        "Deep language",
        "IVLP",
        "MaPLe",
        "PromptSRC",
        "CoPrompt",
    ]
    assert all(name == method.name for name, method in METHODS.items())
    assert METHODS[DEFAULT].presets


def test_only_templates_need_no_training_images():
    assert [m.title for m in METHODS.values() if not m.needs_images] == ["Zero-shot CLIP"]


def test_the_class_that_carries_options_out_is_named_or_given():
    assert learner_class(METHODS["coop"]) is CoOp
    assert learner_class(METHODS["maple"]) is PromptLearner
    assert learner_class(mine(learner=CoOp)) is CoOp


def test_options_pass_as_their_dataclass_or_as_what_differs(clip):
    def build(options):
        return build_learner("coop", clip, options, generator=torch_stream(0, "init"))

    whole, some = build(CoOpOptions(num_ctx=3)), build({"num_ctx": 3})
    assert whole.options == some.options == CoOpOptions(num_ctx=3)
    assert torch.equal(whole.ctx, some.ctx)
    with pytest.raises(ConfigError, match="coop: expected CoOpOptions, got PromptOptions"):
        build(PromptOptions())


@pytest.mark.parametrize("name", METHODS)
def test_config_is_the_options(name, clip):
    small = {"depth": 1, "vision_depth": 1}
    small = small if isinstance(METHODS[name].options, PromptOptions) else {}
    learner = build_learner(name, clip, small)
    assert changed(METHODS[name].options, learner.config(), learner=name) == learner.options


def test_contexts_of_single_classes_belong_to_a_class_list(clip):
    asked = CoOpOptions(num_ctx=2, class_specific=True)
    assert (asked.class_bound, CoOpOptions().class_bound) == ("class_specific", "")
    assert asked.for_classes(NAMES) == replace(asked, num_classes=len(NAMES))
    assert CoOpOptions().for_classes(NAMES) == CoOpOptions()
    learner = build_learner("coop", clip, asked.for_classes(NAMES))
    assert learner.spec.slots[0].classes == len(NAMES)
    with pytest.raises(ConfigError, match=r"built for a class list.*for_classes\(names\)"):
        build_learner("coop", clip, asked)
    with pytest.raises(ConfigError, match=r"num_classes: expected 0 .* got 3"):
        CoOpOptions(num_classes=3)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"class_specific": 0}, {"class_specific": False, "num_classes": 0}),
        ({"class_specific": False}, {"class_specific": False, "num_classes": 0}),
        ({"class_specific": 6}, {"class_specific": True, "num_classes": 6}),
    ],
)
def test_options_of_0_1_are_read(old, new, clip):
    """There ``class_specific`` was asked as a truth value and stored as a number of classes."""
    rest = {"num_ctx": 3, "ctx_init": None, "position": "end"}
    config = upgrade_options("coop", {**rest, **old})
    assert config == {**rest, **new}
    assert upgrade_options("coop", config) == config, "options of today stay"
    learner = build_learner("coop", clip, config)
    assert learner.ctx.shape == (new["num_classes"] or 1, 3, clip.config.text.width)
    assert upgrade_options("maple", {"depth": 2}) == {"depth": 2}
    with pytest.raises(ConfigError, match="Did you mean 'coop'"):
        upgrade_options("cop", {})


def test_what_training_finds_cannot_be_set():
    assert read_options("coop", ("class_specific=true",)) == {"class_specific": True}
    for learner, key in (("coop", "num_classes"), ("tip-adapter", "size")):
        with pytest.raises(ConfigError, match=f"{key}=3: expected KEY=VALUE of {learner}"):
            read_options(learner, (f"{key}=3",))


def test_recipes_of_the_few_shot_benchmark_say_so_in_their_command():
    named = {p.name for p in all_presets() if "--protocol few-shot" in p.command}
    assert named == {"few-shot", "few-shot-late"}


@pytest.mark.usefixtures("_no_trace")
def test_a_script_can_add_a_learner(clip):
    own = register(mine(options=PromptOptions(num_ctx=2, depth=2)))
    assert find_method("mine") is own
    assert own.presets[0] in all_presets()
    learner = build_learner("mine", clip, {"vision_ctx": 0})
    assert (learner.name, len(learner.spec.slots)) == ("mine", 2)
    assert learner.logits(pictures(clip, 2), Classes(NAMES)).shape == (2, len(NAMES))
    changed_recipe = mine(about="Registered again.")
    assert find_method(register(changed_recipe).name) is changed_recipe


@pytest.mark.usefixtures("_no_trace")
def test_what_cannot_be_added_is_refused():
    with pytest.raises(ConfigError, match=r"names .*'maple'.* are taken, got 'maple'"):
        register(mine("maple"))
    with pytest.raises(ConfigError, match="at least one preset"):
        register(mine(presets=()))
    for wrong in ("Mine", "my_own", "a+b", "", "-a"):
        with pytest.raises(ConfigError, match="small letters, digits and hyphens"):
            mine(wrong)
    with pytest.raises(ConfigError, match=r"its presets are of \['coop'\]"):
        mine(presets=METHODS["coop"].presets[:1])


def test_options_of_an_own_kind(clip):
    """Options that are a dataclass of their own, carried out by a class of their own."""

    @dataclass(frozen=True, kw_only=True)
    class Options(CoOpOptions):
        scale: float = 2.0

    class Scaled(CoOp):
        options: Options

    method = mine(options=Options(num_ctx=2), learner=Scaled)
    learner = learner_class(method)(clip, method.options)
    assert isinstance(learner, Scaled)
    assert learner.config()["scale"] == 2.0
