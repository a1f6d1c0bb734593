"""Sampling: against diffusers and closed forms, seeds, what is kept of a trajectory; losses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.grounding.mask_parts import (
    GRID,
    SMALL,
    condition_of,
    drawn,
    generator_of,
    pooled_of,
    stream,
    tokens_of,
)
from torch import Tensor, nn

from diffuprompt.diffusion import Ema, make_schedule
from diffuprompt.engine import torch_stream
from diffuprompt.errors import ConfigError
from diffuprompt.grounding.masks.encoder import EncoderConfig, full_map
from diffuprompt.grounding.masks.fits import GeneratorFit
from diffuprompt.grounding.masks.generator import Guide, MaskGenerator
from diffuprompt.grounding.masks.learned_variance import binned_log_likelihood, variational_bound
from diffuprompt.grounding.masks.settings import EARLIER, GeneratorConfig
from diffuprompt.grounding.masks.trajectory import follow, noise_levels

UNGUIDED: dict[str, Any] = {"blind": 0.0, "guidance": 1.0}
REFERENCE: dict[str, Any] = {
    "grid": "leading", "prediction": "eps", "keep": "states", "kept": 12,
    "sampler": "ddim", "nfe": 25, **UNGUIDED,
}  # fmt: skip


class Asked(nn.Module):
    """A network of two numbers per step, which remembers the steps that it is asked at."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []

    def forward(self, x: Tensor, time_B: Tensor, vectors: Tensor, maps: Any = None) -> Tensor:
        self.asked.append(float(time_B[0]))
        return 0.3 * x + torch.sin(time_B).reshape(-1, 1, 1, 1) + 0.01 * time_B.mean()


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_ddim_25_is_that_of_diffusers(schedule: str) -> None:
    """Steps, every state that is kept, and the order: after steps 24, 22, 20 and so on."""
    from diffusers import DDIMScheduler

    betas: dict[str, Any] = {"beta_start": 0.001, "beta_end": 0.2, "beta_schedule": "linear"}
    if schedule == "cosine":
        betas = {"beta_schedule": "squaredcos_cap_v2"}
    scheduler = DDIMScheduler(
        num_train_timesteps=100, clip_sample=False, set_alpha_to_one=True,
        timestep_spacing="leading", steps_offset=0, **betas,
    )  # fmt: skip
    scheduler.set_timesteps(25)
    ours = generator_of("pooled", schedule=schedule, **REFERENCE)
    ours.dit = Asked()
    latents = ours.sample(pooled_of(), [stream(1), stream(2)], grid=GRID).latents
    x = torch.stack([torch.randn(4, *GRID, generator=stream(seed)) for seed in (1, 2)])
    x, network, after = x.double(), Asked(), []
    for t in scheduler.timesteps:
        eps = network(x, t.reshape(1).double(), x)
        x = scheduler.step(eps, t, x).prev_sample
        after.append(x)
    assert network.asked == [96.0 - 4 * i for i in range(25)]
    assert ours.dit.asked == pytest.approx(network.asked, abs=1e-3)
    wanted = torch.stack([after[k] for k in range(24, 1, -2)], 1).float()
    # float32 here, float64 there: 25 steps of a network with slope
    torch.testing.assert_close(latents, wanted, rtol=2e-3, atol=2e-3)


def test_ddim_is_the_closed_form_on_a_gaussian() -> None:
    """Data N(mu, s^2): a step from a to b multiplies x - mu by (s^2 + a b) / (s^2 + a^2)."""
    mu, s = 0.7, 0.4
    schedule = make_schedule("cosine", 100)
    sigmas = noise_levels("discrete", schedule, 25)
    assert float(sigmas[0]) == pytest.approx(schedule.sigma_max)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        return (s * s * x + sigma.square() * mu) / (s * s + sigma.square())

    noise = drawn(3, 4, 2, 2).double()
    got = follow(
        denoise, noise, sigmas, sampler="ddim", keep="states", kept=1, generators=stream()
    ).latents[:, 0]
    start = float(sigmas[0])
    gap = noise * (1 + start * start) ** 0.5 - mu
    for a, b in zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True):
        gap = gap * (s * s + a * b) / (s * s + a * a)
    torch.testing.assert_close(got, mu + gap)
    # and with many steps it is the flow's own map of a normal number
    many = noise_levels("discrete", make_schedule("cosine", 1000), 1000)
    fine = follow(denoise, noise, many, sampler="ddim", keep="states", kept=1, generators=stream())
    torch.testing.assert_close(fine.latents[:, 0], mu + s * noise, rtol=0, atol=0.03)


