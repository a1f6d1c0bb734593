"""The variational-bound term that teaches a network its variances (arXiv 2102.09672, section 3.1).

Discrete steps, variance-preserving states. The release trains with it and its sampler ignores what
it teaches.

Legend: B row, C channels, H rows, W columns.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

BIN = 1 / 255  # the last step is scored as facebook's DiT does, on bins of 8-bit pictures


def variational_bound(
    x0: Tensor, x_t: Tensor, eps: Tensor, mix: Tensor, t_B: Tensor, alpha_bar_T: Tensor
) -> Tensor:
    """Return the bound's term of each row's step, in bits per coordinate, ``(B,)``.

    KL between the true posterior of a step and the network's Gaussian; at the first step the
    negative log-likelihood of x0 in bins.

    Args:
        x0: clean state ``(B, C, H, W)``.
        x_t: noisy state, of unit variance.
        eps: predicted noise; detach it to teach the variance alone.
        mix: -1 for the posterior's log variance, 1 for the forward step's, or between.
        t_B: discrete step from 0.
        alpha_bar_T: of every step.
    """
    before_T = torch.cat([alpha_bar_T.new_ones(1), alpha_bar_T[:-1]])
    beta_T = 1 - alpha_bar_T / before_T
    posterior_T = beta_T * (1 - before_T) / (1 - alpha_bar_T)
    floored_T = torch.cat([posterior_T[1:2], posterior_T[1:]])  # the first one is 0

    def at(values_T: Tensor) -> Tensor:
        return values_T.to(x0)[t_B][:, None, None, None]

    of_x0 = at(before_T.sqrt() * beta_T / (1 - alpha_bar_T))
    of_x_t = at((1 - beta_T).sqrt() * (1 - before_T) / (1 - alpha_bar_T))
    guess = (x_t - at((1 - alpha_bar_T).sqrt()) * eps) / at(alpha_bar_T.sqrt())
    true_mean, mean = of_x0 * x0 + of_x_t * x_t, of_x0 * guess + of_x_t * x_t
    low, high = at(floored_T.log()), at(beta_T.log())
    share = (mix + 1) / 2
    logvar = share * high + (1 - share) * low
    kl = 0.5 * (logvar - low + (low - logvar).exp() - 1)
    kl = kl + 0.5 * (true_mean - mean).square() * (-logvar).exp()
    first = (t_B == 0)[:, None, None, None]
    term = torch.where(first, -binned_log_likelihood(x0, mean, logvar), kl)
    return term.flatten(1).mean(1) / math.log(2)


def binned_log_likelihood(x: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """Return the log probability of the bin around ``x``; the outermost bins are open."""
    scale = (-0.5 * logvar).exp()
    above = _normal_cdf((x + BIN - mean) * scale)
    below = _normal_cdf((x - BIN - mean) * scale)
    inside = (above - below).clamp(min=1e-12).log()
    least, most = above.clamp(min=1e-12).log(), (1 - below).clamp(min=1e-12).log()
    return torch.where(x < -0.999, least, torch.where(x > 0.999, most, inside))


def _normal_cdf(x: Tensor) -> Tensor:
    return 0.5 * (1 + torch.erf(x / math.sqrt(2)))
