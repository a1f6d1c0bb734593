"""MM-Grounding-DINO of transformers: what is its own beside what every detector promises."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import torch
from tests.grounding.tiny_detectors import mm_model, numbered_tokenizer, tiny_mm
from torch import Tensor

from diffuprompt.errors import CheckpointError, ConfigError, DataError
from diffuprompt.grounding.contract import Adaptation, VisualPrompt
from diffuprompt.grounding.detectors.call import Call, Prefix, adapted
from diffuprompt.grounding.detectors.load import open_detector
from diffuprompt.grounding.detectors.mm_grounding_dino import MEAN, STD, MMGroundingDino
from diffuprompt.grounding.detectors.queries import query_boxes
from diffuprompt.grounding.detectors.swin import SwinBlock

CAPTIONS = ("The red cup left of a lamp.", "a ring")


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def detector() -> MMGroundingDino:
    return tiny_mm()


def pictures() -> Tensor:
    return drawn(2, 3, 64, 64, seed=5).sigmoid()


def visual(detector: MMGroundingDino, seed: int) -> Adaptation:
    return Adaptation(
        visual=[VisualPrompt(tokens=drawn(2, 2, w, seed=seed)) for w in detector.sites.visual],
        textual=[drawn(2, 3, w, seed=seed + 1) for w in detector.sites.textual],
    )


def test_without_prompts_it_is_transformers_bit_for_bit(detector: MMGroundingDino) -> None:
    plain = mm_model()
    tokens = detector.tokens(CAPTIONS)
    mean, std = (torch.tensor(v)[:, None, None] for v in (MEAN, STD))
    with torch.no_grad():
        wanted = plain(
            pixel_values=(pictures() - mean) / std,
            input_ids=tokens.ids,
            attention_mask=tokens.mask.long(),
        )
    got = detector.run(pictures(), tokens)
    length = tokens.ids.shape[1]
    for i, row in enumerate(tokens.mask):
        assert torch.equal(got.words[i][:, row], wanted.logits[i, :, :length][:, row])
    assert torch.equal(got.boxes, wanted.pred_boxes)


def test_captions_end_with_their_only_stop(detector: MMGroundingDino) -> None:
    tokens = detector.tokens(["The red cup. Left? ", "a ring.", "a ring"])
    stops = (tokens.ids == 1012).sum(1) + (tokens.ids == 1029).sum(1)
    assert stops.tolist() == [1, 1, 1]
    assert torch.equal(tokens.ids[1], tokens.ids[2])
    assert tokens.of_span(0, (4, 11)).tolist() == [2, 3]


def test_prompts_are_read_as_our_own_swin_reads_them(detector: MMGroundingDino) -> None:
    """The second block is shifted; 10 x 6 tokens are padded to windows of 4."""
    theirs = detector.blocks[1]
    ours = SwinBlock(16, 1, 4, shift=2)
    state = {}
    own = theirs.inner.state_dict()
    for name, values in ours.state_dict().items():
        kind = name.rpartition(".")[2]
        if "qkv" in name:
            parts = [own[f"attention.{c}_proj.{kind}"] for c in "qkv"]
            state[name] = torch.cat(parts)
        elif "table" in name:
            state[name] = own["attention.relative_position_bias.relative_position_bias_table"]
        else:
            theirs_name = name.replace("attn.proj", "attention.o_proj")
            theirs_name = theirs_name.replace("norm1", "layernorm_before")
            state[name] = own[theirs_name.replace("norm2", "layernorm_after")]
        assert state[name].shape == values.shape
    ours.load_state_dict(state)
    x = drawn(2, 10, 6, 16)
    prompt = VisualPrompt(tokens=drawn(2, 3, 16, seed=2), grid=drawn(2, 10, 6, 16, seed=3))
    given = Adaptation(visual=[None, prompt])
    with torch.no_grad(), adapted(detector._call(given)):
        got, _ = theirs(x.flatten(1, 2), (10, 6), always_partition=True)
        wanted = ours(x, prompt)
        assert torch.allclose(got.unflatten(1, (10, 6)), wanted, atol=1e-5)
        assert not torch.allclose(wanted, ours(x), atol=1e-2)


def test_two_threads_read_their_own_prompts(detector: MMGroundingDino) -> None:
    tokens = detector.tokens(CAPTIONS)
    given = [Adaptation(), visual(detector, 3), visual(detector, 30)]
    wanted = [detector.run(pictures(), tokens, one).words for one in given]
    assert not torch.allclose(wanted[1], wanted[2])
    barrier = Barrier(len(given))

    def again(i: int) -> list[Tensor]:
        barrier.wait()  # all are inside at once
        return [detector.run(pictures(), tokens, given[i]).words for _ in range(3)]

    with ThreadPoolExecutor(len(given)) as pool:
        for i, found in enumerate(pool.map(again, range(len(given)))):
            assert all(torch.equal(one, wanted[i]) for one in found)


def test_blocks_inside_each_other_read_the_inner_one(detector: MMGroundingDino) -> None:
    attention = detector.layers[0].inner.attention.self
    x, mask = drawn(2, 4, 32), None

    def run() -> Tensor:
        with torch.no_grad():
            return attention(x, mask)[0]

    plain = run()
    outer, inner = (
        Call(prefixes={attention: Prefix(tokens=drawn(2, 2, 32, seed=s))}) for s in (4, 5)
    )
    with adapted(outer):
        first = run()
        with adapted(inner):
            assert not torch.allclose(run(), first)
            with adapted(Call()):
                assert torch.equal(run(), plain)
        assert torch.equal(run(), first)
        with pytest.raises(KeyError), adapted(inner):
            raise KeyError
        assert torch.equal(run(), first)
    assert torch.equal(run(), plain)


def test_losses_are_those_of_the_assigned_query(detector: MMGroundingDino) -> None:
    """Three images: from the third on, transformers' own rows of labels would be wrong."""
    texts, roots = ["the red cup", "a ring of the lamp", "green lamp"], [(4, 11), (2, 6), (0, 5)]
    tokens = detector.tokens(texts)
    boxes = torch.tensor([[4.0, 8, 30, 40], [20, 10, 60, 50], [0, 0, 64, 64]])
    pixels = drawn(3, 3, 64, 64, seed=8).sigmoid()
    answer = detector.run(pixels, tokens)
    got = detector.loss(answer, tokens, roots, boxes)
    total = {"loss_ce": 0.0, "loss_bbox": 0.0, "loss_giou": 0.0}
    for i, box in enumerate(boxes / 64):
        wanted = torch.zeros(tokens.ids.shape[1])
        wanted[tokens.of_span(i, roots[i])] = 1
        middle, side = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        truth = torch.cat([middle, side])
        p = answer.words[i].sigmoid()
        positive = 0.25 * (1 - p) ** 2 * -(p + 1e-8).log()
        negative = 0.75 * p**2 * -(1 - p + 1e-8).log()
        ground = (positive - negative) @ (wanted / wanted.sum())
        near = (answer.boxes[i] - truth).abs().sum(-1)
        overlap = torch.stack([plain_giou(one, truth) for one in answer.boxes[i]])
        best = int((ground + 5 * near - 2 * overlap).argmin())
        rows = torch.zeros_like(p)
        rows[best] = wanted
        kept = tokens.mask[i]
        q = torch.where(rows == 1, p, 1 - p)[:, kept]
        alpha = torch.where(rows == 1, 0.25, 0.75)[:, kept]
        total["loss_ce"] += float((alpha * (1 - q) ** 2 * -q.log()).sum()) / 3
        total["loss_bbox"] += float(near[best]) / 3
        total["loss_giou"] += float(1 - overlap[best]) / 3
    for name, value in total.items():
        assert got[name].item() == pytest.approx(value, rel=1e-4), name
    weights = {"loss_ce": 2.0, "loss_bbox": 5.0, "loss_giou": 2.0}
    every = sum(w * (got[n] + got[f"{n}_enc"]) for n, w in weights.items())
    assert got["loss"].item() == pytest.approx(every.item(), rel=1e-5)