@pytest.mark.parametrize("kind", ["tokens", "pooled"])
@pytest.mark.parametrize("sampler", ["ddim", "dpmpp_2m", "ddpm"])
def test_a_batch_is_what_its_rows_are_alone(kind: str, sampler: str) -> None:
    made, condition = generator_of(kind, nfe=3), condition_of(kind)
    both = made.sample(condition, [stream(1), stream(2)], grid=GRID, sampler=sampler).latents
    assert both.shape == (2, made.config.kept, 4, *GRID)
    for row in range(2):
        part = condition.rows(torch.tensor([row]))
        alone = made.sample(part, [stream(row + 1)], grid=GRID, sampler=sampler).latents
        torch.testing.assert_close(alone, both[row : row + 1], rtol=1e-3, atol=1e-4)


def test_seeds_decide() -> None:
    made, condition = generator_of(nfe=3), tokens_of()

    def sample(*names: str) -> Tensor:
        streams = [torch_stream(1, "mask", name) for name in names]
        return made.sample(condition, streams, grid=GRID).latents

    assert torch.equal(sample("a", "b"), sample("a", "b"))
    assert not torch.allclose(sample("a", "b")[1], sample("a", "c")[1])
    one = made.sample(condition, stream(5), grid=GRID).latents
    assert torch.equal(one, made.sample(condition, stream(5), grid=GRID).latents)
    with pytest.raises(ConfigError, match="one a row"):
        made.sample(condition, [stream()], grid=GRID)


def test_a_generator_works_on_larger_grids() -> None:
    made = generator_of("pooled", nfe=2)
    assert made.sample(pooled_of(), stream(), grid=(6, 8)).latents.shape[-2:] == (6, 8)


@pytest.mark.parametrize("nfe", [1, 2, 7])
def test_what_is_kept(nfe: int) -> None:
    """Guesses are numbered by the step that made them."""
    sigmas = noise_levels("discrete", make_schedule("cosine", 100), nfe)
    count = iter(range(nfe))

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        return torch.full_like(x, next(count))

    kept = follow(
        denoise, drawn(1, 4, 1, 1), sigmas, sampler="ddim", keep="estimates", kept=4,
        generators=stream(),
    ).latents[0, :, 0, 0, 0].tolist()  # fmt: skip
    assert kept == {1: [0, 0, 0, 0], 2: [1, 1, 0, 0], 7: [6, 4, 2, 0]}[nfe]


def test_states_have_unit_variance_and_end_with_the_sample() -> None:
    sigmas = noise_levels("discrete", make_schedule("cosine", 100), 5)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:  # of data N(0, 1)
        return x / (1 + sigma.square())

    noise = drawn(4000, 1, 1, 1)
    latents = follow(
        denoise, noise, sigmas, sampler="ddim", keep="states", kept=3, generators=stream()
    ).latents
    assert latents.shape[1] == 3
    assert float(latents[:, 2].std()) > 0.5  # after step 0 of 4: one large step from the noise


def test_levels() -> None:
    schedule = make_schedule("cosine", 100)
    times = schedule.t(noise_levels("leading", schedule, 25)[:-1])
    torch.testing.assert_close(times, torch.arange(97, 0, -4).double())
    assert len(noise_levels("discrete", schedule, 1)) == 2
    with pytest.raises(ConfigError, match="1 to 100"):
        noise_levels("leading", schedule, 101)


def test_untrained_it_predicts_the_middle() -> None:
    """A network that says 0 for v: its guess from the largest noise is next to 0."""
    settings = GeneratorConfig(encoder=EncoderConfig(**SMALL), **SMALL)
    made = MaskGenerator(settings, tokens_of().widths(), generator=stream())
    latents = made.sample(tokens_of(), stream(), grid=GRID, nfe=1).latents
    assert float(latents.abs().max()) < 0.01


