"""The text paths on an accelerator: nobody waits after the first pass, and masks are made once."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from tests.accelerator import DEVICE, accelerator
from tests.clip.test_text_paths import WordTokenizer, names, tower

from diffuprompt.clip import text_fast
from diffuprompt.clip.text import TextPlan
from diffuprompt.clip.tokens import class_tokens

SOURCE = Path(text_fast.__file__).parent


@pytest.mark.parametrize("path", ["fast", "truncated", "plain"])
@pytest.mark.parametrize("position", ["end", "front"])
@pytest.mark.parametrize("part", [False, True])
def test_features_and_gradients_agree_and_nobody_waits(path, position, part):
    """Also in chunks, where texts are cut into parts, and for some of the texts."""
    tokens = class_tokens(
        WordTokenizer(), names(random.Random(3), 9), prefix=None, num_ctx=3, position=position
    )
    prompts = torch.randn(2, 1, 3, 16, generator=torch.Generator().manual_seed(0))
    plan = TextPlan(path=path, memory_mib=1)

    def run(device, model, there):
        leaf = prompts.to(device).requires_grad_()
        out = model(there, {0: leaf}, plan)
        (grad,) = torch.autograd.grad(out.square().sum(), leaf)
        return out.detach(), grad

    if part:
        tokens = tokens.select(torch.tensor([4, 1, 8, 7]))
    near = run("cpu", tower(torch.float32), tokens)
    with accelerator() as found:
        model, there = tower(torch.float32).to(DEVICE), tokens.to(DEVICE)
        far = run(DEVICE, model, there)
        assert not +found.waits, "lengths and layouts are known on the host"
        uploads = found.uploads
        run(DEVICE, model, there)
        assert found.uploads == uploads + 1  # the prompts; the layout is remembered
        far = [t.cpu() for t in far]
    for a, b in zip(far, near, strict=True):
        assert float((a - b).abs().max() / b.abs().max()) < 1e-5


def test_some_texts_of_an_accelerator_are_chosen_without_waiting():
    tokens = class_tokens(WordTokenizer(), names(random.Random(5), 9), prefix=None, num_ctx=2)
    with accelerator() as found:
        some = tokens.to(DEVICE).select(torch.tensor([5, 2]))
        assert some.packing is not None
        assert not +found.waits
        assert torch.equal(some.to("cpu").ids, tokens.ids[[5, 2]])


def test_masks_are_made_once_for_all_layers_and_calls(monkeypatch):
    made, real = [], torch.full
    monkeypatch.setattr(torch, "full", lambda *a, **k: made.append(a) or real(*a, **k))
    text_fast._causal.cache_clear()
    tokens = class_tokens(WordTokenizer(), ["a", "bb", "cc"], prefix=None, num_ctx=2)
    made.clear()
    model, prompts = tower(), torch.randn(1, 1, 2, 16, dtype=torch.float64)
    for _ in range(3):
        model(tokens, {0: prompts})
    assert len(made) == len(tokens.packing.buckets) == 2


def test_the_paths_do_not_know_the_tower():
    for name in ("text_fast", "text_plain", "text_weights"):
        text = (SOURCE / f"{name}.py").read_text()
        assert "clip.text import" not in text
        assert "TYPE_CHECKING" not in text