def plain_giou(a: Tensor, b: Tensor) -> Tensor:
    (x0, y0), (x1, y1) = a[:2] - a[2:] / 2, a[:2] + a[2:] / 2
    (u0, v0), (u1, v1) = b[:2] - b[2:] / 2, b[:2] + b[2:] / 2
    zero = torch.zeros(())
    shared = torch.maximum(torch.minimum(x1, u1) - torch.maximum(x0, u0), zero) * torch.maximum(
        torch.minimum(y1, v1) - torch.maximum(y0, v0), zero
    )
    union = (x1 - x0) * (y1 - y0) + (u1 - u0) * (v1 - v0) - shared
    hull = (torch.maximum(x1, u1) - torch.minimum(x0, u0)) * (
        torch.maximum(y1, v1) - torch.minimum(y0, v0)
    )
    return shared / union - (hull - union) / hull


def test_boxes_are_in_pixels_of_the_picture() -> None:
    words = torch.tensor([[0.0, 0.0], [2.0, 4.0]])
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.4], [0.1, 0.9, 0.4, 0.1]])
    got = query_boxes(words, boxes, (100, 200))
    wanted = torch.tensor([[0.0, 85, 60, 95], [80, 30, 120, 70]])
    assert torch.allclose(got.boxes, wanted, atol=1e-4)
    mean = (torch.tensor(2.0).sigmoid() + torch.tensor(4.0).sigmoid()) / 2
    assert torch.allclose(got.scores, torch.stack([mean, torch.tensor(0.5)]))


def test_pictures_with_fewer_cells_than_queries_are_refused(detector: MMGroundingDino) -> None:
    with pytest.raises(DataError, match="9 x 9 have 7 cells, fewer than its 12 queries"):
        detector.run(drawn(1, 3, 9, 9).sigmoid(), detector.tokens(CAPTIONS[:1]))


def test_a_model_without_proposals_is_refused() -> None:
    model = mm_model()
    model.config = copy.copy(model.config)
    model.config.two_stage = False
    with pytest.raises(ConfigError, match="two_stage = False"):
        MMGroundingDino(model, numbered_tokenizer(), name="x", side=64)


def test_a_folder_of_transformers_is_opened(tmp_path: Path, detector: MMGroundingDino) -> None:
    folder = tmp_path / "mm-tiny"
    mm_model().save_pretrained(folder)
    with pytest.raises(CheckpointError, match="no vocabulary"):
        open_detector(str(folder))
    (folder / "tokenizer.json").write_text(numbered_tokenizer().to_json(), encoding="utf-8")
    found = open_detector(str(folder))
    assert (found.name, found.side) == ("mm-tiny", 800)
    tokens = found.tokens(CAPTIONS)
    assert torch.equal(found.run(pictures(), tokens).words, detector.run(pictures(), tokens).words)


def test_a_folder_whose_tensors_do_not_fit_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "mm-tiny"
    mm_model().save_pretrained(folder)
    (folder / "tokenizer.json").write_text(numbered_tokenizer().to_json(), encoding="utf-8")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.text_projection.wait"] = tensors.pop("model.text_projection.weight")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"text_projection\.wait") as error:
        open_detector(str(folder))
    assert "model.text_projection.weight" in str(error.value)
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="not readable"):
        open_detector(str(folder))
