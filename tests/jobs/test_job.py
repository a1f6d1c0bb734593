"""Jobs as asked and as resolved: overrides, presets, identity, the command that repeats them."""

from __future__ import annotations

import dataclasses
import json
import shlex
import subprocess
import sys
from typing import Any

import pytest

from diffuprompt.cli import train as verb
from diffuprompt.cli.parse import parse
from diffuprompt.errors import ConfigError
from diffuprompt.jobs.command import command
from diffuprompt.jobs.job import JobConfig, Resolved, resolve

DIFFUSION = {"learner": "cocoop", "generator": "diffusion"}


def job(**values: Any) -> JobConfig:
    return JobConfig(**{"data": "scenes", **values})


def resolved(
    *overrides: str, own_pictures: bool = False, logit_scale: float = 100.0, **values: Any
) -> Resolved:
    return resolve(
        job(**values, overrides=overrides),
        dataset="scenes",
        backbone="scenes-clip",
        own_pictures=own_pictures,
        logit_scale=logit_scale,
    )


def test_overrides_reach_their_section() -> None:
    found = resolved(
        *("lr=0.1", "train.epochs=3", "batch=5", "num_ctx=2", "ctx_init=two words"),
        *("overfit.steps=7", "optimiser=adam", "nfe=3", "fit.lr=1", "diffusion.sampler=ddim"),
        **DIFFUSION,
    )
    assert (found.train.lr, found.train.epochs, found.train.batch) == (0.1, 3, 5)
    assert found.options == {"num_ctx": 2, "ctx_init": "two words"}
    assert (found.overfit.steps, found.overfit.optimiser, found.overfit.batch) == (7, "adam", 32)
    assert (found.diffusion.nfe, found.fit.lr, found.diffusion.sampler) == (3, 1.0, "ddim")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epoch=3", "Did you mean 'epochs'?"),
        ("train.epoch=3", "Did you mean 'train.epochs'?"),
        ("difusion.nfe=3", "Did you mean 'diffusion.nfe'?"),
        ("position=end", "unknown key"),  # CoOp's, and this is CoCoOp
        ("steps=3", "ambiguous, one of ['overfit.steps', 'diffusion.steps']"),
        ("lr", "expected KEY=VALUE"),
        ("condition_noise=much", "fit.condition_noise: got 'much', expected a number"),
        ("condition_noise=-1", "fit.condition_noise: got -1, expected a number from 0 to 1000"),
        ("epochs=2.5", "train.epochs: got 2.5, expected a whole number"),
        ("epochs=many", "train.epochs: got 'many', expected a whole number"),
        ("epochs=true", "train.epochs: got True, expected a whole number"),
        ("lr=fast", "train.lr: got 'fast', expected a number"),
        ("lr=NaN", "train.lr: got 'NaN', expected a number"),
        ("lr=1e999", "train.lr: got inf, expected a number"),
        ("lr=0", "train.lr: got 0, expected a number above 0 and up to 1000"),
        ("batch=0", "train.batch: got 0, expected a whole number from 1 to 65536"),
        (
            "overfit.target_drop=1",
            "target_drop: got 1, expected a number above 0 and below 1",
        ),
        ("diffusion.nfe=0", "diffusion.nfe: got 0, expected a whole number from 1 to 1000"),
        ("optimiser=adm", "one of ['sgd', 'adam']. Did you mean 'adam'?"),
        ("network=smal", "Did you mean 'small'?"),
        ("num_ctx=four", "learner.num_ctx: got 'four', expected a whole number"),
        ("ctx_init=4", "learner.ctx_init: got 4, expected text, or null"),
    ],
)
def test_wrong_overrides_say_what_is_right(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        job(**DIFFUSION, overrides=(override,))
    assert message in str(caught.value)


def test_all_wrong_overrides_are_named_at_once() -> None:
    wrong = ("epoch=1", "steps=3", "lr=fast", "optimiser=adm", "num_ctx=x", "fit.batch=0.5")
    with pytest.raises(ConfigError) as caught:
        job(**DIFFUSION, overrides=wrong)
    keys = ("epoch", "steps", "train.lr", "optimiser", "num_ctx", "fit.batch")
    assert all(key in str(caught.value) for key in keys)


def test_wrong_fields_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        job(learner="cocop", generator="difusion", shots=0, seed=-1, workers=-1, protocol="few")  # type: ignore[arg-type]
    text = str(caught.value)
    for part in ("'cocoop'", "'diffusion'", "shots", "seed", "workers", "'few-shot'"):
        assert part in text
    with pytest.raises(ConfigError, match="zero-shot has no prompts"):
        job(learner="zero-shot", generator="diffusion")
    with pytest.raises(ConfigError, match="Did you mean 'few-shot'"):
        job(preset="fewshot")


def test_learner_options_are_typed_values() -> None:
    assert resolved("class_specific=true").options["class_specific"] is True
    assert resolved("ctx_init=null", learner="cocoop").options["ctx_init"] is None
    templates = resolved("templates=a {}!", learner="zero-shot").options["templates"]
    assert templates == ["a {}!"]
    two = resolved('templates=["a {}!", "{}"]', learner="zero-shot").options["templates"]
    assert two == ["a {}!", "{}"]
    with pytest.raises(ConfigError, match="true or false"):
        job(overrides=("class_specific=False",))  # Python's word, not JSON's: it was taken for true
    with pytest.raises(ConfigError, match="'middle'"):
        job(overrides=("position=midle",))


@pytest.mark.parametrize(
    ("values", "protocol", "preset"),
    [
        ({}, "base-to-new", "base-to-new"),
        ({"own_pictures": True}, "few-shot", "few-shot"),
        ({"own_pictures": True, "protocol": "base-to-new"}, "base-to-new", "base-to-new"),
        ({"protocol": "few-shot"}, "few-shot", "few-shot"),
        ({"protocol": "holdout"}, "holdout", "base-to-new"),
        ({"logit_scale": 49.9}, "base-to-new", "lite"),
        ({"logit_scale": 50.0}, "base-to-new", "base-to-new"),
        ({"logit_scale": 16.0, "protocol": "holdout"}, "holdout", "lite"),
        ({"logit_scale": 16.0, "preset": "few-shot"}, "base-to-new", "few-shot"),
        ({"learner": "zero-shot", "logit_scale": 16.0}, "base-to-new", "published"),
    ],
)
def test_auto_takes_the_recipe_of_protocol_and_backbone(
    values: dict[str, Any], protocol: str, preset: str
) -> None:
    found = resolved(**values)
    assert (found.protocol, found.preset) == (protocol, preset)


@pytest.mark.parametrize(("shots", "epochs"), [(16, 200), (8, 200), (4, 100), (2, 100), (1, 50)])
def test_coop_few_shot_epochs_follow_the_shots(shots: int, epochs: int) -> None:
    assert resolved(protocol="few-shot", shots=shots).train.epochs == epochs
    assert resolved("epochs=7", protocol="few-shot", shots=shots).train.epochs == 7
    assert resolved(protocol="base-to-new", shots=shots).train.epochs == 200


@pytest.mark.parametrize("values", [{}, DIFFUSION, {"learner": "zero-shot"}])
def test_json_round_trip(values: dict[str, Any]) -> None:
    found = resolved("lr=0.1", shots=4, seed=0, **values)
    again = Resolved.from_json(json.loads(json.dumps(found.to_json())))
    assert again == found
    assert again.hash == found.hash
    assert ("diffusion" in found.to_json()) == (found.generator == "diffusion")


def test_hash_changes_exactly_when_a_value_changes() -> None:
    base = resolved(**DIFFUSION)
    others = [
        resolved(**DIFFUSION, seed=2),
        resolved(**DIFFUSION, shots=4),
        resolved(**DIFFUSION, protocol="few-shot"),
        resolved(learner="cocoop"),
        dataclasses.replace(base, dataset="x"),
        dataclasses.replace(base, backbone="x"),
        dataclasses.replace(base, preset="x"),
        *(
            resolved(f"{section}.{name}={value}", **DIFFUSION)
            for section, values in {
                "train": {"lr": 0.1, "epochs": 1, "batch": 2, "views": 3, "weight_decay": 0},
                "overfit": {"steps": 1, "lr": 1, "optimiser": "adam", "target_drop": 0.5},
                "fit": {"lr": 0.1, "epochs": 1, "beta": 2, "normaliser": "whiten"},
                "diffusion": {"nfe": 2, "network": "paper", "sampler": "ddim"},
                "learner": {"num_ctx": 2, "ctx_init": "null"},
            }.items()
            for name, value in values.items()
        ),
    ]
    hashes = [base.hash, *(other.hash for other in others)]
    assert len(set(hashes)) == len(hashes)
    same = [
        resolved(**DIFFUSION),
        resolved(f"lr={base.train.lr}", f"fit.beta={int(base.fit.beta)}", **DIFFUSION),
        resolved(**DIFFUSION, workers=0, device="cpu", text_memory_mib=1),
    ]
    assert {other.hash for other in same} == {base.hash}
    # fields that came later are no part of what was named before they came
    later = resolved("fit.stop_gradient=false", "diffusion.time_tokens=1", **DIFFUSION)
    assert later.hash == base.hash
    assert "stop_gradient" not in later.to_json()["fit"]
    assert resolved("diffusion.time_tokens=4", **DIFFUSION).hash != base.hash
    # what generation needs is no value of a job that does not generate
    assert resolved("diffusion.nfe=2", learner="cocoop") == resolved(learner="cocoop")


@pytest.mark.parametrize(
    "values",
    [
        {},
        DIFFUSION | {"overrides": ("ctx_init=a photo's $HOME", "lr=1")},
        {"backbone": "openai/clip-vit-base-patch16", "preset": "few-shot", "protocol": "few-shot"},
        {"shots": 1, "seed": 0, "data": "caltech101"},
    ],
)
def test_command_says_the_same_job(values: dict[str, Any]) -> None:
    asked = job(**values)
    program, name, *words = shlex.split(command(asked))
    assert (program, name) == ("diffuprompt", "train")
    assert verb.job(parse(verb.Args, words, prog="diffuprompt train")) == asked


@pytest.mark.parametrize("place", ["/somewhere/my birds", "~/my birds", "../my birds/"])
def test_command_keeps_no_paths(place: str) -> None:
    text = command(job(data=place, backbone=place, out="/x/out", data_root="/x/root"))
    expected = "diffuprompt train --data 'my birds' --backbone 'my birds' --learner coop"
    assert text == f"{expected} --shots 16 --seed 1"


def test_jobs_are_checked_without_torch() -> None:
    code = "import sys, diffuprompt.jobs.job as m; m.JobConfig(data='x'); "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
