"""The section of `benchmarks.device` about grounding: the full-size detector's step and memory."""

from __future__ import annotations

import torch

from benchmarks.device_bench import Bench, Result
from diffuprompt.grounding import TINY, Adaptation, Glip, GlipConfig, VisualPrompt, glip_losses

DEPTH, LENGTH, BATCH, WORDS = 9, 8, 2, 16
SIDES, SMALL_SIDES = (224, 800), (64,)


def grounding(bench: Bench) -> Result:
    """GLIP-T(A) at random weights: a frozen forward, and a step of prompts (depth 9, length 8)."""
    small = bench.device.type == "cpu"
    config, sides = (TINY, SMALL_SIDES) if small else (GlipConfig(), SIDES)
    torch.manual_seed(0)
    model = Glip(config).requires_grad_(False).eval().to(bench.device)
    ids = torch.arange(1, WORDS + 1, device=bench.device).expand(BATCH, -1)
    mask = torch.ones_like(ids, dtype=torch.bool)
    spans = torch.zeros(1, WORDS, device=bench.device)
    spans[:, 1:4] = 1
    found: Result = {}
    for side in sides:
        pixels = bench.numbers("pixels", BATCH, 3, side, side).sigmoid().to(bench.device)
        boxes = torch.tensor([[0.1, 0.2, 0.6, 0.9]], device=bench.device) * side
        visual = [_prompts(bench, width) for width in config.swin.widths[:DEPTH]]
        textual = [_prompts(bench, config.bert.width) for _ in range(config.bert.layers)][:DEPTH]
        given = Adaptation(visual=[VisualPrompt(tokens=own) for own in visual], textual=textual)

        def forward(pixels: torch.Tensor = pixels) -> None:
            with torch.no_grad():
                model(pixels, ids, mask)

        def step(
            pixels: torch.Tensor = pixels,
            given: Adaptation = given,
            boxes: torch.Tensor = boxes,
            prompts: tuple[torch.Tensor, ...] = (*visual, *textual),
        ) -> None:
            raw = model(pixels, ids, mask, given)
            losses = glip_losses(
                raw, mask, [boxes] * BATCH, [spans] * BATCH, plus=model.config.plus
            )
            torch.autograd.grad(losses["loss"], prompts)

        found[f"{side} px"] = {
            "batch": BATCH,
            "frozen_forward": bench.clock(forward),
            "step_of_prompts": bench.clock(step),
        }
    return found


def _prompts(bench: Bench, width: int) -> torch.Tensor:
    drawn = bench.numbers("prompts", BATCH, LENGTH, width)
    return (0.02 * drawn).to(bench.device).requires_grad_()
