"""How unlikely prompts are given an image: closed forms and slow literal computations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.generators.toy import FEATURES, SPEC, make_any, moved, randn
from torch import Tensor

from diffuprompt.errors import ConfigError
from diffuprompt.generators.base import PromptGenerator
from diffuprompt.generators.kinds import KINDS

pytestmark = pytest.mark.usefixtures("_small")
COUNT = 5
FLAT, OWN = randn(COUNT, SPEC.size, name="flat"), randn(COUNT, SPEC.size, name="own")
PI = randn(COUNT, FEATURES, name="features")


def fitted(name: str) -> PromptGenerator:
    """A generator in float64 with random weights that has measured its targets."""
    generator = make_any(name).double().eval().requires_grad_(False)
    for p in generator.network.parameters():
        p += 0.1 * randn(*p.shape, name=f"moved {name}")
    generator.normaliser.measure(OWN, FLAT)
    return generator


def z_of(generator: PromptGenerator) -> Tensor:
    return generator.normaliser.encode(FLAT, OWN)


def test_diffusion_is_asked_with_the_same_noise_for_every_prompt() -> None:
    generator = moved()
    got = generator.surprise(FLAT, PI, OWN, sigmas=(0.5, 2.0))
    for i in range(COUNT):  # one at a time, so that nothing of a batch counts
        z, errors = z_of(generator)[i : i + 1], []
        for sigma in (0.5, 2.0):
            x = z + sigma * generator.noise
            guess = generator.denoise(PI[i : i + 1])(x, torch.tensor([sigma]).double())
            errors.append(float((guess - z).square().mean()))
        assert float(got[i]) == pytest.approx(sum(errors) / 2, rel=1e-9)


@pytest.mark.parametrize("sigmas", [(), (0.01,), (1.0, 1000.0)])
def test_noise_that_the_network_never_saw_is_refused(sigmas: Any) -> None:
    with pytest.raises(ConfigError, match=r"sigmas: expected noise levels from 0\.03"):
        moved().surprise(FLAT, PI, OWN, sigmas=sigmas)


def test_the_flow_says_its_density_and_the_vae_its_bound() -> None:
    flow = fitted("flow")
    z = z_of(flow)
    got = flow.surprise(FLAT, PI, OWN, sigmas=())
    transform = flow.network(PI)
    jacobian = torch.autograd.functional.jacobian(lambda z: transform(z).sum(0), z)
    ladj = torch.linalg.slogdet(jacobian.transpose(0, 1)).logabsdet
    normal = torch.distributions.Normal(torch.tensor(0.0).double(), 1.0)
    want = -(normal.log_prob(transform(z)).sum(1) + ladj) / z.shape[1]
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-9)

    vae: Any = fitted("vae")
    mean, logvar = vae.network.encode(z_of(vae), PI, None)
    code = torch.distributions.Normal(mean, (0.5 * logvar).exp())
    prior = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    kl = torch.distributions.kl_divergence(code, prior).mean(1)
    error = (vae.network.decoder(PI, mean) - z_of(vae)).square().mean(1)
    got = vae.surprise(FLAT, PI, OWN, sigmas=())
    torch.testing.assert_close(got, error + vae.config.kl_weight * kl)


def test_who_has_no_density_says_so() -> None:
    for name, kind in KINDS.items():
        if not kind.density:
            with pytest.raises(ConfigError, match=rf"{name} has no density; those of \['diff"):
                make_any(name).surprise(FLAT, PI, OWN, sigmas=(1.0,))
