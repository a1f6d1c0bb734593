"""Every number has bounds, said once: before anything trains, by the key that was typed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Annotated, Any, get_args

import pytest

from diffuprompt.diffusion.grids import GRIDS, make_grid
from diffuprompt.diffusion.samplers import NEEDS_FIT, SAMPLERS
from diffuprompt.diffusion.schedule import make_schedule
from diffuprompt.errors import ConfigError
from diffuprompt.generators.config import DiffusionConfig, FitConfig, OverfitConfig, RivalConfig
from diffuprompt.generators.noise_levels import first_step, smallest_sigma
from diffuprompt.jobs.job import JobConfig
from diffuprompt.learners import METHODS, TrainConfig, all_presets, settable
from diffuprompt.ranges import Range, allowed, fit, hints, misfits, shown

SECTIONS = {
    "train": TrainConfig,
    "overfit": OverfitConfig,
    "fit": FitConfig,
    "diffusion": DiffusionConfig,
    "rival": RivalConfig,
}
DIGITS_400 = "9" * 400
ABSURD = ("1e9", "1e18", "-1e9", DIGITS_400, f"-{DIGITS_400}", "1e400", "NaN", "-Infinity", "true")
ABSURD += (
    "null",
    "",
    '""',
    "[]",
    "[1]",
    '{"a": 1}',
    "1e5000",
    "9" * 5000,
    "[" * 50_000,
    "1 2",
    "²",
)


def job(learner: str = "cocoop", generator: str = "diffusion", **values: Any) -> JobConfig:
    return JobConfig(**{"data": "scenes", "learner": learner, "generator": generator, **values})


def numbers() -> Iterator[tuple[str, str, str]]:
    """Learner, generator and key of every number that can be set."""
    for section, kind in SECTIONS.items():
        generator = "vae" if section == "rival" else "diffusion"
        for name, want in hints(kind).items():
            if "number" in allowed(want):
                yield "cocoop", generator, f"{section}.{name}"
    for learner, method in METHODS.items():
        for name in settable(method.options):
            if "number" in allowed(hints(type(method.options))[name]):
                yield learner, "none", f"learner.{name}"


@pytest.mark.parametrize(("learner", "generator", "key"), sorted(set(numbers())))
def test_no_absurd_number_is_taken(learner: str, generator: str, key: str) -> None:
    optional = key in ("learner.vision_ctx", "learner.vision_depth") or (learner, key) in (
        ("gda", "learner.alpha"),
        ("prolip", "learner.pull"),
    )
    for value in ABSURD:
        if value == "null" and optional:
            continue
        with pytest.raises(ConfigError) as caught:
            job(learner, generator, overrides=(f"{key}={value}",))
        message = str(caught.value)
        assert message.startswith(f"{key}: got "), value[:20]
        assert "expected a" in message
        assert len(message) < 1000


def test_every_number_of_a_setting_has_a_range() -> None:
    kinds = [*SECTIONS.values(), JobConfig, *{type(m.options) for m in METHODS.values()}]
    for kind in kinds:
        for name, want in hints(kind).items():
            bounded = " from " in allowed(want) or " above " in allowed(want)
            assert bounded or not is_number(want), f"{kind.__name__}.{name} has no range"


def is_number(want: Any) -> bool:
    return "number" in allowed(want)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *((name, value) for name in ("shots", "seed", "workers") for value in (-1, 10**400, True)),
        *(
            (f"{what}_memory_mib", value)
            for what in ("text", "image")
            for value in (-1, 10**9, 0.5)
        ),
        ("shots", 0),
        ("workers", 100_000),
        ("seed", 2**63),
        ("seed", float("nan")),
        ("setting", "x" * 201),
        ("setting", "a\x1b[31m"),
        ("data", "a\0b"),
        ("data", ""),
        ("data", "\udcff.csv"),
        ("backbone", "b" * 5000),
        ("--set", ("lr=\udcff",)),
        ("--set", ("lr=1",) * 2000),
        ("--set", (1,)),
        ("device", "meta"),
        ("device", "cuda:-1"),
        ("device", "cuda:" + "9" * 400),
        ("precision", "fp16"),
        ("rehash", 1),
    ],
)
def test_a_job_has_bounds_too(field: str, wrong: object) -> None:
    with pytest.raises(ConfigError, match=rf"^{field}: ") as caught:
        job(**{field.replace("--set", "overrides"): wrong})
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["fit.ema=2"], ["fit.ema: got 2,"]),
        (["ema=1"], ["fit.ema: got 1,"]),
        (["diffusion.sigma_start=0"], ["diffusion.sigma_start: got 0,"]),
        (
            ["sigma_start=0.001"],
            ["diffusion.sigma_start: expected more than 0.03", "diffusion.steps=100", "got 0.001"],
        ),
        (["diffusion.steps=20"], ["diffusion.steps", "diffusion.schedule=linear", "got 20"]),
        (
            ["diffusion.grid=discrete", "diffusion.nfe=200"],
            ["diffusion.nfe", "diffusion.grid=discrete", "diffusion.steps=100", "nfe=200"],
        ),
        (["diffusion.sampler=dmpp_2m"], ["diffusion.sampler", "Did you mean 'dpmpp_2m'?"]),
        (["diffusion.grid=logsnr"], ["diffusion.grid", "Did you mean 'log_snr'?"]),
        (["fit.beta=0"], ["fit.beta", "fit.ce_weight"]),
        (["diffusion.guidance=2"], ["diffusion.guidance", "diffusion.drop_condition"]),
        (["ctx_init="], ["learner.ctx_init: got ''"]),
        (["ctx_init=" + "a" * 1001], ["learner.ctx_init: got 'aaa", "1000 characters"]),
        (["ctx_init=a\\u0000b"], []),  # text that only looks like an escape is a text
        (['ctx_init="a\\u0000b"'], ["learner.ctx_init: got 'a\\x00b'"]),
        (['ctx_init="\\ud800"'], ["learner.ctx_init: got '\\ud800'"]),
        (["=1"], ["--set =1: unknown key"]),
        (["lr="], ["train.lr: got ''"]),
        (["k" * 50_000 + "=1"], ["unknown key"]),
    ],
)
def test_errors_name_the_keys_that_were_typed(overrides: list[str], parts: list[str]) -> None:
    if not parts:
        job(overrides=tuple(overrides))
        return
    with pytest.raises(ConfigError) as caught:
        job(overrides=tuple(overrides))
    for part in parts:
        assert part in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert "decay: expected" not in str(caught.value)
    assert "sigma_min" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"normaliser": "none"}, "fit.normaliser"),
        ({"rank": "1"}, "fit.rank"),
        ({"mode": "joint", "ce_weight": "1"}, "fit.mode"),
    ],
)
def test_what_a_generator_needs_is_known_before_anything_trains(
    values: dict[str, str], message: str
) -> None:
    overrides = tuple(f"fit.{key}={value}" for key, value in values.items())
    with pytest.raises(ConfigError, match=message):
        job(generator="flow", overrides=overrides)


def test_all_templates_have_bounds() -> None:
    for wrong in ("[]", '[""]', '["a {}", 1]', '["{}\\n"]', f'["{{}}{"a" * 1000}"]'):
        with pytest.raises(ConfigError, match=r"^learner\.templates: "):
            job("zero-shot", "none", overrides=(f"templates={wrong}",))
    many = '["{}"' + ', "{}"' * 1000 + "]"
    with pytest.raises(ConfigError, match="from 1 to 1000 entries"):
        job("zero-shot", "none", overrides=(f"templates={many}",))


def test_every_recipe_is_inside_the_ranges() -> None:
    for preset in all_presets():
        assert misfits(preset.train) == []
        job(preset.learner, "none", preset=preset.name)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("steps", [21, 50, 100, 1000])
def test_noise_levels_are_those_of_the_schedule(schedule: str, steps: int) -> None:
    real = make_schedule(schedule, steps)
    assert smallest_sigma(schedule, steps) == pytest.approx(real.sigma_min, rel=1e-9)
    for sigma in (0.05, 0.7, 5.0, 80.0, 1e5):
        sigma = max(sigma, real.sigma_min * 1.01)
        expected = round(float(real.t(min(sigma, real.sigma_max))))
        assert first_step(schedule, steps, sigma) == expected
        start = min(sigma, real.sigma_max)
        make_grid("discrete", max(expected, 1), real, sigma_max=start)
        with pytest.raises(ConfigError):
            make_grid("discrete", expected + 1, real, sigma_max=start)


def test_choices_of_names_are_those_that_exist() -> None:
    wanted = hints(DiffusionConfig)
    assert set(get_args(wanted["sampler"])) == {*SAMPLERS, *NEEDS_FIT}
    assert set(get_args(wanted["grid"])) == set(GRIDS)


@pytest.mark.parametrize(
    ("want", "value", "expected"),
    [
        (int, 2.0, 2),
        (Annotated[int, Range(0, 5)], 5, 5),
        (float, 3, 3.0),
        (Annotated[int | None, Range(0, 5)], None, None),
        (list[str], "a", ["a"]),
        (tuple[int, ...], [1, 2], (1, 2)),
    ],
)
def test_what_fits_is_read(want: Any, value: object, expected: object) -> None:
    found = fit(want, value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("limit", "text", "inside", "outside"),
    [
        (Range(1, 5), "from 1 to 5", [1, 5], [0.99, 5.01]),
        (Range(0, 1, above=True), "above 0 and up to 1", [1e-9, 1], [0, 1.1]),
        (Range(0, 1, below=True), "from 0 to below 1", [0, 0.99], [1, -0.1]),
        (Range(0, 1, above=True, below=True), "above 0 and below 1", [0.5], [0, 1]),
    ],
)
def test_ranges_say_what_they_hold(
    limit: Range, text: str, inside: list[float], outside: list[float]
) -> None:
    assert str(limit) == text
    assert all(value in limit for value in inside)
    assert not any(value in limit for value in outside)


def test_a_wrong_value_is_shown_in_short() -> None:
    for value in (10**5000, -(10**300), "a" * 10_000, ["b"] * 10_000, "\x1b[31m\u202e"):
        assert len(shown(value)) < 120
        assert "\x1b" not in shown(value)
        assert "\u202e" not in shown(value)


def test_options_made_in_python_are_checked_too() -> None:
    for method in METHODS.values():
        for name, want in hints(type(method.options)).items():
            if is_number(want):
                with pytest.raises(ConfigError, match=rf"learner\.{name}"):
                    dataclasses.replace(method.options, **{name: -(10**12)})