def test_the_map_is_the_encoders() -> None:
    made = generator_of()
    assert made.encoder is not None
    torch.testing.assert_close(made.map(tokens_of()), full_map(made.encoder(tokens_of()).logits))
    with pytest.raises(ConfigError, match="no map"):
        generator_of("pooled").map(pooled_of())
    with pytest.raises(ConfigError, match="this generator reads"):
        made.map(pooled_of())
    with pytest.raises(ConfigError, match="needs the widths"):
        MaskGenerator(GeneratorConfig(), pooled_of().widths(), generator=stream())


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("tokens", {}),
        ("tokens", {"prediction": "x0"}),
        ("pooled", {"prediction": "eps"}),
        ("pooled", {"prediction": "eps", "learn_sigma": True, "noise": "steps", **UNGUIDED}),
    ],
)
def test_gradients_reach_everything(kind: str, changes: dict[str, Any]) -> None:
    made = generator_of(kind, **changes)
    if made.encoder is not None:
        for layer in made.encoder.layers:  # 0 at first, and so would hide what lies behind
            nn.init.normal_(layer.reading.aligned.weight, generator=stream())
    losses = made.losses(condition_of(kind), drawn(2, 4, *GRID), torch.ones(2, 1, 32, 32), stream())
    assert ("bound" in losses) == bool(changes.get("learn_sigma"))
    losses["loss"].backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().max()) > 0, name


def test_losses_of_the_release_are_noise_and_bound() -> None:
    made = generator_of("pooled", prediction="eps", learn_sigma=True, noise="steps", **UNGUIDED)
    x0, condition = drawn(2, 4, *GRID), pooled_of()
    losses = made.losses(condition, x0, torch.ones(2, 1, 32, 32), stream(3))
    draw = stream(3)
    t = torch.randint(100, (2,), generator=draw)
    eps = torch.randn(x0.shape, generator=draw)
    share = (1 - made.schedule.betas).cumprod(0)[t].float()[:, None, None, None]
    x_t = share.sqrt() * x0 + (1 - share).sqrt() * eps
    vectors = torch.stack([made.image_in(condition.image), made.text_in(condition.text)], 1)
    guess = made.dit(x_t, t.float(), vectors)[:, :4]
    torch.testing.assert_close(losses["denoise"], (guess - eps).square().mean())
    torch.testing.assert_close(losses["loss"], losses["denoise"] + losses["bound"])


def test_the_bound_is_a_divergence_of_normals() -> None:
    """Against the posterior of the chain by Bayes' rule, in torch's own distributions."""
    betas = make_schedule("linear", 100).betas
    alpha_bar = (1 - betas).cumprod(0)
    t, x0, x_t, eps, mix = torch.tensor([40, 3]), *(drawn(2, 1, 2, 2, seed=i) for i in range(4))
    got = variational_bound(x0, x_t, eps, mix.tanh(), t, alpha_bar)
    for row in range(2):
        step = int(t[row])
        before, beta, now = (float(v) for v in (alpha_bar[step - 1], betas[step], alpha_bar[step]))
        # q(before | x0) times q(x_t | before), as products of normal densities
        precision = 1 / (1 - before) + (1 - beta) / beta
        pull = before**0.5 * x0[row] / (1 - before) + (1 - beta) ** 0.5 * x_t[row] / beta
        truth = torch.distributions.Normal(pull / precision, precision**-0.5)
        clean = (x_t[row] - (1 - now) ** 0.5 * eps[row]) / now**0.5
        pull = before**0.5 * clean / (1 - before) + (1 - beta) ** 0.5 * x_t[row] / beta
        part = (mix[row].tanh() + 1) / 2
        deviation = (beta**part * (1 / precision) ** (1 - part)) ** 0.5
        guess = torch.distributions.Normal(pull / precision, deviation)
        bits = torch.distributions.kl_divergence(truth, guess).mean() / torch.tensor(2.0).log()
        torch.testing.assert_close(got[row], bits, rtol=1e-3, atol=1e-4)


