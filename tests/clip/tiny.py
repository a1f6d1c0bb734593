"""Tiny checkpoints with random weights, made by transformers, for tests of the towers."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from diffuprompt.checkpoints.tokenizer import BPE_FILE, Tokenizer
from diffuprompt.data.transforms import Preprocess

MERGES = ["t h", "th e</w>", "p h", "ph o", "o f</w>", "c a", "ca t</w>", "d o", "do g</w>"]
VOCABULARY = 512 + len(MERGES) + 2

TEXT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 20,
    "bos_token_id": VOCABULARY - 2,
    "eos_token_id": VOCABULARY - 1,
    "pad_token_id": VOCABULARY - 1,
}
VISION = {
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "image_size": 24,
    "patch_size": 8,
}


def bpe_file(folder: Path) -> Path:
    """Write a vocabulary in OpenAI's format."""
    path = folder / BPE_FILE
    path.write_bytes(gzip.compress("\n".join(["#version: 0.2", *MERGES, ""]).encode()))
    return path


def tokenizer() -> Tokenizer:
    with tempfile.TemporaryDirectory() as folder:
        return Tokenizer.from_bpe(bpe_file(Path(folder)))


def oracle(
    text: dict[str, Any] | None = None,
    vision: dict[str, Any] | None = None,
    projection_dim: int = 24,
    seed: int = 0,
) -> Any:
    """A transformers CLIPModel whose norms and biases are random too, so that none can hide."""
    from transformers import CLIPConfig, CLIPModel

    config = CLIPConfig(
        text_config={**TEXT, **(text or {})},
        vision_config={**VISION, **(vision or {})},
        projection_dim=projection_dim,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPModel(config).eval()
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                torch.nn.init.normal_(parameter, mean=float("weight" in name), std=0.3)
            elif parameter.ndim == 2:
                torch.nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
    return model


def write_folder(model: Any, folder: Path, **save: Any) -> Path:
    """Save ``model`` with a tokenizer and a preprocessing as a Hugging Face folder."""
    model.save_pretrained(folder, **save)
    (folder / "tokenizer.json").write_bytes(tokenizer().to_bytes())
    fields = Preprocess.for_size(model.config.vision_config.image_size).to_hf()
    (folder / "preprocessor_config.json").write_text(json.dumps(fields))
    return folder
