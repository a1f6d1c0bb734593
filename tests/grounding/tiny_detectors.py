"""Detectors with random weights: the tiny GLIP, and an MM-Grounding-DINO of half a million."""

from __future__ import annotations

import tokenizers
import torch
from tokenizers import models, normalizers, pre_tokenizers, processors
from torch import nn

from diffuprompt.grounding.contract import Detector
from diffuprompt.grounding.detectors.captions import CaptionTokenizer
from diffuprompt.grounding.detectors.glip import TINY, Glip
from diffuprompt.grounding.detectors.glip_detector import GlipDetector
from diffuprompt.grounding.detectors.mm_grounding_dino import MMGroundingDino

WORDS = "the red cup left of a green lamp big ring".split()
# where BERT has the tokens that MM-Grounding-DINO knows by number
NUMBERS = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, ".": 1012, "?": 1029}


def shaken(module: nn.Module, scale: float, seed: int = 0) -> nn.Module:
    """Move all parameters, so that none of those that begin at zero stays there."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += torch.randn(parameter.shape, generator=generator) * scale
    return module


def tiny_glip() -> GlipDetector:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Glip(TINY)
    shaken(model, 0.05)
    return GlipDetector(model, CaptionTokenizer.of_words(WORDS), name="tiny-glip", side=64)


def numbered_tokenizer() -> CaptionTokenizer:
    vocabulary = NUMBERS | {word: 200 + i for i, word in enumerate([*WORDS, ","])}
    vocabulary |= {f"[unused{i}]": i for i in range(1, 1040) if i not in vocabulary.values()}
    backend = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 102), ("[CLS]", 101))
    return CaptionTokenizer(backend)


def mm_model() -> nn.Module:
    from transformers import (
        BertConfig,
        MMGroundingDinoConfig,
        MMGroundingDinoForObjectDetection,
        SwinConfig,
    )

    swin = SwinConfig(
        embed_dim=16, depths=[2, 1, 1, 1], num_heads=[1, 2, 2, 4], window_size=4, image_size=64,
        out_indices=[2, 3, 4],
    )  # fmt: skip
    bert = BertConfig(
        vocab_size=1040, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=48, max_position_embeddings=40,
    )  # fmt: skip
    config = MMGroundingDinoConfig(
        backbone_config=swin, text_config=bert, d_model=64, num_queries=12, encoder_layers=1,
        decoder_layers=2, encoder_ffn_dim=48, decoder_ffn_dim=48, encoder_attention_heads=2,
        decoder_attention_heads=2,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MMGroundingDinoForObjectDetection(config)
    return shaken(model, 0.1).eval()


def tiny_mm() -> MMGroundingDino:
    return MMGroundingDino(mm_model(), numbered_tokenizer(), name="tiny-mm", side=64)


MAKERS = {"glip": tiny_glip, "mm": tiny_mm}


def made(name: str) -> Detector:
    detector: Detector = MAKERS[name]()
    return detector
