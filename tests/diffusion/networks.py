"""A small token transformer and inputs for it."""

import torch
from tests.diffusion.worlds import generator

from diffuprompt.diffusion.token_codec import TokenGroup
from diffuprompt.diffusion.transformer import TokenTransformer, TransformerConfig

TINY = TransformerConfig(width=32, layers=2, heads=4, dropout=0.0, num_frequencies=8)
GROUPS = (TokenGroup(2, 6, "text"), TokenGroup(1, 6, "text"), TokenGroup(2, 10, "vision"))
F, E = 38, 48


def tiny(config=TINY, *, seed=0, trained=True, groups=GROUPS):
    """A small network; ``trained`` fills what starts at zero so that outputs say something."""
    network = TokenTransformer(config, groups, E, generator=generator(seed))
    if trained:
        g = generator(seed + 1)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if name.startswith("codec.decoders") or name in ("positions", "null"):
                    parameter.normal_(0, 0.3, generator=g)
    return network.eval()


def inputs(batch=4, seed=7, dtype=torch.float32):
    g = generator(seed)
    z = torch.randn(batch, F, generator=g, dtype=dtype)
    condition = torch.randn(batch, E, generator=g, dtype=dtype)
    return z, condition, torch.rand(batch, generator=g, dtype=dtype)
