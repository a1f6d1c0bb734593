"""Each rival's own loss against a closed form or a slow literal computation."""

from __future__ import annotations

import sys

import pytest
import torch
from tests.contract.generators import SMALL
from tests.generators.toy import BOTH, FEATURES, SPEC, linear_pairs, make_any, randn

from diffuprompt.engine.seeds import torch_stream
from diffuprompt.errors import ConfigError
from diffuprompt.generators.fitting import make_task
from diffuprompt.generators.flow import BLUR
from diffuprompt.generators.gan import Critic
from diffuprompt.generators.vae import FREE_BITS

pytestmark = pytest.mark.usefixtures("_small")
FLOAT64 = {"rtol": 1e-9, "atol": 1e-12}


def targets(generator, count=6):
    z = randn(count, generator.normaliser.size, name="z")
    return z, randn(count, FEATURES, name="features")


@pytest.mark.parametrize("name", ["mlp", "transformer"])
def test_a_regression_is_trained_on_the_squared_error(name):
    generator = moved(name)
    z, features = targets(generator)
    found = generator.training_loss(z, features, torch_stream(0, "s"))
    answer = generator.generate(features)
    torch.testing.assert_close(found.guess, answer, **FLOAT64)
    assert float(found.loss.detach()) == pytest.approx(
        float(((answer - z) ** 2).mean().detach()), rel=1e-12
    )


def moved(name, spec=SPEC, **config):
    generator = make_any(name, spec, **config).double()
    stream = torch_stream(1, "moved")
    with torch.no_grad():
        for p in generator.network.parameters():
            p += 0.1 * torch.randn(p.shape, generator=stream)
    return generator


def test_an_untrained_flow_is_a_standard_normal():
    generator = make_any("flow").double()
    z, features = targets(generator)
    found = generator.training_loss(z, features, torch_stream(0, "s"))
    blurred = z + BLUR * torch.randn(z.shape, generator=torch_stream(0, "s")).double()
    want = -torch.distributions.Normal(0.0, 1.0).log_prob(blurred).mean()
    torch.testing.assert_close(found.loss, want, rtol=1e-6, atol=0)  # 2 pi is a float32 there


def test_a_flow_is_invertible_and_knows_its_volume():
    generator = moved("flow", BOTH)
    z, features = targets(generator, 3)
    transform = generator.network(features)
    u, ladj = transform.call_and_ladj(z)
    assert float((u - z).detach().abs().max()) > 0.1
    torch.testing.assert_close(transform.inv(u), z, rtol=0, atol=1e-9)
    for i in range(3):
        one = generator.network(features[i : i + 1])
        matrix = torch.autograd.functional.jacobian(lambda x, t=one: t(x[None])[0], z[i])
        assert float(ladj[i].detach()) == pytest.approx(float(matrix.slogdet().logabsdet), abs=1e-9)


def test_a_flow_asks_for_principal_coordinates():
    with pytest.raises(ConfigError, match=r"fit.normaliser.*'whiten'.*'residual_global'"):
        make_any("flow", normaliser="residual_global")
    with pytest.raises(ConfigError, match=r"fit.rank: .*2 or more"):
        make_any("flow", rank=1)


def test_a_flow_without_zuko_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "zuko.flows.coupling", None)
    with pytest.raises(ConfigError, match=r"pip install 'diffuprompt\[flow\]'"):
        make_any("flow")


def test_the_vae_pays_reconstruction_and_divergence():
    generator = moved("vae", latent=5)
    z, features = targets(generator)
    generator.kl_weight = 0.3
    found = generator.training_loss(z, features, torch_stream(0, "s"))
    mean, logvar = generator.network.encode(z, features, torch_stream(0, "unused"))
    posterior = torch.distributions.Normal(mean, (0.5 * logvar).exp())
    kl = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(found.shown["kl"], kl.mean(), rtol=1e-6, atol=0)
    paid = kl.mean(0).clamp_min(FREE_BITS).mean()
    want = ((found.guess - z) ** 2).mean() + 0.3 * paid
    torch.testing.assert_close(found.loss, want, rtol=1e-6, atol=0)
    noise = torch.randn(mean.shape, generator=torch_stream(0, "s")).double()
    code = mean + posterior.scale * noise
    torch.testing.assert_close(found.guess, generator.network.decoder(features, code), **FLOAT64)


