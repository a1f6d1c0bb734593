"""Weight files with OpenAI's names: its TorchScript archives, and state dicts of ViT models.

They carry no configuration, preprocessing or vocabulary. The first two are known of OpenAI's own
archives and read beside all others; the third comes from beside the file, an installed package or
the hub's cache.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from diffuprompt.checkpoints.hf import read_fields, read_preprocess
from diffuprompt.checkpoints.hf_config import parse_config
from diffuprompt.checkpoints.keys import openai_buffers, openai_table
from diffuprompt.checkpoints.open_clip_config import FILE as OPEN_CLIP, read_open_clip
from diffuprompt.checkpoints.state_dict import SCALAR, peek_torch, read_torch
from diffuprompt.checkpoints.tokenizer import BPE_FILE, Tokenizer
from diffuprompt.checkpoints.torchscript import computes, is_torchscript, read_torchscript
from diffuprompt.checkpoints.weights import fill, hash_files, unfilled
from diffuprompt.clip import Clip, ClipConfig, TextConfig, VisionConfig
from diffuprompt.data import Preprocess
from diffuprompt.engine import read_tensors
from diffuprompt.errors import CheckpointError

HEAD_WIDTH = 64
# Width, layers, patch, positions and channels of the image tower; width and layers of the text
# tower; embedding; vocabulary; context (openai/CLIP, model card)
_TEXT = (49408, 77)
OPENAI = {
    (768, 12, 32, 50, 3, 512, 12, 512, *_TEXT): "ViT-B/32",
    (768, 12, 16, 197, 3, 512, 12, 512, *_TEXT): "ViT-B/16",
    (1024, 24, 14, 257, 3, 768, 12, 768, *_TEXT): "ViT-L/14",
    (1024, 24, 14, 577, 3, 768, 12, 768, *_TEXT): "ViT-L/14@336px",
}
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
    """Read a weight file into a frozen `Clip` on the CPU, weights only, strict keys.

    ``vocabulary`` is a tokenizer.json or OpenAI's gzipped merges; without it see
    `find_vocabulary`. Raises `CheckpointError`, also where nothing says what the shapes do not.
    """
    script = is_torchscript(path)
    if path.suffix == ".safetensors":
        tensors = _plain_names(read_tensors(path)[0], path)
    else:
        tensors = _plain_names(read_torchscript(path) if script else read_torch(path), path)
    check_described(tensors, path, script=script)
    tokenizer = find_vocabulary(path, vocabulary)
    config, preprocess = describe(tensors, tokenizer, path)
    with unfilled():
        clip = Clip(
            config,
            tokenizer,
            preprocess,
            name=name or str(path),
            weights_hash=hash_files([path]),
        )
    buffers = openai_buffers(config)
    fill(clip, openai_table(config), tensors, ignored=buffers, dtype=dtype, source=path)
    return clip.freeze()


def peek_openai(path: Path) -> tuple[ClipConfig, Tokenizer, Preprocess, float] | None:
    """Return what there is but weights, and ``logit_scale``, of a ``.pt`` file, reading no weight.

    None where only loading tells, see `peek_torch`. Raises `CheckpointError` as `load_openai`.
    """
    if path.suffix == ".safetensors":
        return None
    script = is_torchscript(path)
    found = read_torchscript(path, largest=SCALAR) if script else peek_torch(path)
    if found is None:
        return None
    tensors = _plain_names(found, path)
    check_described(tensors, path, script=script)
    tokenizer = find_vocabulary(path)
    config, preprocess = describe(tensors, tokenizer, path)
    scale = tensors.get("logit_scale")
    if scale is None or scale.is_meta or scale.numel() != 1:
        return None
    return config, tokenizer, preprocess, float(scale)


def check_described(tensors: Mapping[str, Tensor], path: Path, *, script: bool) -> None:
    """Make sure that something says what the weights do not.

    They fit any number of heads, either activation and any mean of pixels. So these are taken from
    what stands beside the file: ``open_clip_config.json``, or a Hugging Face ``config.json`` with
    its ``preprocessor_config.json``. Without these, an archive (``script``) with the shapes of one
    of OpenAI's models, as only OpenAI distributes them, is known; a state dict is not, for
    open_clip's have the same names and shapes.

    Raises `CheckpointError` that says what is missing.
    """
    if any((path.parent / name).is_file() for name in (OPEN_CLIP, "config.json")):
        return
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    if script and _outline(shapes) in OPENAI and not computes(path, "gelu"):
        return
    raise CheckpointError(
        f"{path}: these weights fit networks that compute different things, and the file does "
        "not say which is meant: how many attention heads, which activation (quick_gelu or "
        "gelu), which mean and standard deviation of pixels. Put the model's own "
        f"{OPEN_CLIP} (open_clip), or its config.json and preprocessor_config.json (Hugging "
        f"Face; for weights of OpenAI's ViT-B/16 those of {HUB_IDS[0]}), into {path.parent}"
    )


def describe(
    tensors: Mapping[str, Tensor], tokenizer: Tokenizer, path: Path
) -> tuple[ClipConfig, Preprocess]:
    """Return the configuration and the preprocessing of a ``.pt`` file; see `check_described`.

    Raises `CheckpointError` for a vocabulary of another size, or as the description's reader does.
    """
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    folder, beside = path.parent, path.parent / "config.json"
    if (folder / OPEN_CLIP).is_file():
        config, preprocess = read_open_clip(folder / OPEN_CLIP, tokenizer)
    elif beside.is_file():
        config = parse_config(read_fields(beside), tokenizer, beside)
        preprocess = read_preprocess(folder, config)
    else:
        config = _of_openai(shapes, tokenizer)
        preprocess = Preprocess.for_size(config.vision.image_size)
    vocab_size = shapes["token_embedding.weight"][0]
    if tokenizer.vocab_size != vocab_size:
        raise CheckpointError(
            f"{path}: token_embedding.weight has {vocab_size} rows but the vocabulary found has "
            f"{tokenizer.vocab_size}; give the vocabulary that belongs to this file"
        )
    return config, preprocess


def _outline(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Return what tells OpenAI's models apart, see `OPENAI`."""
    width, channels, patch, _ = shapes["visual.conv1.weight"]
    positions = shapes["visual.positional_embedding"][0]
    vocab_size, text_width = shapes["token_embedding.weight"]
    return (
        *(width, _depth(shapes, "visual.transformer."), patch, positions, channels),
        *(text_width, _depth(shapes, "transformer."), shapes["text_projection"][1]),
        *(vocab_size, shapes["positional_embedding"][0]),
    )


