"""Diffusion on plain tensors: schedules, targets, grids, samplers and the token transformer.

Everything speaks variance-exploding coordinates: ``x = x0 + sigma * eps``. A solver sees only
``denoise(x, sigma) -> x0`` and a falling grid of ``sigmas``; nothing here knows of CLIP, prompts
or images.
"""
