"""The released file of GLIP-T(A): its names and shapes, and that nothing else is taken for it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tests.grounding.glip_manifest import bert, fpn, glip_t_a, head, swin
from torch import Tensor

from diffuprompt.errors import CheckpointError
from diffuprompt.grounding.detectors.bert import BertConfig
from diffuprompt.grounding.detectors.captions import CaptionTokenizer
from diffuprompt.grounding.detectors.glip import Glip, GlipConfig
from diffuprompt.grounding.detectors.glip_checkpoint import glip_table, load_glip, unused
from diffuprompt.grounding.detectors.swin import SwinConfig

SMALL = GlipConfig(
    swin=SwinConfig(width=6, depths=(1, 1, 2, 1), heads=(1, 2, 2, 2), window=2),
    bert=BertConfig(vocab_size=12, width=8, layers=1, heads=2, hidden=8, max_length=9),
    channels=16,
    depth=1,
)
SMALL_SHAPES = (
    swin(6, (1, 1, 2, 1), (1, 2, 2, 2), 2) | fpn(6, 16) | bert(12, 8, 1, 8, 9) | head(16, 1, 8, 5)
)
WORDS = CaptionTokenizer.of_words(["red", "cup"])


def test_the_manifest_is_ours_in_names_and_shapes() -> None:
    with torch.device("meta"):
        model = Glip(GlipConfig())
    shapes = {n: tuple(p.shape) for n, p in model.named_parameters()}
    table = glip_table(GlipConfig())
    assert {table[n].names[0]: shape for n, shape in shapes.items()} == glip_t_a()
    assert model.state_dict().keys() == shapes.keys()
    sizes = {
        part: sum(math.prod(s) for n, s in glip_t_a().items() if n.startswith(part)) / 1e6
        for part in ("backbone.body", "backbone.fpn", "language", "rpn.head.dyhead_tower")
    }
    wanted = {"backbone.body": 27.52, "backbone.fpn": 3.30, "language": 108.89}
    assert {n: round(v, 2) for n, v in sizes.items()} == wanted | {"rpn.head.dyhead_tower": 11.50}


def made() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {n: torch.randn(s, generator=generator) for n, s in SMALL_SHAPES.items()}


def written(folder: Path, state: dict[str, Tensor]) -> Path:
    path = folder / "glip.pth"
    model = {f"module.{name}": value for name, value in state.items()}
    torch.save({"model": model, "iteration": 9, "optimizer": {"state": {}, "lr": [1.0]}}, path)
    return path


def test_a_file_is_read_with_all_that_it_may_hold_beside(tmp_path: Path) -> None:
    state = made()
    beside = {name: torch.zeros(3, 3) for name in unused(SMALL)}
    assert "rpn.head.cls_logits.weight" in beside
    assert "backbone.body.layers.2.blocks.1.attn.relative_position_index" in beside
    detector = load_glip(written(tmp_path, state | beside), WORDS, config=SMALL, side=32)
    table = glip_table(SMALL)
    for name, parameter in detector.model.named_parameters():
        assert torch.equal(parameter, state[table[name].names[0]])
        assert not parameter.requires_grad
    assert (detector.name, detector.side) == ("glip-t-a", 32)


def test_every_wrong_tensor_is_named_at_once(tmp_path: Path) -> None:
    state = made()
    state["rpn.head.bbox_prod.weight"] = state.pop("rpn.head.bbox_pred.weight")
    state["rpn.head.bias0"] = torch.zeros(2)
    with pytest.raises(CheckpointError) as error:
        load_glip(written(tmp_path, state), WORDS, config=SMALL)
    message = str(error.value)
    assert "missing tensor rpn.head.bbox_pred.weight" in message
    assert "unexpected tensor rpn.head.bbox_prod.weight" in message
    assert "expected (1,) in all, got rpn.head.bias0 (2,)" in message
    assert "glip.pth" in message


def test_nothing_of_a_file_is_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "touched",))

    torch.save({"model": made(), "extra": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="not allowed"):
        load_glip(tmp_path / "evil.pth", WORDS, config=SMALL)
    assert not (tmp_path / "touched").exists()


def test_berts_vocabulary_is_read_as_transformers_reads_it(tmp_path: Path) -> None:
    from transformers import BertTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "cup", "##s", "the", ".", "e"]
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(words) + "\n", encoding="utf-8")
    ours = CaptionTokenizer.from_file(path)
    theirs = BertTokenizer(vocab=str(path))
    captions = ["The RED cups.", "thé cup, unheard"]
    got = ours(captions)
    wanted = theirs(captions, padding=True, return_offsets_mapping=True)
    assert got.ids.tolist() == wanted["input_ids"]
    assert got.mask.long().tolist() == wanted["attention_mask"]
    for mine, other in zip(got.offsets, wanted["offset_mapping"], strict=True):
        assert list(mine) == [tuple(pair) for pair in other][: len(mine)]
    again = tmp_path / "tokenizer.json"
    again.write_text(ours.to_json(), encoding="utf-8")
    assert torch.equal(CaptionTokenizer.from_file(again)(captions).ids, got.ids)


@pytest.mark.parametrize("name", ["vocab.txt", "tokenizer.json"])
def test_a_file_that_is_no_vocabulary_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(CheckpointError, match=name):
        CaptionTokenizer.from_file(path)
    path.write_text("a\nb\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match=name):
        CaptionTokenizer.from_file(path)


def test_long_captions_end_where_glip_ends_them() -> None:
    tokens = WORDS(["red " * 400, "red cup"])
    assert tokens.ids.shape == (2, 256)
    assert tokens.ids[0, -1] == tokens.ids[1, 3]  # [SEP]
    assert tokens.mask.sum(1).tolist() == [256, 4]
    assert len(tokens.offsets[0]) == 256