def _of_openai(shapes: Mapping[str, tuple[int, ...]], tokenizer: Tokenizer) -> ClipConfig:
    """Return the configuration of one of OpenAI's models: heads are 64 wide, MLPs four times."""
    width, layers, patch, positions, _, text_width, text_layers, *rest = _outline(shapes)
    embed_dim, vocab_size, context = rest
    return ClipConfig(
        embed_dim=embed_dim,
        text=TextConfig(
            width=text_width,
            layers=text_layers,
            heads=text_width // HEAD_WIDTH,
            mlp_width=4 * text_width,
            vocab_size=vocab_size,
            context_length=context,
            sot=tokenizer.sot,
            eot=tokenizer.eot,
            pad=tokenizer.pad,
        ),
        vision=VisionConfig(
            width=width,
            layers=layers,
            heads=width // HEAD_WIDTH,
            mlp_width=4 * width,
            image_size=math.isqrt(positions - 1) * patch,
            patch_size=patch,
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


def _plain_names(tensors: Mapping[str, Tensor], path: Path) -> Mapping[str, Tensor]:
    """Return the tensors by OpenAI's names: open_clip may put those of the text tower into one.

    A ResNet and whatever else is no CLIP of this kind is refused, before anything is looked for.
    """
    if "text.token_embedding.weight" in tensors:
        tensors = {key.removeprefix("text."): tensor for key, tensor in tensors.items()}
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
    return tensors


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
