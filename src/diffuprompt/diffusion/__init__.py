"""Diffusion on plain tensors: schedules, targets, grids, samplers and the token transformer.

Everything speaks variance-exploding coordinates: ``x = x0 + sigma * eps``. A solver sees only
``denoise(x, sigma) -> x0`` and a falling grid of ``sigmas``; nothing here knows of CLIP, prompts
or images.

What other rooms may use stands in ``__init__.pyi`` and is loaded when it is first used.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
