"""Stable Diffusion with a ControlNet (arXiv 2302.05543), given prompts as states of a text tower.

Pipelines are diffusers' and come from outside: a folder or a hub id, or an object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from diffuprompt.clip import Clip
from diffuprompt.engine import torch_stream
from diffuprompt.errors import CheckpointError, ConfigError
from diffuprompt.pictures.text_states import StateMap, fit_map, same_states, sentence_states
from diffuprompt.pictures.words import whole_words

MODEL, CONTROL = "stable-diffusion-v1-5/stable-diffusion-v1-5", "lllyasviel/sd-controlnet-canny"
OPTIONAL = ("text_encoder", "tokenizer", "image_encoder")
# A checker paints black what it takes for unsafe, and the figures would be those of black.
UNCHECKED: dict[str, Any] = {
    "safety_checker": None,
    "feature_extractor": None,
    "requires_safety_checker": False,
}
COMPARED = ("", "a photo of a cat.", "two red cups, left of the lamp")
TEXTS = 96  # that a map is fitted on, beside the classes
TEMPLATES = ("a photo of a {}.", "{}", "a drawing of the {}, in colour.")


@dataclass(frozen=True, kw_only=True)
class PainterConfig:
    """How pictures are drawn.

    Attributes:
        steps: evaluations of the model for each picture (two networks each, guided).
        guidance: of classifier-free guidance, against the empty text.
        control: weight of the edges.
        control_end: share of the steps in which edges count.
        side: pixels; a multiple of 64.
        seed: of the noise that all cells start from.
    """

    steps: int = 30
    guidance: float = 7.5
    control: float = 0.6
    control_end: float = 0.8
    side: int = 512
    seed: int = 0


class Painter:
    """Draws what our text tower's states say.

    ``fidelity`` says how its states reach the model: "exact" (the model's own text tower says the
    same of the same sentences), "unchecked" (equal widths, and no tower to compare with) or
    "approximate" (through a fitted map, see `fit_map`).
    """

    def __init__(
        self,
        pipeline: Any,
        clip: Clip,
        names: Sequence[str],
        config: PainterConfig,
    ) -> None:
        """Compare the towers, and fit a map where they differ.

        Args:
            pipeline: diffusers' StableDiffusionControlNetPipeline.
            clip: whose states are drawn.
            names: of classes, whose sentences a map is fitted on, beside others.
            config: how pictures are drawn.

        Raises:
            ConfigError: the widths differ, and the pipeline has no text encoder to fit a map to.
        """
        self._pipeline, self._clip, self.config = pipeline, clip, config
        pipeline.set_progress_bar_config(disable=True)
        self._map: StateMap | None = None
        width = int(pipeline.unet.config["cross_attention_dim"])
        ours = clip.config.text.width
        if pipeline.text_encoder is None:
            if width != ours:
                raise ConfigError(
                    f"--model: reads texts of width {width}, {clip.name!r} has {ours}, and there "
                    "is no text encoder to fit a map to; name a whole model, or train on ViT-L/14"
                )
            self.fidelity = "unchecked"
        elif same_states(sentence_states(clip, COMPARED), self._theirs(COMPARED)):
            self.fidelity = "exact"
        else:
            texts = _texts(clip, names)
            self._map = fit_map(sentence_states(clip, texts), self._theirs(texts))
            self.fidelity = "approximate"

    @property
    def error(self) -> float:
        """Of the fitted map on held-out texts, relative; 0 without one."""
        return self._map.error if self._map is not None else 0.0

    @torch.inference_mode()
    def draw(
        self, states_SD: Tensor, edges: Image.Image, *, seed: int | None = None
    ) -> Image.Image:
        """Return one picture; equal arguments give equal pictures.

        Args:
            states_SD: a text, as `prompt_states` gives it.
            edges: white on black.
            seed: of the noise; None: the configured one.
        """
        config, pipeline = self.config, self._pipeline
        states = torch.stack([states_SD, sentence_states(self._clip, [""])[0].to(states_SD)])
        embeds = (states if self._map is None else self._map(states)).to(pipeline.dtype)
        stream = torch_stream(config.seed if seed is None else seed, "latents")
        side = config.side // pipeline.vae_scale_factor
        latents = torch.randn(1, pipeline.unet.config["in_channels"], side, side, generator=stream)
        found = pipeline(
            image=edges,
            prompt_embeds=embeds[:1],
            negative_prompt_embeds=embeds[1:],
            latents=latents.to(pipeline.device, pipeline.dtype),
            num_inference_steps=config.steps,
            guidance_scale=config.guidance,
            controlnet_conditioning_scale=config.control,
            control_guidance_end=config.control_end,
            generator=stream,
            output_type="pil",
        )
        picture: Image.Image = found.images[0]
        return picture

    def _theirs(self, texts: Sequence[str]) -> Tensor:
        """Return what the pipeline's own text encoder says, ``(N, 77, T)``."""
        tokenizer, encoder = self._pipeline.tokenizer, self._pipeline.text_encoder
        with torch.inference_mode():
            ids = tokenizer(
                list(texts),
                padding="max_length",
                max_length=tokenizer.model_max_length,
                truncation=True,
                return_tensors="pt",
            ).input_ids
            states: Tensor = encoder(ids.to(encoder.device))[0]
        return states


def load_pipeline(model: str = MODEL, controlnet: str = CONTROL, device: str = "cpu") -> Any:
    """Load a StableDiffusionControlNetPipeline of folders or of hub ids, in float32.

    Weights are read from safetensors alone: no pickle. A safety checker is never loaded, so that no
    cell is silently black. A folder need not hold text encoder and tokenizer.

    Raises:
        ConfigError: diffusers is not installed.
        CheckpointError: there is no such model, or it is of another kind.
    """
    try:
        from diffusers import ControlNetModel, StableDiffusionControlNetPipeline
    except ImportError as cause:
        raise ConfigError(
            f"--pictures needs diffusers ({cause}): pip install 'diffuprompt[draw]'"
        ) from cause
    try:
        control = ControlNetModel.from_pretrained(controlnet, use_safetensors=True)
        found: Any = StableDiffusionControlNetPipeline.from_pretrained(
            model, controlnet=control, use_safetensors=True, **UNCHECKED, **_absent(Path(model))
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as cause:
        line = (str(cause).splitlines() or [type(cause).__name__])[0][:300]
        raise CheckpointError(
            f"--model {model}, --controlnet {controlnet}: cannot be loaded ({line}); expected "
            "folders or hub ids of Stable Diffusion 1.x and of a ControlNet for edges"
        ) from cause
    return found.to(device)


def _absent(folder: Path) -> dict[str, Any]:
    """Return what a folder lacks and can do without, as arguments; nothing of a hub id."""
    if not folder.is_dir():
        return {}
    return {name: None for name in OPTIONAL if not (folder / name).is_dir()}


def _texts(clip: Clip, names: Sequence[str]) -> list[str]:
    words = list(whole_words(clip.tokenizer).values())
    order = torch.randperm(len(words), generator=torch_stream(0, "texts of a map"))
    plain = [name.replace("_", " ") for name in names[:TEXTS]]
    every = [*plain, *(words[i] for i in order[:TEXTS].tolist())]
    return [TEMPLATES[n % len(TEMPLATES)].format(name) for n, name in enumerate(every)]
