"""Hugging Face folders: every layout they come in, strict keys, exact round trips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.clip import tiny

from diffuprompt.checkpoints import hub, load as door
from diffuprompt.checkpoints.hf import load_hf, save_hf
from diffuprompt.checkpoints.load import find_local, load_clip
from diffuprompt.clip.model import Clip
from diffuprompt.clip.stem import EfficientNetLite0
from diffuprompt.clip.tokens import sentence_tokens
from diffuprompt.errors import CheckpointError

pytest.importorskip("transformers")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.write_folder(tiny.oracle(), tmp_path / "clip")


def equal(a: Clip, b: Clip) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def edit(path: Path, **sections: Any) -> None:
    """Merge ``sections`` into a JSON file; None removes a key."""
    fields = json.loads(path.read_text())
    for key, value in sections.items():
        if isinstance(value, dict) and isinstance(fields.get(key), dict):
            fields[key] |= value
        else:
            fields[key] = value
    fields = {k: v for k, v in fields.items() if v is not None}
    path.write_text(json.dumps(fields))


def change_weights(folder: Path, **tensors: torch.Tensor | None) -> None:
    path = folder / "model.safetensors"
    state = {**load_file(path), **{k.replace("__", "."): t for k, t in tensors.items()}}
    save_file({k: t for k, t in state.items() if t is not None}, path)


def test_round_trip_is_exact(folder: Path, tmp_path: Path) -> None:
    clip = load_hf(folder)
    save_hf(clip, tmp_path / "again")
    again = load_hf(tmp_path / "again")
    assert equal(clip, again)
    assert again.config == clip.config
    assert again.preprocess == clip.preprocess
    assert again.tokenizer.to_bytes() == clip.tokenizer.to_bytes()
    save_hf(again, tmp_path / "third")
    assert load_hf(tmp_path / "third").weights_hash == again.weights_hash
    assert len(clip.weights_hash) == 16


def test_transformers_reads_what_we_write(folder: Path, tmp_path: Path) -> None:
    from transformers import CLIPModel

    save_hf(load_hf(folder), tmp_path / "again")
    model, info = CLIPModel.from_pretrained(tmp_path / "again", output_loading_info=True)
    assert not any(info.values())
    want = CLIPModel.from_pretrained(folder).state_dict()
    assert all(torch.equal(tensor, want[key]) for key, tensor in model.state_dict().items())


def test_half_precision_weights_are_read_as_asked(folder: Path, tmp_path: Path) -> None:
    whole = load_hf(folder)
    save_hf(whole, tmp_path / "half", dtype=torch.float16)
    half = load_hf(tmp_path / "half")
    assert {p.dtype for p in half.parameters()} == {torch.float32}
    expected = {k: t.half().float() for k, t in whole.state_dict().items()}
    assert all(torch.equal(t, expected[k]) for k, t in half.state_dict().items())
    bf16 = load_clip(tmp_path / "half", dtype=torch.bfloat16)
    assert {p.dtype for p in bf16.parameters()} == {torch.bfloat16}
    tokens = sentence_tokens(bf16.tokenizer, ["the cat"], 20)
    assert bf16.text(tokens).dtype == torch.bfloat16


def test_sharded_and_torch_files(folder: Path, tmp_path: Path) -> None:
    whole = load_hf(folder)
    shards = tiny.write_folder(tiny.oracle(), tmp_path / "shards", max_shard_size="60KB")
    assert len(list(shards.glob("model-*.safetensors"))) > 1
    assert equal(load_hf(shards), whole)
    state = load_file(folder / "model.safetensors")
    # old files carry the position numbers, which are no parameters
    state["text_model.embeddings.position_ids"] = torch.arange(20)[None]
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert equal(load_hf(folder), whole)
    next(shards.glob("model-00001*")).unlink()
    with pytest.raises(CheckpointError, match="shards are missing: model-00001"):
        load_hf(shards)


def test_old_configs(folder: Path) -> None:
    whole, path = load_hf(folder), folder / "config.json"
    fields = json.loads(path.read_text())
    # the override wins, and what it leaves out is a default, not the plain section's value
    wrong = {**fields["vision_config"], "hidden_size": 99, "hidden_act": "gelu"}
    edit(path, vision_config=wrong, vision_config_dict=tiny.VISION, text_config_dict=tiny.TEXT)
    assert load_hf(folder).config == whole.config
    edit(path, text_config_dict=None, vision_config_dict=None, vision_config=tiny.VISION)
    short = {k: v for k, v in tiny.TEXT.items() if k != "eos_token_id"} | {"eos_token_id": 2}
    fields = json.loads(path.read_text()) | {"text_config": short, "vision_config": tiny.VISION}
    path.write_text(json.dumps(fields))
    assert load_hf(folder).config == whole.config


def test_old_vocabulary_files(folder: Path) -> None:
    whole = load_hf(folder)
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *tiny.MERGES]))
    old = load_hf(folder)
    assert old.tokenizer.encode("the cat!") == whole.tokenizer.encode("the cat!")


def test_all_wrong_tensors_are_listed(folder: Path) -> None:
    change_weights(
        folder,
        visual_projection__weight=None,
        text_projection__weight=torch.zeros(24, 31),
        extra__weight=torch.zeros(1),
    )
    with pytest.raises(CheckpointError, match=r"clip/model\.safetensors") as caught:
        load_hf(folder)
    message = str(caught.value)
    assert "missing tensor visual_projection.weight" in message
    assert "expected (24, 32) in all, got text_projection.weight (24, 31)" in message
    assert "unexpected tensor extra.weight" in message


@pytest.mark.parametrize(
    ("sections", "field"),
    [
        ({"text_config": {"hidden_act": "quick_gel"}}, "text_config.hidden_act.*quick_gelu"),
        ({"text_config": {"eos_token_id": 7}}, "text_config.eos_token_id"),
        ({"text_config": {"vocab_size": 100}}, "text_config.vocab_size"),
        ({"vision_config": {"num_attention_heads": 5}}, "vision_config.hidden_size"),
        ({"vision_config": {"image_size": [24, 32]}}, "vision_config.image_size"),
        ({"vision_config": {"patch_size": 64}}, "vision_config.patch_size"),
        ({"vision_config": {"stem": {"type": "resnet"}}}, "stem.type"),
        ({"vision_config": {"num_hidden_layers": "2"}}, "vision_config.num_hidden_layers"),
        ({"projection_dim": 0}, "projection_dim"),
        ({"model_type": "siglip"}, "model_type"),
    ],
)
def test_unusable_config_names_file_and_field(folder: Path, sections: dict, field: str) -> None:
    edit(folder / "config.json", **sections)
    with pytest.raises(CheckpointError, match=rf"(?s){field}"):
        load_hf(folder)


def test_preprocessing_of_another_size_is_refused(folder: Path) -> None:
    edit(folder / "preprocessor_config.json", crop_size=32)
    with pytest.raises(CheckpointError, match=r"preprocessor_config\.json: crop_size.*24 x 24"):
        load_hf(folder)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "tokenizer.json"])
def test_missing_and_damaged_files_are_named(folder: Path, name: str) -> None:
    (folder / name).write_text("{")
    with pytest.raises(CheckpointError, match=name):
        load_hf(folder)
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        load_hf(folder)


def test_damaged_weights_are_named(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_hf(folder)
    path.unlink()
    with pytest.raises(CheckpointError, match="no weights"):
        load_hf(folder)


def test_loading_draws_no_random_numbers(folder: Path) -> None:
    before = torch.get_rng_state()
    load_hf(folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_stem_round_trip(tmp_path: Path) -> None:
    model = tiny.oracle(vision={"num_channels": 320, "image_size": 2, "patch_size": 1})
    folder = tiny.write_folder(model, tmp_path / "hybrid")
    stem = {"type": "efficientnet_lite0", "image_size": 64, "out_channels": 320, "out_size": 2}
    edit(folder / "config.json", vision_config={"stem": stem})
    edit(folder / "preprocessor_config.json", crop_size=64, size=64)
    with pytest.raises(CheckpointError, match=r"missing tensor vision_model\.stem\.conv_stem"):
        load_hf(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = EfficientNetLite0().state_dict()
    path = folder / "model.safetensors"
    stem_state = {f"vision_model.stem.{k}": t.contiguous() for k, t in weights.items()}
    state = load_file(path) | stem_state
    save_file(state, path)
    clip = load_hf(folder)
    save_hf(clip, tmp_path / "again")
    again = load_hf(tmp_path / "again")
    assert equal(clip, again)
    assert again.config == clip.config
    pixels = torch.zeros(1, 3, 64, 64)
    assert torch.equal(clip.vision(pixels), again.vision(pixels))


def test_names_are_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFUPROMPT_MODELS", str(folder.parent))
    assert load_clip("clip").name == "clip"
    assert load_clip(folder).name == str(folder)
    models = folder.parent / "models"
    models.mkdir()
    folder.rename(models / "moved")
    monkeypatch.delenv("DIFFUPROMPT_MODELS")
    for base in (models.parent, models.parent / "data"):
        monkeypatch.setenv("DIFFUPROMPT_DATA", str(base))
        assert find_local("moved") == models / "moved"
    with pytest.raises(CheckpointError, match="Did you mean 'moved'"):
        load_clip("movd")
    with pytest.raises(CheckpointError, match=r"\./nowhere: no such"):
        load_clip("./nowhere")


def test_hub_cache_first_then_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = pytest.importorskip("huggingface_hub")
    calls: list[dict] = []
    cached = {"there": True}

    def snapshot_download(repo: str, **options: Any) -> str:
        calls.append({"repo": repo, **options})
        if options.get("local_files_only") and not cached["there"]:
            raise library.errors.LocalEntryNotFoundError("nothing")
        if not cached["there"]:
            raise ConnectionError("no network")
        return str(folder)

    monkeypatch.setattr(library, "snapshot_download", snapshot_download)
    monkeypatch.setattr(library, "model_info", lambda repo, timeout: None)
    assert load_clip("ViT-B/16").name == "ViT-B/16"
    assert calls == [{"repo": "openai/clip-vit-base-patch16", "local_files_only": True}]
    calls.clear()
    (folder / "model.safetensors").rename(folder / "aside")  # cached, but without its weights
    with pytest.raises(CheckpointError, match="no weights"):
        load_clip("some/clip")
    wanted = [set(c["allow_patterns"]) for c in calls[1:]]
    assert wanted == [set(hub.SMALL + hub.SAFE), set(hub.SMALL + hub.TORCH)]
    cached["there"] = False
    with pytest.raises(CheckpointError, match=r"no network.*\$DIFFUPROMPT_MODELS/some/clip"):
        load_clip("some/clip")


def test_unknown_backbone_lists_the_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "CHECKOUT", Path("nowhere"))
    monkeypatch.delenv("DIFFUPROMPT_DATA", raising=False)
    monkeypatch.delenv("DIFFUPROMPT_MODELS", raising=False)
    with pytest.raises(CheckpointError, match="scenes-clip"):
        load_clip("scene-clip")
    with pytest.raises(CheckpointError, match="DIFFUPROMPT_MODELS"):
        load_clip("photo-clip-lite")
