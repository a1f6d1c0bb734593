"""Rivals against closed forms and naive loops."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tests.grounding.toy_detector import SIDE, ToyExpressions, drawn, redrawn, toy_detector
from torch import Tensor

from diffuprompt.errors import ConfigError, DataError
from diffuprompt.grounding.contract import Inputs, Sites
from diffuprompt.grounding.detectors.glip_detector import GlipDetector
from diffuprompt.grounding.methods.batches import placed
from diffuprompt.grounding.methods.registry import make_method
from diffuprompt.grounding.methods.shots import training_shots
from diffuprompt.grounding.methods.weights import Lora, LoraConfig

SET = ToyExpressions()


@pytest.fixture(scope="module")
def detector() -> GlipDetector:
    return toy_detector()


@pytest.fixture(scope="module")
def inputs(detector: GlipDetector) -> Inputs:
    batch, tokens = placed(detector, SET.batch(range(2), SIDE))
    return Inputs(pixels=batch.pixels, tokens=tokens, roots=batch.roots)


def made(name: str, detector: GlipDetector, **settings: Any) -> Any:
    method = make_method(name, detector, settings).double()
    redrawn(method)
    return method


def test_lora_is_a_detector_with_changed_matrices(detector: GlipDetector, inputs: Inputs) -> None:
    method = made("lora", detector, rank=2, alpha=6)
    changed = copy.deepcopy(detector.model)
    names = []
    with torch.no_grad():
        for name, value in changed.named_parameters():
            if name.endswith(("qkv.weight", "query.weight", "key.weight", "value.weight")):
                down, up = method.down[len(names)].weight, method.up[len(names)]
                for i in range(len(value)):
                    value[i] += 3 * sum(up[i, r] * down[r] for r in range(2))
                names.append(name)
        got = detector.run(inputs.pixels, inputs.tokens, method(inputs))
        wanted = changed(inputs.pixels, inputs.tokens.ids, inputs.tokens.mask)
    assert len(names) == 4 + 3 * 2
    assert torch.allclose(got.words, wanted.words, atol=1e-10)
    assert torch.allclose(got.code, wanted.code, atol=1e-10)


def test_lora_changes_matrices_of_the_towers_alone() -> None:
    inside = ["body.layers.0.attn.qkv.weight", "model.text_backbone.layer.0.self.query.weight"]
    others = ["model.decoder.0.query.weight", "body.layers.0.attn.qkv.bias", "body.fc1.weight"]
    frozen = {name: drawn(*(4, 4)[: 1 + name.endswith("weight")]) for name in (*inside, *others)}
    sites = Sites(visual=(4,), textual=(4,), levels=(4,), language=4)
    method = Lora(sites, LoraConfig(), torch.Generator().manual_seed(0), frozen=frozen).double()
    empty = Inputs(pixels=torch.zeros(0), tokens=None, roots=())  # type: ignore[arg-type]
    assert sorted(method(empty).weights) == inside


def test_the_linear_probe_starts_from_the_frozen_head(detector: GlipDetector) -> None:
    method = make_method("linear-probe", detector)
    frozen = dict(detector.module.named_parameters())
    parts = {name.split(".")[1] for name in method.names}
    assert parts == {
        "bbox_pred", "centerness", "dot_product_projection_text", "log_scale", "bias_lang", "bias0",
    }  # fmt: skip
    assert all(
        torch.equal(frozen[name], value)
        for name, value in zip(method.names, method.values, strict=True)
    )


def test_fourier_prompts_are_the_sum_over_prompts_and_channels(
    detector: GlipDetector, inputs: Inputs
) -> None:
    method = made("vfpt", detector, length=4)
    first = method.visual.prompts[0].detach()
    got = method(inputs).visual[0].tokens[0].detach()
    for p in range(2):
        for c in range(8):
            total = torch.zeros((), dtype=torch.float64)
            for a in range(2):
                for b in range(8):
                    angle = torch.tensor(2 * torch.pi * (p * a / 2 + c * b / 8))
                    total = total + first[a, b] * torch.cos(angle)
            assert torch.allclose(got[p, c], total / 4, atol=1e-6)  # sqrt(2 * 8) = 4
    assert torch.equal(got[2:], first[2:])


def test_maple_couples_image_to_text(detector: GlipDetector, inputs: Inputs) -> None:
    method = made("maple", detector)
    found = method(inputs)
    assert len(found.visual) == len(found.textual) == 2
    for layer, couple in enumerate(method.couple):
        wanted = found.textual[layer] @ couple.weight.T + couple.bias
        assert torch.allclose(found.visual[layer].tokens, wanted, atol=1e-12)


def test_fedtpg_writes_different_prompts_from_different_words(
    detector: GlipDetector, inputs: Inputs
) -> None:
    """With one pooled key, as released, all prompts of a caption are the same."""
    prompts = make_method("fedtpg", detector).double()(inputs).textual[0]
    assert prompts.shape == (2, 8, 16)
    assert (prompts[0, 0] - prompts[0, 1]).abs().max() > 1e-3
    assert (prompts[0] - prompts[1]).abs().max() > 1e-3
    deep = make_method("fedtpg", detector, {"depth": 9}).double()(inputs).textual
    assert len(deep) == 2


def test_clip_adapter_blends_each_cell(detector: GlipDetector, inputs: Inputs) -> None:
    method = made("clip-adapter", detector, ratio=0.3)
    levels = [drawn(2, 16, 4, 4, seed=s) for s in range(3)]
    got = method(inputs).levels(levels)
    down, up = method.down[1].weight, method.up[1].weight
    cell = levels[1][1, :, 2, 3]
    wanted = 0.3 * (up @ (down @ cell).relu()).relu() + 0.7 * cell
    assert torch.allclose(got[1][1, :, 2, 3], wanted, atol=1e-12)


def test_the_released_clip_adapter_mixes_cells_of_one_size(
    detector: GlipDetector, inputs: Inputs
) -> None:
    method = made("clip-adapter", detector, over="cells")
    assert [layer.in_features for layer in method.down] == [64, 16, 4]
    levels = [drawn(2, 16, side, side, seed=side) for side in (8, 4, 2)]
    got = method(inputs).levels(levels)
    channel = levels[0][1, 5].flatten()
    adapted = (method.up[0].weight @ (method.down[0].weight @ channel).relu()).relu()
    assert torch.allclose(got[0][1, 5].flatten(), 0.2 * adapted + 0.8 * channel, atol=1e-12)
    with pytest.raises(DataError, match="level 0 has 256, expected 64"):
        method(inputs).levels([drawn(1, 16, 16, 16)])


def test_residual_adapters_by_hand(detector: GlipDetector, inputs: Inputs) -> None:
    plus = made("adapter-plus", detector)
    found = plus(inputs)
    assert (len(found.visual_layers), len(found.textual_layers)) == (4, 2)
    x, own = drawn(8), plus.visual[0]
    hidden = torch.nn.functional.gelu(own.down @ x + own.down_bias)
    wanted = x + own.scale * (own.up @ hidden + own.up_bias)
    assert torch.allclose(found.visual_layers[0](x), wanted, atol=1e-12)

    mma = made("mma", detector, visual=2, textual=1)
    found = mma(inputs)
    assert found.visual_layers[:2] == [None, None]
    assert found.textual_layers[0] is None
    top, words = drawn(32), drawn(16)
    shared = mma.shared[0]  # of the topmost layer of both towers
    for change, value, down, up in (
        (found.visual_layers[3], top, mma.visual_down[1], mma.visual_up[1]),
        (found.textual_layers[1], words, mma.textual_down[0], mma.textual_up[0]),
    ):
        wanted = value + 0.1 * up(shared(down(value).relu()).relu())
        assert torch.allclose(change(value), wanted, atol=1e-12)


def test_shots_are_the_best_cells_inside_the_true_boxes(detector: GlipDetector) -> None:
    batch = SET.batch(range(4), SIDE)
    found = training_shots(detector, lambda: [batch], 3)
    assert found.cells.shape == (3, 16)
    tokens = detector.tokens(batch.texts)
    answer = detector.run(batch.pixels, tokens)
    for i in range(3):
        words = tokens.of_span(i, batch.roots[i])
        x0, y0, x1, y1 = batch.boxes[i].tolist()
        best, chosen, index = -torch.inf, -1, 0
        for side, stride in ((8, 4), (4, 8), (2, 16)):
            for row in range(side):
                for column in range(side):
                    x, y = (column + 0.5) * stride, (row + 0.5) * stride
                    score = float(answer.words[i, index, words].mean())
                    if x0 <= x <= x1 and y0 <= y <= y1 and score > best:
                        best, chosen = score, index
                    index += 1
        assert torch.equal(found.cells[i], answer.cells[i, chosen])
        assert torch.allclose(found.texts[i], answer.language[i, words].mean(0))


def test_the_cache_adds_what_a_loop_adds(detector: GlipDetector, inputs: Inputs) -> None:
    method = make_method("tip-adapter", detector, {"size": 4, "alpha": 2.0}).double()
    shots = training_shots(detector, lambda: [SET.batch(range(3), SIDE)], 4)  # fewer than its size
    method.prepare(detector, lambda: [SET.batch(range(3), SIDE)])
    frozen = detector.run(inputs.pixels, inputs.tokens)
    got = detector.run(inputs.pixels, inputs.tokens, method(inputs)).words

    def cosine(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b) / (a.norm() * b.norm())

    cells, texts = shots.cells.mean(0), shots.texts.mean(0)
    for cell, token in ((0, 1), (70, 2), (83, 4)):
        weights, total = 0.0, 0.0
        for key, value in zip(shots.cells, shots.texts, strict=True):
            near = torch.exp(5.5 * (cosine(frozen.cells[1, cell] - cells, key - cells) - 1))
            total += near * cosine(frozen.language[1, token] - texts, value - texts)
            weights += near
        wanted = frozen.words[1, cell, token] + 2 * total / (1 + weights)
        assert torch.allclose(got[1, cell, token], wanted, atol=1e-10)


def test_a_memory_needs_cells_and_expressions(detector: GlipDetector) -> None:
    with pytest.raises(DataError, match="no training expressions"):
        training_shots(detector, lambda: [], 3)

    class Queries(GlipDetector):
        def run(self, *args: Any) -> Any:
            raw = super().run(*args)
            return type(raw)(**{**vars(raw), "cells": raw.cells[:, :9]})

    queries = Queries(detector.model, detector.tokenizer, name="queries", side=SIDE)
    with pytest.raises(ConfigError, match="expected 84 answers, got 9"):
        training_shots(queries, lambda: [SET.batch([0], SIDE)], 3)


def test_the_gate_decides_how_much_tokens_take_in(detector: GlipDetector, inputs: Inputs) -> None:
    method = made("meta-adapter", detector, size=4)
    method.prepare(detector, lambda: [SET.batch(range(3), SIDE)])
    language = drawn(2, 5, 16)
    got = method(inputs).language(language)
    shots = training_shots(detector, lambda: [SET.batch(range(3), SIDE)], 4)
    token = language[1, 3]
    keys, query = shots.texts @ method.key.weight.T, method.query.weight @ token
    weights = (keys @ query / keys.shape[1] ** 0.5).softmax(0)
    found = weights @ (shots.cells @ method.value.weight.T)
    gate = torch.sigmoid(method.gate.weight @ token + method.gate.bias)
    assert torch.allclose(got[1, 3], token + gate * found, atol=1e-10)
