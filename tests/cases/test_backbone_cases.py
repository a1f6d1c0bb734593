"""Backbones from public reports: what a file does not say is asked for, never guessed.

Shapes are tiny; the reports are in the issue on silent acceptance.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.checkpoints.states import described, open_clip_fields, openai_state
from tests.clip import tiny
from torch import Tensor

from diffuprompt.checkpoints import hub, openai_archive
from diffuprompt.checkpoints.header import read_header
from diffuprompt.checkpoints.load import load_clip, portable_name
from diffuprompt.data.transforms import Preprocess
from diffuprompt.engine import write_tensors
from diffuprompt.errors import CheckpointError

HALVES = (0.5, 0.5, 0.5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny.bpe_file(tmp_path)
    return tmp_path


def save(folder: Path, content: Any, **options: Any) -> Path:
    path = folder / "model.pt"
    torch.save(content, path, **options)
    return path


# 4 heads of 80 in the image tower, then 2 of 40 in the text tower; both fit 64-wide heads too
@pytest.mark.parametrize(
    ("vision", "text"), [((320, 4), (128, 2)), ((128, 2), (320, 4)), ((64, 4), (64, 4))]
)
def test_heads_are_never_guessed(
    folder: Path, vision: tuple[int, int], text: tuple[int, int]
) -> None:
    path = save(folder, openai_state(vision=vision[0], text=text[0]))
    for read in (load_clip, read_header):
        with pytest.raises(CheckpointError) as caught:
            read(str(path))
        for part in (str(path), "heads", "gelu", "mean", "open_clip_config.json", "config.json"):
            assert part in str(caught.value)
    described(folder, vision=vision, text=text)
    clip = load_clip(path)
    assert (clip.config.vision.heads, clip.config.text.heads) == (vision[1], text[1])
    assert read_header(str(path)).identity == clip.identity


@pytest.mark.parametrize("quick", [True, False])
def test_activation_and_pixels_are_those_of_open_clips_description(
    folder: Path, quick: bool
) -> None:
    path = save(folder, openai_state())
    described(folder, quick_gelu=quick, mean=HALVES, std=HALVES, interpolation="bilinear")
    clip = load_clip(path)
    want = "quick_gelu" if quick else "gelu"
    assert {clip.config.text.activation, clip.config.vision.activation} == {want}
    assert clip.preprocess.image_mean == clip.preprocess.image_std == HALVES
    assert clip.preprocess.resample == 2
    described(folder, quick_gelu=quick, mean=HALVES, std=HALVES, resize_mode="squash")
    assert load_clip(path).preprocess.exact_size == (24, 24)


def test_a_state_dict_beside_hugging_faces_description(folder: Path) -> None:
    path = save(folder, openai_state())
    text = {"hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 256}
    vision = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 256}
    fields = {
        "projection_dim": 24,
        "text_config": {**tiny.TEXT, **text, "num_hidden_layers": 2, "hidden_act": "gelu"},
        "vision_config": {**tiny.VISION, **vision, "hidden_act": "gelu"},
    }
    (folder / "config.json").write_text(json.dumps(fields))
    with pytest.raises(CheckpointError, match="preprocessor_config"):
        load_clip(path)
    told = Preprocess(shortest_edge=24, crop_size=(24, 24), image_mean=HALVES).to_hf()
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": told}))
    clip = load_clip(path)
    assert (clip.config.vision.heads, clip.config.text.heads) == (4, 2)
    assert clip.config.vision.activation == "gelu"
    assert clip.preprocess.image_mean == HALVES


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("preprocess_cfg", "mean", None),
        ("preprocess_cfg", "std", "white"),
        ("preprocess_cfg", "resize_mode", "longest"),
        ("preprocess_cfg", "interpolation", ["bicubic"]),
        ("vision_cfg", "head_width", 48),
        ("vision_cfg", "layers", [3, 4, 6, 3]),
        ("vision_cfg", "width", 10**9),
        ("vision_cfg", "timm_model_name", "vit_base"),
        ("vision_cfg", "attentional_pool", True),
        ("vision_cfg", "pool_type", "avg"),
        ("vision_cfg", "qk_norm", True),
        ("text_cfg", "hf_model_name", "roberta-base"),
        ("text_cfg", "no_causal_mask", True),
        ("text_cfg", "heads", 0),
        ("model_cfg", "quick_gelu", 1),
        ("model_cfg", "embed_dim", None),
        ("model_cfg", "multimodal_cfg", {"width": 4}),
    ],
)
def test_what_our_towers_do_not_do_is_refused_by_field(
    folder: Path, section: str, field: str, value: object
) -> None:
    path = save(folder, openai_state())
    fields = open_clip_fields()
    model = fields["model_cfg"]
    {**fields, **model}[section][field] = value
    (folder / "open_clip_config.json").write_text(json.dumps(fields))
    with pytest.raises(CheckpointError, match=rf"(?s)open_clip_config\.json.*{field}"):
        load_clip(path)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    ("wrapper", "prefix"),
    [
        ("state_dict", "module."),
        ("model", "_orig_mod."),
        ("model_state_dict", "model."),
        ("state_dict", "module._orig_mod."),
        ("state_dict", ""),
        ("", "module."),
    ],
)
def test_training_checkpoints_are_unwrapped(
    folder: Path, wrapper: str, prefix: str, old: bool
) -> None:
    state = openai_state()
    content: Any = {prefix + k: v for k, v in state.items()}
    if wrapper:
        content = {"epoch": 3, "optimizer": {"state": {0: {"step": 1}}}, wrapper: content}
    described(folder)
    clip = load_clip(save(folder, content, _use_new_zipfile_serialization=not old))
    assert torch.equal(clip.vision.class_embedding, state["visual.class_embedding"])


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    "beside",
    [
        {"best_acc": np.float64(61.2)},
        {"history": np.arange(3), "dtype": np.dtype("float32")},
        {"args": argparse.Namespace(lr=0.1), "out": Path("runs")},
        {"rng": torch.ones(3, dtype=torch.uint8), "seen": {1, 2}, "dtype": torch.float16},
    ],
)
def test_what_training_programs_save_beside_the_weights_is_passed_over(
    folder: Path, beside: dict[str, Any], old: bool
) -> None:
    described(folder)
    content = {**beside, "state_dict": openai_state()}
    load_clip(save(folder, content, _use_new_zipfile_serialization=not old))


def test_two_sets_of_weights_are_not_chosen_between(folder: Path) -> None:
    described(folder)
    path = save(folder, {"epoch": 1, "state_dict": openai_state(), "model": openai_state()})
    with pytest.raises(CheckpointError, match="state_dict and model may both be the weights"):
        load_clip(path)


def test_another_object_of_a_training_program_is_named(folder: Path) -> None:
    path = save(folder, {"state_dict": openai_state(), "sampler": torch.Generator})
    with pytest.raises(CheckpointError, match=r"Generator is not allowed.*nothing in it is run"):
        load_clip(path)


class Known(torch.nn.Module):
    def __init__(self, state: dict[str, Tensor], gelu: bool) -> None:
        super().__init__()
        self.gelu = gelu
        for name, tensor in state.items():
            inner: torch.nn.Module = self
            *path, last = name.split(".")
            for part in path:
                if part not in dict(inner.named_children()):
                    inner.add_module(part, torch.nn.Module())
                inner = inner.get_submodule(part)
            inner.register_buffer(last, tensor)

    def forward(self, x: Tensor) -> Tensor:
        quick = x * torch.sigmoid(1.702 * x)
        return torch.nn.functional.gelu(x) if self.gelu else quick


@pytest.mark.parametrize("gelu", [False, True])
def test_openais_own_archives_are_known_by_their_shapes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, gelu: bool
) -> None:
    state, path = openai_state(vision=128, text=64), folder / "ViT.pt"
    monkeypatch.setattr(
        openai_archive,
        "OPENAI",
        {(128, 2, 8, 10, 3, 64, 2, 24, tiny.VOCABULARY, 20): "ViT-tiny"},
    )
    torch.jit.save(torch.jit.trace(Known(state, gelu), torch.zeros(2)), path)
    if gelu:  # the same shapes, and code that computes another activation
        with pytest.raises(CheckpointError, match="which activation"):
            load_clip(path)
        return
    clip = load_clip(path)
    assert (clip.config.vision.heads, clip.config.text.heads) == (2, 1)
    assert clip.config.text.activation == "quick_gelu"
    # the same tensors without the archive may be open_clip's
    with pytest.raises(CheckpointError, match="which activation"):
        load_clip(save(folder, state))


def test_the_shapes_of_openais_models_are_those_published() -> None:
    names = set(openai_archive.OPENAI.values())
    assert names == {"ViT-B/32", "ViT-B/16", "ViT-L/14", "ViT-L/14@336px"}
    for width, layers, patch, positions, *_ in openai_archive.OPENAI:
        side = round((positions - 1) ** 0.5) * patch
        assert (side, width // 64, layers) in {(224, 12, 12), (224, 16, 24), (336, 16, 24)}


# Hugging Face folders


@pytest.mark.parametrize(
    ("file", "section", "value"),
    [
        ("config.json", "text_config", {"hidden_act": "gelu"}),
        ("config.json", "vision_config", {"hidden_act": "gelu"}),
        ("config.json", "vision_config", {"num_attention_heads": 6}),
        ("config.json", "vision_config", {"layer_norm_eps": 1e-6}),
        ("preprocessor_config.json", "image_mean", [0.5, 0.5, 0.5]),
        ("preprocessor_config.json", "resample", 2),
    ],
)
def test_the_identity_covers_what_stands_beside_the_weights(
    tmp_path: Path, file: str, section: str, value: Any
) -> None:
    folder = tiny.write_folder(tiny.oracle(), tmp_path / "clip")
    before, weights = load_clip(folder).identity, read_header(str(folder)).weights_hash
    fields = json.loads((folder / file).read_text())
    fields[section] = {**fields[section], **value} if isinstance(value, dict) else value
    (folder / file).write_text(json.dumps(fields))
    after = read_header(str(folder))
    assert after.weights_hash == weights
    assert after.identity != before
    assert after.identity == load_clip(folder).identity


def test_folders_of_transformers_5_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers = pytest.importorskip("transformers")
    folder = tiny.write_folder(tiny.oracle(), tmp_path / "clip")
    before = load_clip(folder)
    (folder / "preprocessor_config.json").unlink()
    pixels = transformers.CLIPImageProcessor(
        size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24}
    )
    words = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    processor = transformers.CLIPProcessor(pixels, words)
    processor.save_pretrained(tmp_path / "saved")
    told = json.loads((tmp_path / "saved" / "processor_config.json").read_text())
    assert "image_processor" in told
    (folder / "processor_config.json").write_text(json.dumps(told))
    assert load_clip(folder).identity == before.identity == read_header(str(folder)).identity
    library = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(library, "snapshot_download", lambda repo, **_: str(folder))
    assert hub.cached("some/clip") == folder
    assert "processor_config.json" in hub.SMALL  # is fetched where there is no copy yet
    del told["image_processor"]
    (folder / "processor_config.json").write_text(json.dumps(told))
    with pytest.raises(CheckpointError, match=r"processor_config\.json: image_processor"):
        load_clip(folder)


@pytest.mark.parametrize("name", ["open_clip_pytorch_model.bin", "open_clip_model.safetensors"])
def test_a_folder_of_open_clip_is_read_by_its_description(folder: Path, name: str) -> None:
    """As open_clip's models lie on the hub; the folder, or the file in it."""
    described(folder, quick_gelu=False, mean=HALVES, std=HALVES)
    file = folder / name
    if file.suffix == ".bin":
        torch.save(openai_state(), file)
    else:
        write_tensors(file, openai_state())
    clip = load_clip(folder)
    assert clip.config.vision.activation == "gelu"
    assert clip.preprocess.image_mean == HALVES
    assert clip.identity == load_clip(file).identity == read_header(str(folder)).identity
    assert portable_name(str(folder)) == folder.name
    (folder / "open_clip_config.json").unlink()
    with pytest.raises(CheckpointError, match=r"open_clip_config\.json"):
        load_clip(file)


def test_a_weight_file_of_another_kind_is_refused(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="expected a folder, or a file that ends in"):
        load_clip(folder / "model.onnx")
