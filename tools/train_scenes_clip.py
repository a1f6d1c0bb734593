"""Train `scenes-clip`, the small CLIP that the package bundles, from scratch on two CPU cores.

    python -m tools.train_scenes_clip --out src/diffuprompt/assets/scenes-clip --minutes 25

A standard CLIP (symmetric InfoNCE, Radford et al. 2021, section 2.3) with an auxiliary loss:
while it trains, linear heads name the shape, colour and fill under each patch (from the patch
states) and of the main object (one head for picture and caption embeddings alike, which pulls
the two towers together from the first step). Dense supervision is what makes so short a training
work; the heads are thrown away. The learning rate follows a cosine over the time budget.
Rerun the same command to resume.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import time

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads starve a shared machine

from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import CLIPConfig, CLIPModel

from diffuprompt.checkpoints import Tokenizer
from diffuprompt.data import COLOURS, FILLS, SHAPES
from tools.scenes_batches import PATCH, SIDE, Pairs, PairStream, same_text
from tools.scenes_tokenizer import train_tokenizer

log = logging.getLogger("scenes-clip")
CONTEXT = 77
MAX_TOKENS = 40  # longer captions are cut in training: few, and each costs the whole batch


@dataclass(kw_only=True)
class Recipe:
    """Everything that decides the result, apart from the machine's speed."""

    minutes: float = 25.0
    seed: int = 7
    batch_size: int = 96
    lr: float = 1.5e-3
    weight_decay: float = 0.05
    warmup: float = 0.03
    words_weight: float = 0.5
    embed_dim: int = 128
    vision: dict[str, int] = field(default_factory=lambda: {"width": 128, "layers": 4, "heads": 4})
    text: dict[str, int] = field(default_factory=lambda: {"width": 128, "layers": 3, "heads": 4})


def build(recipe: Recipe, tokenizer: Tokenizer) -> CLIPModel:
    """Return the untrained model."""

    def tower(shape: dict[str, int]) -> dict[str, int]:
        return {
            "hidden_size": shape["width"],
            "intermediate_size": 4 * shape["width"],
            "num_hidden_layers": shape["layers"],
            "num_attention_heads": shape["heads"],
            "projection_dim": recipe.embed_dim,
        }

    config = CLIPConfig(
        projection_dim=recipe.embed_dim,
        text_config={
            **tower(recipe.text),
            "vocab_size": tokenizer.vocab_size,
            "max_position_embeddings": CONTEXT,
            "bos_token_id": tokenizer.sot,
            "eos_token_id": tokenizer.eot,
            "pad_token_id": tokenizer.pad,
            "hidden_act": "quick_gelu",
        },
        vision_config={
            **tower(recipe.vision),
            "image_size": SIDE,
            "patch_size": PATCH,
            "hidden_act": "quick_gelu",
        },
    )
    torch.manual_seed(recipe.seed)  # transformers initialises from the global state only
    model = CLIPModel(config)
    model.set_attn_implementation("eager")  # for short sequences far faster backward than fused
    return model


class Heads(nn.Module):
    """Names shape, colour and fill from a state; exists only during training."""

    def __init__(self, width: int, embed_dim: int) -> None:
        super().__init__()
        self.sizes = [len(SHAPES) + 1, len(COLOURS) + 1, len(FILLS) + 1]
        self.patch = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, sum(self.sizes)))
        self.main = nn.Linear(embed_dim, sum(self.sizes))

    def _entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean over the three words; no object (0) counts a fifth."""
        total = torch.zeros(())
        for k, part in enumerate(logits.float().split(self.sizes, dim=-1)):
            weight = torch.ones(self.sizes[k])
            weight[0] = 0.2
            total = total + F.cross_entropy(part, labels[:, k], weight)
        return total / 3

    def loss(self, states_BSD: Tensor, image_BE: Tensor, text_BE: Tensor, batch: Pairs) -> Tensor:
        """Cross entropies of patches, pictures and (one-object) captions, summed."""
        patches = self._entropy(
            self.patch(states_BSD[:, 1:]).flatten(0, 1), batch.patches.flatten(0, 1)
        )
        pictures = self._entropy(self.main(10 * image_BE), batch.main)
        one = batch.portrait
        captions = self._entropy(self.main(10 * text_BE[one]), batch.main[one])
        return patches + pictures + captions


def token_ids(tokenizer: Tokenizer, texts: list[str]) -> Tensor:
    """``(B, S)`` with start, end and padding; S is the longest caption of the batch."""
    rows = [[tokenizer.sot, *tokenizer.encode(t)[: MAX_TOKENS - 2], tokenizer.eot] for t in texts]
    longest = max(map(len, rows))
    return torch.tensor([row + [tokenizer.pad] * (longest - len(row)) for row in rows])


def pixel_values(pixels_BHWC: Tensor) -> Tensor:
    """``(B, 3, H, W)`` in [-1, 1]: mean and standard deviation 0.5."""
    return pixels_BHWC.permute(0, 3, 1, 2).float().div(127.5).sub(1.0)


def read_texts(model: CLIPModel, tokenizer: Tokenizer, texts: list[str], parts: int = 3) -> Tensor:
    """``(B, E)`` un-normalised; short captions are not padded to the longest of the batch."""
    order = sorted(range(len(texts)), key=lambda k: len(texts[k]))
    size = -(-len(texts) // parts)
    found = [
        model.text_model(input_ids=token_ids(tokenizer, [texts[k] for k in order[i : i + size]]))
        for i in range(0, len(texts), size)
    ]
    pooled = torch.cat([f.pooler_output for f in found])
    return model.text_projection(pooled)[torch.tensor(order).argsort()]


def losses(
    model: CLIPModel, heads: Heads, tokenizer: Tokenizer, batch: Pairs
) -> tuple[Tensor, Tensor, float]:
    """Return the contrastive loss, the loss of naming words, and the share matched right."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        seen = model.vision_model(pixel_values=pixel_values(batch.pixels))
        image = model.visual_projection(seen.pooler_output)
        text = read_texts(model, tokenizer, batch.texts)
    image, text = (F.normalize(x.float(), dim=-1) for x in (image, text))
    words = heads.loss(seen.last_hidden_state.float(), image, text, batch)
    logits = model.logit_scale.exp() * image @ text.T
    target = same_text(batch.texts).float()
    target = target / target.sum(1, keepdim=True)
    loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    hit = target.gather(1, logits.argmax(1, keepdim=True)) > 0
    return loss, words, float(hit.float().mean())