def test_bins_hold_all_probability() -> None:
    centres = torch.linspace(-1, 1, 256)
    found = binned_log_likelihood(centres, torch.tensor(0.2), torch.tensor(-3.0)).exp()
    assert float(found.sum()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("kind", ["tokens", "pooled"])
def test_guidance_leads_away_from_what_is_guessed_without_the_condition(kind: str) -> None:
    """``D0 + w (D1 - D0)``, D0 being told zeros in place of the condition."""
    plain, guided = (generator_of(kind, nfe=1, guidance=w) for w in (1.0, 2.5))
    condition = condition_of(kind)

    def sample(made: MaskGenerator) -> Tensor:
        return made.sample(condition, [stream(1), stream(2)], grid=GRID).latents

    guess = sample(plain)
    told = plain.guide(condition)
    hidden = Guide(
        vectors=torch.zeros_like(told.vectors),
        maps=None if told.maps is None else torch.zeros_like(told.maps),
    )
    plain.guide = lambda condition: hidden
    blind = sample(plain)
    assert not torch.allclose(blind, guess, atol=1e-3)
    torch.testing.assert_close(sample(guided), blind + 2.5 * (guess - blind), rtol=1e-4, atol=1e-5)


def test_a_share_of_expressions_is_denoised_without_the_condition() -> None:
    seeing, mixed = (generator_of(blind=blind, guidance=1.0) for blind in (0.0, 0.5))
    x0, masks = drawn(2, 4, *GRID), torch.ones(2, 1, 32, 32)
    seen: list[Tensor] = []
    mixed.dit.register_forward_pre_hook(lambda _, given: seen.append(given[3].flatten(1)))
    mixed.losses(tokens_of(), x0, masks, stream(5))
    drawn_B = torch.rand(4, generator=stream(5)) >= 0.5
    assert 0 < int(drawn_B.sum()) < 4
    assert torch.equal(seen[0].any(1), drawn_B)
    seeing.dit.register_forward_pre_hook(lambda _, given: seen.append(given[3].flatten(1)))
    seeing.losses(tokens_of(), x0, masks, stream(5))
    assert bool(seen[1].any(1).all())


def test_files_of_before_guidance_mean_none() -> None:
    config = GeneratorConfig(blind=0.0, guidance=1.0)
    assert set(EARLIER).isdisjoint(config.to_json())
    assert GeneratorConfig.from_json(config.to_json()) == config
    now = GeneratorConfig()
    assert set(EARLIER) <= set(now.to_json())
    assert GeneratorConfig.from_json(now.to_json()) == now
    fit = GeneratorFit(encoder_steps=0)
    assert "encoder_steps" not in fit.to_json()
    assert GeneratorFit.from_json(fit.to_json()) == fit
    fit = GeneratorFit(steps=5, encoder_steps=7)
    assert GeneratorFit.from_json(fit.to_json()) == fit
    assert (fit.of_encoder().steps, fit.of_one().steps) == (7, 12)
    paper = GeneratorFit.preset("paper")
    assert paper.of_encoder() == paper.of_one() == paper
    with pytest.raises(ConfigError, match="blind above 0"):
        GeneratorConfig(blind=0.0)
    with pytest.raises(ConfigError, match=r"blind: expected 0 to below 1.*guidance"):
        GeneratorConfig(blind=1.0, guidance=-1.0)


def test_averages_are_used_and_put_back() -> None:
    made = generator_of("pooled", nfe=2)
    ema = Ema(made.parameters(), 0.5)
    before = made.sample(pooled_of(), stream(), grid=GRID).latents
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(2)
    with ema.swapped():
        assert torch.equal(made.sample(pooled_of(), stream(), grid=GRID).latents, before)
    assert not torch.equal(made.sample(pooled_of(), stream(), grid=GRID).latents, before)


def test_presets() -> None:
    paper, released = (GeneratorConfig.preset(name) for name in ("paper", "released"))
    assert (paper.condition, paper.prediction, paper.nfe, paper.kept) == ("pooled", "eps", 25, 9)
    assert paper.sampling_schedule == "same"
    assert (released.schedule, released.sampling_schedule) == ("linear", "cosine")
    assert released.learn_sigma
    assert not paper.learn_sigma
    made = generator_of("pooled", prediction="eps", schedule="linear", sampling_schedule="cosine")
    made.dit = Asked()
    made.sample(pooled_of(), stream(), grid=GRID)
    assert made.dit.asked[0] == pytest.approx(99, abs=1e-3)  # of the cosine's largest noise
    with pytest.raises(ConfigError, match=r"condition.*nfe"):
        GeneratorConfig(condition="words", nfe=0)
    with pytest.raises(ConfigError, match="learn_sigma"):
        GeneratorConfig(learn_sigma=True)
    with pytest.raises(ConfigError, match="preset"):
        GeneratorConfig.preset("release")
