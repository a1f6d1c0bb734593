"""Measure a CLIP folder on the scenes world: zero-shot per style, a linear probe, retrieval.

python -m tools.evaluate_scenes_clip src/diffuprompt/assets/scenes-clip
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from transformers import CLIPModel

from diffuprompt.checkpoints import Tokenizer
from diffuprompt.data import STYLES, caption, held_out, materialise, parse_look, scene
from tools.scenes_batches import SIDE
from tools.train_scenes_clip import pixel_values, token_ids


class Towers:
    """Normalised embeddings of pictures and texts, in float32."""

    def __init__(self, folder: Path) -> None:
        self.model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = Tokenizer.from_file(folder / "tokenizer.json")

    @torch.inference_mode()
    def images(self, pictures: list[Image.Image]) -> Tensor:
        """``(N, E)``."""
        pixels = torch.from_numpy(np.stack([np.asarray(p.convert("RGB")) for p in pictures]))
        parts = [self.model.vision_model(pixel_values(x)).pooler_output for x in pixels.split(128)]
        return F.normalize(self.model.visual_projection(torch.cat(parts)), dim=-1)

    @torch.inference_mode()
    def texts(self, texts: list[str]) -> Tensor:
        """``(N, E)``."""
        ids = token_ids(self.tokenizer, texts)
        pooled = self.model.text_model(ids).pooler_output
        return F.normalize(self.model.text_projection(pooled), dim=-1)


def zero_shot(towers: Towers, style: str, split: str) -> dict[str, float]:
    """Accuracy in per cent on base, new (each among its own half) and H, their harmonic mean."""
    data = materialise(style=style)  # type: ignore[arg-type]
    classes = towers.texts([f"a photo of a {name}." for name in data.classes])
    items = data.splits[split]  # type: ignore[index]
    images = towers.images([Image.open(data.root / item.path) for item in items])
    labels = torch.tensor([item.label for item in items])
    half = len(data.classes) // 2
    out = {}
    for name, low in (("base", 0), ("new", half)):
        mine = (labels >= low) & (labels < low + half)
        guess = (images[mine] @ classes[low : low + half].T).argmax(1) + low
        right = (guess == labels[mine]).float()
        out[name] = float(right.mean() * 100)
        unseen = torch.tensor([held_out(*parse_look(data.classes[i])) for i in labels[mine]])
        out[f"{name}_seen"] = float(right[~unseen].mean() * 100)
        out[f"{name}_unseen"] = float(right[unseen].mean() * 100)
    return {**out, "H": 2 * out["base"] * out["new"] / (out["base"] + out["new"])}


def linear_probe(towers: Towers, shots: int = 16) -> dict[str, float]:
    """Accuracy in per cent of a linear classifier on picture embeddings, in each half."""
    data = materialise()
    half = len(data.classes) // 2
    sets = {}
    for split in ("train", "test"):
        items = data.splits[split]  # type: ignore[index]
        images = towers.images([Image.open(data.root / item.path) for item in items]).clone()
        sets[split] = (images, torch.tensor([item.label for item in items]))
    out = {}
    for name, low in (("base", 0), ("new", half)):
        (x, y), (x_test, y_test) = sets["train"], sets["test"]
        few = torch.cat([(y == low + c).nonzero()[:shots, 0] for c in range(half)])
        mine = (y_test >= low) & (y_test < low + half)
        weight = torch.zeros(half, x.shape[1], requires_grad=True)
        optimiser = torch.optim.Adam([weight], lr=0.02, weight_decay=1e-4)
        for _ in range(400):
            optimiser.zero_grad()
            F.cross_entropy(10 * x[few] @ weight.T, y[few] - low).backward()
            optimiser.step()
        guess = (x_test[mine] @ weight.T).argmax(1) + low
        out[name] = float((guess == y_test[mine]).float().mean() * 100)
    return out


def retrieval(towers: Towers, count: int = 500) -> dict[str, float]:
    """R@1 and R@5 both ways among fresh scenes with full captions."""
    made = [scene(11, k, size=SIDE, stream="retrieval", pretraining=True) for k in range(count)]
    texts = [caption(s, Random(f"retrieval/{k}"), 1.0) for k, s in enumerate(made)]
    scores = towers.images([s.image for s in made]) @ towers.texts(texts).T
    out = {}
    for way, matrix in (("image_to_text", scores), ("text_to_image", scores.T)):
        rank = (matrix > matrix.diagonal()[:, None]).sum(1)
        for k in (1, 5):
            out[f"{way}_R@{k}"] = float((rank < k).float().mean() * 100)
    return out


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--styles", nargs="+", default=list(STYLES), choices=STYLES)
    parser.add_argument("--split", default="test", choices=("train", "val", "test"))
    options = parser.parse_args()
    towers = Towers(options.folder)
    result = {style: zero_shot(towers, style, options.split) for style in options.styles}
    extra = {"linear_probe": linear_probe(towers), "retrieval": retrieval(towers)}
    print(json.dumps({"zero_shot": result, **extra}, indent=1))


if __name__ == "__main__":
    main()