def rate(recipe: Recipe, done: float) -> float:
    """Learning rate after the share ``done`` of the budget: linear warm-up, cosine to zero."""
    return recipe.lr * min(1.0, done / recipe.warmup) * (0.5 + 0.5 * math.cos(math.pi * done))


def save(folder: Path, model: CLIPModel, tokenizer: Tokenizer) -> None:
    """Write the Hugging Face folder: config, fp16 weights, tokenizer, preprocessing."""
    folder.mkdir(parents=True, exist_ok=True)
    config = model.config.to_dict()
    config["architectures"] = ["CLIPModel"]
    keep = CLIPConfig(**config).to_diff_dict() | {"torch_dtype": "float16"}
    (folder / "config.json").write_text(json.dumps(keep, indent=2, sort_keys=True) + "\n")
    state = {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in model.state_dict().items()
        if not name.endswith("position_ids")
    }
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    (folder / "tokenizer.json").write_bytes(tokenizer.to_bytes())
    preprocess = {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": SIDE},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": SIDE, "width": SIDE},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "do_convert_rgb": True,
    }
    text = json.dumps(preprocess, indent=2) + "\n"
    (folder / "preprocessor_config.json").write_text(text)


def train(recipe: Recipe, out: Path, work: Path) -> None:
    """Train until the time budget is spent; ``work`` keeps the checkpoint and the log."""
    tokenizer = train_tokenizer()
    model = build(recipe, tokenizer)
    heads = Heads(recipe.vision["width"], recipe.embed_dim)
    everything = nn.ModuleDict({"clip": model, "heads": heads})
    decay = [p for p in everything.parameters() if p.ndim > 1]
    rest = [p for p in everything.parameters() if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": recipe.weight_decay}, {"params": rest}]
    optimiser = torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.98), weight_decay=0.0)
    checkpoint, step, spent = work / "training.pt", 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        everything.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        step, spent = state["step"], state["spent"]
        log.info("resuming at step %d after %.1f minutes", step, spent / 60)
    size = sum(p.numel() for p in model.parameters())
    log.info("%s; %.2f M parameters, %d tokens", asdict(recipe), size / 1e6, tokenizer.vocab_size)
    stream = PairStream(recipe.seed, step, recipe.batch_size)
    loader = DataLoader(stream, batch_size=None, num_workers=1, prefetch_factor=4)
    budget, began, saved = recipe.minutes * 60, time.monotonic() - spent, time.monotonic()
    for batch in loader:
        spent = time.monotonic() - began
        if spent >= budget:
            break
        for group in optimiser.param_groups:
            group["lr"] = rate(recipe, spent / budget)
        loss, words, hits = losses(model, heads, tokenizer, batch)
        optimiser.zero_grad(set_to_none=True)
        (loss + recipe.words_weight * words).backward()
        norm = nn.utils.clip_grad_norm_(everything.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))
        step += 1
        if step % 50 == 0:
            log.info(
                "step %d  %.1f of %.0f min  loss %.3f  words %.3f  hits %.2f  scale %.1f  norm %.2f"
                "  %.0f pictures/s", step, spent / 60, recipe.minutes, loss.item(), words.item(),
                hits, model.logit_scale.exp().item(), norm.item(),
                step * recipe.batch_size / max(spent, 1e-9),
            )  # fmt: skip
        if time.monotonic() - saved > 60:
            saved = time.monotonic()
            state = {
                "model": everything.state_dict(),
                "optimiser": optimiser.state_dict(),
                "step": step,
                "spent": spent,
            }
            torch.save(state, work / "training.tmp")
            os.replace(work / "training.tmp", checkpoint)
    save(out, model, tokenizer)
    log.info("done: %d steps, %d pictures, %.1f min", step, step * recipe.batch_size, spent / 60)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the finished model")
    parser.add_argument(
        "--work", type=Path, default=Path("runs/scenes-clip"), help="checkpoint, log"
    )
    parser.add_argument("--threads", type=int, default=2)
    for name in ("minutes", "seed", "batch_size", "lr", "words_weight"):
        default = getattr(Recipe(), name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    options = vars(parser.parse_args())
    out, work = options.pop("out"), options.pop("work")
    work.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        handlers=[logging.StreamHandler(), logging.FileHandler(work / "log.txt")],
    )
    torch.set_num_threads(options.pop("threads"))
    train(Recipe(**options), out, work)


if __name__ == "__main__":
    main()
