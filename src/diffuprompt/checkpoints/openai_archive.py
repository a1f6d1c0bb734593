"""OpenAI's original ``.pt`` files: TorchScript archives or plain state dicts of ViT models.

They carry no configuration, preprocessing or vocabulary: the first is read off the shapes, the
second is OpenAI's, the third comes from beside the file, an installed package or the hub's cache.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from diffuprompt.checkpoints.keys import openai_buffers, openai_table
from diffuprompt.checkpoints.tokenizer import BPE_FILE, Tokenizer
from diffuprompt.checkpoints.torchscript import is_torchscript, read_torchscript
from diffuprompt.checkpoints.weights import SCALAR, fill, hash_files, peek_torch, read_torch
from diffuprompt.clip import Clip, ClipConfig, TextConfig, VisionConfig
from diffuprompt.data import Preprocess
from diffuprompt.errors import CheckpointError

HEAD_WIDTH = 64
PACKAGES = ("open_clip", "clip")  # both ship the vocabulary as a data file
HUB_IDS = tuple(
    f"openai/clip-vit-{kind}"
    for kind in ("base-patch16", "base-patch32", "large-patch14", "large-patch14-336")
)


def load_openai(
    path: Path,
    *,
    vocabulary: Path | None = None,
    name: str = "",
    dtype: torch.dtype = torch.float32,
) -> Clip:
    """Read an OpenAI ``.pt`` file into a frozen `Clip` on the CPU, weights only, strict keys.

    ``vocabulary`` is a tokenizer.json or OpenAI's gzipped merges; without it see
    `find_vocabulary`. Raises `CheckpointError`.
    """
    tensors = read_torchscript(path) if is_torchscript(path) else read_torch(path)
    _check_layout(tensors, path)
    tokenizer = find_vocabulary(path, vocabulary)
    config = infer_config(tensors, tokenizer, path)
    with torch.device("meta"):
        clip = Clip(
            config,
            tokenizer,
            Preprocess.for_size(config.vision.image_size),
            name=name or str(path),
            weights_hash=hash_files([path]),
        )
    buffers = openai_buffers(config)
    fill(clip, openai_table(config), tensors, ignored=buffers, dtype=dtype, source=path)
    return clip.freeze()


def peek_openai(path: Path) -> tuple[ClipConfig, Tokenizer, float] | None:
    """Return configuration, vocabulary and ``logit_scale`` of a ``.pt`` file, reading no weight.

    None where only loading tells, see `peek_torch`. Raises `CheckpointError` as `load_openai`.
    """
    script = is_torchscript(path)
    tensors = read_torchscript(path, largest=SCALAR) if script else peek_torch(path)
    if tensors is None:
        return None
    _check_layout(tensors, path)
    tokenizer = find_vocabulary(path)
    config, scale = infer_config(tensors, tokenizer, path), tensors.get("logit_scale")
    return None if scale is None or scale.is_meta else (config, tokenizer, float(scale))


def infer_config(tensors: Mapping[str, Tensor], tokenizer: Tokenizer, path: Path) -> ClipConfig:
    """Read the configuration off the shapes, as OpenAI's ``build_model`` does.

    Heads are width / 64, the activation is QuickGELU. Raises `CheckpointError` for a vocabulary
    of another size.
    """
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    width, channels, patch, _ = shapes["visual.conv1.weight"]
    grid = round((shapes["visual.positional_embedding"][0] - 1) ** 0.5)
    vocab_size, text_width = shapes["token_embedding.weight"]
    if tokenizer.vocab_size != vocab_size:
        raise CheckpointError(
            f"{path}: token_embedding.weight has {vocab_size} rows but the vocabulary found has "
            f"{tokenizer.vocab_size}; give the vocabulary that belongs to this file"
        )
    return ClipConfig(
        embed_dim=shapes["text_projection"][1],
        text=TextConfig(
            width=text_width,
            layers=_depth(shapes, "transformer."),
            heads=max(text_width // HEAD_WIDTH, 1),
            mlp_width=shapes["transformer.resblocks.0.mlp.c_fc.weight"][0],
            vocab_size=vocab_size,
            context_length=shapes["positional_embedding"][0],
            sot=tokenizer.sot,
            eot=tokenizer.eot,
            pad=tokenizer.pad,
        ),
        vision=VisionConfig(
            width=width,
            layers=_depth(shapes, "visual.transformer."),
            heads=max(width // HEAD_WIDTH, 1),
            mlp_width=shapes["visual.transformer.resblocks.0.mlp.c_fc.weight"][0],
            image_size=grid * patch,
            patch_size=patch,
            channels=channels,
        ),
    )


def find_vocabulary(path: Path, explicit: Path | None = None) -> Tokenizer:
    """Return the tokenizer for the ``.pt`` file ``path``.

    Looked for in this order: ``explicit``; tokenizer.json or the gzipped merges beside the file;
    the merges inside an installed open_clip or clip package (located, not imported); the hub's
    cache of OpenAI's models. Raises `CheckpointError` that says what to do.
    """
    if explicit is not None:
        if not explicit.is_file():
            raise CheckpointError(f"{explicit}: no such vocabulary file")
        return _read(explicit)
    for candidate in _candidates(path.parent):
        if candidate.is_file():
            return _read(candidate)
    raise CheckpointError(
        f"{path}: OpenAI's archives hold no vocabulary and none was found; put "
        f"tokenizer.json (of {HUB_IDS[0]}) or {BPE_FILE} (of github.com/openai/CLIP) into "
        f"{path.parent}, or install open_clip_torch"
    )


def _check_layout(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse a ResNet and whatever is no OpenAI CLIP, before anything else is looked for."""
    if any(key.startswith("visual.layer1.") for key in tensors):
        raise CheckpointError(f"{path}: a ResNet CLIP; only ViT image towers can be read")
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    wanted = {
        "visual.conv1.weight": 4,
        "visual.positional_embedding": 2,
        "visual.transformer.resblocks.0.mlp.c_fc.weight": 2,
        "token_embedding.weight": 2,
        "positional_embedding": 2,
        "transformer.resblocks.0.mlp.c_fc.weight": 2,
        "text_projection": 2,
    }
    wrong = [key for key, ndim in wanted.items() if len(shapes.get(key, ())) != ndim]
    if wrong:
        raise CheckpointError(
            f"{path}: no OpenAI CLIP; missing or misshapen: {', '.join(wrong)}. "
            "A checkpoint of another layout can be converted to a Hugging Face CLIP folder"
        )


def _candidates(folder: Path) -> Iterator[Path]:
    yield folder / "tokenizer.json"
    yield folder / BPE_FILE
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations or []) if spec else []:
            yield Path(place) / BPE_FILE
    if importlib.util.find_spec("huggingface_hub"):
        from huggingface_hub import try_to_load_from_cache

        for repo in HUB_IDS:
            cached = try_to_load_from_cache(repo, "tokenizer.json")
            if isinstance(cached, str):
                yield Path(cached)


def _read(path: Path) -> Tokenizer:
    return Tokenizer.from_bpe(path) if path.suffix == ".gz" else Tokenizer.from_file(path)


def _depth(shapes: Mapping[str, tuple[int, ...]], prefix: str) -> int:
    start = f"{prefix}resblocks."
    indices = {key.removeprefix(start).split(".")[0] for key in shapes if key.startswith(start)}
    return len(indices)
