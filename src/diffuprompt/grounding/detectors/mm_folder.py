"""MM-Grounding-DINO and LLMDet as a folder of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from diffuprompt.errors import CheckpointError, ConfigError
from diffuprompt.grounding.detectors.captions import CaptionTokenizer
from diffuprompt.grounding.detectors.mm_grounding_dino import MMGroundingDino

SIDE = 800  # near what it was trained at


def load_mm_grounding_dino(
    folder: Path, tokenizer: CaptionTokenizer, *, side: int = SIDE
) -> MMGroundingDino:
    """Read a folder of transformers with safetensors, frozen, in fp32.

    Raises:
        ConfigError: transformers is not installed.
        CheckpointError: the folder is damaged, or its tensors are not those of its configuration.
    """
    try:
        from transformers import MMGroundingDinoForObjectDetection
    except ImportError as error:
        raise ConfigError(
            f"{folder}: reading MM-Grounding-DINO needs transformers 5; pip install "
            "'transformers>=5' scipy"
        ) from error
    try:
        loaded: Any = MMGroundingDinoForObjectDetection.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            dtype=torch.float32,
        )
    except (OSError, ValueError, RuntimeError, TypeError, SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{folder}: not readable by transformers ({reason})") from error
    model, found = loaded
    problems = [f"{kind}: {sorted(map(str, keys))}" for kind, keys in found.items() if keys]
    if problems:
        lines = "\n  ".join(problems)
        raise CheckpointError(f"{folder}: does not fit its configuration\n  {lines}")
    return MMGroundingDino(model, tokenizer, name=folder.name, side=side)
