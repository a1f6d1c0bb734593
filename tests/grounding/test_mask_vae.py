"""The Mask-VAE: sizes, losses by definition, the scale of its latents."""

from __future__ import annotations

import pytest
import torch
from tests.grounding.mask_parts import drawn, stream

from diffuprompt.errors import ConfigError, DataError
from diffuprompt.grounding.masks.mask_vae import MaskVae, VaeConfig

KINDS = ["light", "reference"]


def vae_of(kind: str) -> MaskVae:
    return MaskVae(VaeConfig(kind=kind, kl_weight=0.5), generator=stream())


@pytest.fixture(scope="module")
def vaes() -> dict[str, MaskVae]:
    return {kind: vae_of(kind) for kind in KINDS}


def masks(batch: int, height: int = 16, width: int = 16) -> torch.Tensor:
    return (drawn(batch, 1, height, width, seed=3) > 0).float()


def test_the_reference_has_the_parameters_of_the_release(vaes) -> None:
    assert sum(p.numel() for p in vaes["reference"].parameters()) == 85_529


def test_the_light_one_is_about_as_large(vaes) -> None:
    assert 80_000 < sum(p.numel() for p in vaes["light"].parameters()) < 130_000


@pytest.mark.parametrize("kind", KINDS)
def test_any_sides_that_eight_divides(kind: str, vaes) -> None:
    vae = vaes[kind]
    mean, logvar = vae.encode(masks(2, 16, 40))
    assert mean.shape == logvar.shape == (2, 4, 2, 5)
    assert vae.decode(mean).shape == (2, 1, 16, 40)
    with pytest.raises(DataError, match="multiples of 8"):
        vae.encode(torch.zeros(2, 1, 16, 20))


def test_initial_weights_come_from_the_generator_alone(vaes) -> None:
    before = torch.get_rng_state()
    again = vae_of("reference")
    assert torch.equal(before, torch.get_rng_state())
    pairs = list(zip(vaes["reference"].parameters(), again.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert all(bool(a.isfinite().all()) for a, _ in pairs)


def test_another_seed_gives_other_weights(vaes) -> None:
    other = MaskVae(VaeConfig(), generator=stream(1))
    pairs = zip(vaes["light"].parameters(), other.parameters(), strict=True)
    assert not any(torch.equal(a, b) for a, b in pairs if a.ndim > 1 and bool(a.any()))


def test_initial_weights_have_torchs_own_spread(vaes) -> None:
    from diffusers import AutoencoderKL

    theirs = AutoencoderKL(
        in_channels=1, out_channels=1, down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, block_out_channels=(4, 8, 16, 16),
        layers_per_block=2, latent_channels=4, norm_num_groups=2, sample_size=256,
    )  # fmt: skip
    ours = dict(vaes["reference"].network.kl.state_dict())
    for name, value in theirs.state_dict().items():
        if value.numel() > 500:  # enough numbers for a spread
            assert float(ours[name].std()) == pytest.approx(float(value.std()), rel=0.15), name
        elif "norm" in name:
            assert torch.equal(ours[name], value), name


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_what_the_release_defines(kind: str, vaes) -> None:
    vae, given = vaes[kind], masks(3)
    losses = vae.losses(given, stream(5))
    mean, logvar = vae.encode(given)
    prior = torch.distributions.Normal(0.0, 1.0)
    posterior = torch.distributions.Normal(mean, (0.5 * logvar).exp())
    kl = torch.distributions.kl_divergence(posterior, prior).sum(1).mean()
    z = mean + posterior.stddev * torch.randn(mean.shape, generator=stream(5))
    mse = torch.nn.functional.mse_loss(vae.decode(z), given)
    torch.testing.assert_close(losses["kl"], kl, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(losses["mse"], mse)
    torch.testing.assert_close(losses["loss"], mse + 0.5 * kl, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_masks_do_not_see_each_other(kind: str, vaes) -> None:
    vae, given = vaes[kind], masks(2)
    both = vae.decode(vae.encode(given)[0])
    alone = torch.cat([vae.decode(vae.encode(one[None])[0]) for one in given])
    torch.testing.assert_close(both, alone, rtol=1e-4, atol=1e-5)


def test_the_light_one_reads_a_part_as_it_reads_it_alone(vaes) -> None:
    """Without norms over the map, an empty surrounding changes only what it borders on."""
    vae = vaes["light"]
    small = masks(1, 64, 64)
    large = torch.cat([small, torch.zeros_like(small)], 3)
    inner = vae.encode(large)[0][..., :4]
    torch.testing.assert_close(inner, vae.encode(small)[0][..., :4], rtol=1e-4, atol=1e-5)


def test_the_scale_is_measured_and_kept() -> None:
    vae = vae_of("light")
    means = 3 * drawn(50, 4, 2, 2) + torch.tensor([1.0, -2.0, 0.5, 4.0])[:, None, None]
    vae.measure(means)
    seen = vae.normalised(means)
    torch.testing.assert_close(seen.mean((0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-5)
    assert float(seen.square().mean()) == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(vae.restored(seen), means)
    other = vae_of("light")
    other.load_state_dict(vae.state_dict())
    torch.testing.assert_close(other.normalised(means), seen)


def test_the_release_does_not_scale() -> None:
    vae = MaskVae(VaeConfig.preset("released", kind="light"), generator=stream())
    vae.measure(3 * drawn(5, 4, 2, 2))
    z = drawn(2, 4, 2, 2)
    assert torch.equal(vae.normalised(z), z)


def test_latents_that_do_not_vary_are_refused() -> None:
    with pytest.raises(DataError, match="all latents are equal"):
        vae_of("light").measure(torch.ones(3, 4, 2, 2))


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"vae\.kind"):
        VaeConfig(kind="heavy")
    with pytest.raises(ConfigError, match="expected one of"):
        VaeConfig.preset("papers")