def test_the_divergence_is_warmed_up_over_half_of_training():
    pairs = linear_pairs(8)
    generator = make_any("vae", epochs=4, batch=4, ce_weight=0.0, kl_weight=0.8)
    generator.normaliser.measure(pairs.initial, pairs.target)
    task = make_task(generator, pairs, None)
    seen = []
    for epoch in range(4):
        for step in range(2):
            task.loss(epoch, step)
            seen.append(generator.kl_weight)
    assert seen == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 0.8, 0.8, 0.8])


def critic():
    return Critic(SMALL, make_any("gan").normaliser.groups, FEATURES, torch_stream(0, "critic"))


def test_the_critics_linear_maps_have_norm_one():
    """Power iteration has found the largest singular value after some steps."""
    judge = critic().double().train()
    z, features = targets(make_any("gan"))
    with torch.no_grad():
        for _ in range(30):
            judge(z, features)
    maps = [part for part in judge.modules() if isinstance(part, torch.nn.Linear)]
    assert len(maps) == 4 * SMALL.layers + 5  # of the blocks, of two pi networks, and the score
    for part in maps:
        norm = float(torch.linalg.matrix_norm(part.weight.detach(), 2))
        assert norm == pytest.approx(1, abs=0.05)  # the two largest may lie close together


def gan_task():
    pairs = linear_pairs(8, dtype=torch.float64)
    generator = moved("gan", ce_weight=0.0)
    generator.normaliser.measure(pairs.initial, pairs.target)
    return generator, make_task(generator, pairs, None)


def test_the_generator_pays_distance_minus_score():
    generator, task = gan_task()
    terms = task.loss(0, 0)
    found = task.training_loss(
        task.target[task.index(0, 0)], task.index(0, 0), task.stream("noise", 0, 0)
    )
    features = task.pairs.features[task.index(0, 0)]
    want = (found.guess - task.target[task.index(0, 0)]).square().mean()
    want = want - task.critic(found.guess, features).mean()
    torch.testing.assert_close(terms["loss"], want, **FLOAT64)
    terms["loss"].backward()
    assert all(p.grad is None for p in task.critic.parameters())
    assert all(p.grad is not None for p in generator.network.parameters())


def test_only_the_critic_moves_after_a_step_and_real_gains_on_fake():
    generator, task = gan_task()
    before = {k: v.clone() for k, v in generator.state_dict().items()}
    index = task.index(0, 0)
    real, features = task.target[index], task.pairs.features[index]
    fake = task.training_loss(real, index, task.stream("critic", 0, 0)).guess.detach()

    def lead():
        task.critic.eval()
        with torch.no_grad():
            return float((task.critic(real, features) - task.critic(fake, features)).mean())

    first = lead()
    for _ in range(20):  # every other step pays R1, which first flattens the critic
        task.after_step(0, 1)  # the same images, without R1
        task.after_step(0, 0)
    assert lead() > first
    for key, value in generator.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_r1_is_the_squared_slope_at_real_prompts():
    _, task = gan_task()
    task.critic.eval()
    z, features = task.target[:3], task.pairs.features[:3]
    total, step = 0.0, 1e-5
    with torch.no_grad():
        for i in range(z.shape[1]):
            shift = step * torch.eye(z.shape[1], dtype=z.dtype)[i]
            slope = (task.critic(z + shift, features) - task.critic(z - shift, features)) / 2 / step
            total += float(slope.square().sum())
    slope = task._slope(z, features)
    assert float(slope.detach()) == pytest.approx(total / 3, rel=1e-5)  # central differences
    slope.backward()  # the second derivative exists
    grads = [p.grad for p in task.critic.parameters() if p.grad is not None]
    assert len(grads) > 10
    assert all(bool(torch.isfinite(g).all()) for g in grads)
