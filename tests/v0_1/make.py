"""Make what version 0.1 leaves on a disk, small enough to commit: see README.md beside this file.

Run it with the code of version 0.1.0 (commit 1bc0f91), from a checkout of it:

    PYTHONPATH=src:. OMP_NUM_THREADS=1 python FOLDER/make.py

It replaces everything that it made before in FOLDER, the folder of this file.
"""

from __future__ import annotations

import json
import lzma
import math
import os
import re
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tests.protocols.world import COLOURS, SIDE, make_clip
from torch import Tensor

import diffuprompt
from diffuprompt.cli.main import main as diffuprompt_main
from diffuprompt.data.folders import hash_split, read_folder
from diffuprompt.data.images import ImageBatch, load_image
from diffuprompt.hub.artifact import TENSORS, Artifact, load_artifact, save_artifact
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.methods import METHODS
from diffuprompt.record import read_record

HERE = Path(__file__).resolve().parent
PLACEHOLDER = "@FIXTURE@"  # stands for the folder of the fixture in run.json
OTHERS = ("pink", "brown", "dark grey")  # names that nothing was trained on
WANTED = {"train": 3, "val": 2, "test": 3}  # pictures per class
PICTURES = 4  # that logits are kept of
SHALLOW = {  # the towers have two layers
    **dict.fromkeys(("deep-language", "ivlp", "maple", "promptsrc", "coprompt"), ("depth=2",)),
    "vpt": ("vision_depth=2",),
}
FIT = ("fit.epochs=40", "fit.batch=8", "overfit.steps=2", "overfit.lr=0.3")

# name -> (learner, generator, what is set beside the few epochs)
GENERATED: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "cocoop+diffusion": ("cocoop", "diffusion", ()),
    "vpt+diffusion-amed": ("vpt", "diffusion", ("diffusion.sampler=amed",)),
    "maple+diffusion-guided": (
        "maple",
        "diffusion",
        (
            "diffusion.drop_condition=0.2",
            "diffusion.guidance=2",
            "diffusion.prediction=v",
            "diffusion.sampler=ddim",
            "diffusion.ensemble=2",
            "fit.normaliser=residual_token",
            "fit.pi=meta_net",
        ),
    ),
    "coop+vae": ("coop", "vae", ()),
    "coop+mlp": ("coop", "mlp", ()),
    "coop+gan": ("coop", "gan", ()),
    "cocoop+transformer": ("cocoop", "transformer", ()),
    "cocoop+flow": ("cocoop", "flow", ("fit.rank=4",)),
}
# kind -> (arguments, what is set beside the few epochs, evaluated?)
RUNS: dict[str, tuple[tuple[str, ...], tuple[str, ...], bool]] = {
    "learner": (("--learner", "coop"), (), True),
    "unevaluated": (("--learner", "cocoop", "--protocol", "base-to-new"), (), False),
    "zero-shot": (("--learner", "zero-shot"), (), True),
    "generator": (
        ("--learner", "cocoop", "--generator", "diffusion", "--protocol", "base-to-new"),
        FIT,
        True,
    ),
    "rival": (
        ("--learner", "coop", "--generator", "mlp", "--protocol", "base-to-new"),
        FIT,
        True,
    ),
    "joint": (
        ("--learner", "coop", "--generator", "diffusion"),
        (*FIT, "fit.mode=joint", "fit.ce_weight=1"),
        True,
    ),
}


def main() -> None:
    if diffuprompt.__version__ != "0.1.0":
        sys.exit(f"this is diffuprompt {diffuprompt.__version__}, not 0.1.0")
    for name in ("clip", "colours", "artifacts", "runs"):
        shutil.rmtree(HERE / name, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DIFFUPROMPT_CACHE"] = str(Path(folder) / "cache")
        os.chdir(HERE)  # so that paths are relative, as people write them
        make_clip(Path("clip"))
        make_colours(Path("colours"))
        make_artifacts(Path("artifacts"), Path(folder))
        make_runs(Path("runs"), Path(folder))


def make_colours(folder: Path) -> None:
    """Eight pictures per class: a colour, and a rectangle, a disc or a stripe of another shade.

    Their numbers are those that version 0.1 splits 3 : 2 : 3 into train, val and test.
    """
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        left, number = dict(WANTED), 0
        while any(left.values()):
            path = f"{name}/{number:02d}.png"
            split = split_of(path)
            if left[split]:
                left[split] -= 1
                picture(rng, np.array(colour)).save(folder / path, optimize=True)
            number += 1
    found = read_folder(folder).splits
    for split, count in WANTED.items():
        assert len(found[split]) == count * len(COLOURS), split


def split_of(path: str) -> str:
    """Return the split of a picture among many: "1039" hashes very low and "937" very high."""
    places = hash_split([("1039", 0), (path, 0), ("937", 0)])
    (split,) = (name for name, items in places.items() if path in [item.path for item in items])
    return split


def picture(rng: np.random.Generator, colour: np.ndarray) -> Image.Image:
    """Two shades of a colour: few bytes, and no two pictures alike."""
    shades = np.clip(colour + rng.integers(-45, 46, (2, 3)), 0, 255).astype(np.uint8)
    y, x = np.mgrid[:SIDE, : SIDE + 8]
    at_y, at_x, size = rng.integers(4, 28), rng.integers(4, 36), rng.integers(5, 14)
    kind = rng.integers(3)
    if kind == 0:
        inside = (abs(y - at_y) < size) & (abs(x - at_x) < size)
    elif kind == 1:
        inside = (y - at_y) ** 2 + (x - at_x) ** 2 < size**2
    else:
        inside = (x + y - at_x) % (2 * size) < size
    image = Image.fromarray(inside.astype(np.uint8))
    image.putpalette(shades.tobytes())
    return image


def make_artifacts(folder: Path, scratch: Path) -> None:
    """Every learner, and some with generators, each in a folder; then what they answer."""
    expected: dict[str, Any] = {}
    for learner in METHODS:
        run = train(scratch / "runs" / learner, ("--learner", learner), few_epochs(learner))
        expected[learner] = keep(run / "artifact", folder / learner)
    own = ("--learner", "coop")
    run = train(scratch / "runs" / "own", own, (*few_epochs("coop"), "class_specific=true"))
    expected["coop-class-specific"] = keep(run / "artifact", folder / "coop-class-specific")
    for name, (learner, generator, changes) in GENERATED.items():
        words = ("--learner", learner, "--generator", generator)
        run = train(scratch / "runs" / name, words, (*few_epochs(learner), *FIT, *changes))
        thin(run / "artifact")
        expected[name] = keep(run / "artifact", folder / name)
    write(folder / "expected.json", {**about(), "artifacts": expected})


def make_runs(folder: Path, scratch: Path) -> None:
    """Runs of every kind; then what their artifacts answer and what evaluation found."""
    expected: dict[str, Any] = {}
    for kind, (words, changes, evaluated) in RUNS.items():
        generates = "--generator" in words
        run = train(folder / kind, words, (*few_epochs(words[1]), *changes))
        if generates:
            thin(run / "artifact")
        scored = run
        if evaluated:
            command("evaluate", run)
        else:
            scored = scratch / kind
            shutil.copytree(run, scored)
            command("evaluate", scored)
        expected[kind] = {
            "evaluated": evaluated,
            "compressed": generates,
            **answers(run / "artifact"),
            "scores": scores(scored / "record.json"),
        }
        if generates:
            compress(run / "artifact")
        for state in run.glob("checkpoint/*/state.pt"):
            if state.stat().st_size > 100_000:  # of a generator: of no use beside the artifact
                state.unlink()
        file = run / "run.json"
        file.write_text(file.read_text().replace(str(HERE), PLACEHOLDER))
    write(folder / "expected.json", {**about(), "runs": expected})


def few_epochs(learner: str) -> tuple[str, ...]:
    """Return what is set so that the learner fits the towers and is trained in no time."""
    if not METHODS[learner].presets[0].train.epochs:
        return ()
    return (*SHALLOW.get(learner, ()), "epochs=2", "views=1")


def train(out: Path, words: tuple[str, ...], changes: tuple[str, ...]) -> Path:
    """Train as people do, on the command line, with few-shot as the protocol unless told."""
    if "--protocol" not in words:
        words += ("--protocol", "few-shot")
    sets = [word for change in changes for word in ("--set", change)]
    command(
        *("train", "--data", "colours", "--backbone", "./clip", *words, "--shots", "2"),
        *("--device", "cpu", "--workers", "0", "--out", out, *sets),
    )
    return out


def command(*words: object) -> None:
    if code := diffuprompt_main([str(word) for word in words]):
        sys.exit(f"{words} ended with {code}")


def thin(folder: Path) -> None:
    """Rewrite an artifact so that its tensors compress: few weights of the network are left.

    Of every large matrix the largest entries stay, as multiples of 1/16 and so much larger that
    its norm stays about the same; everything else in the network becomes a multiple of 1/64.
    """
    found = load_artifact(folder, backbone="clip")
    generator = found.generator
    assert generator is not None
    with torch.no_grad():
        for name, weight in generator.network.named_parameters():
            weight.copy_(sparse(weight, name) if weight.ndim > 1 else (weight * 64).round() / 64)
    training = found.description.training
    save_artifact(folder, found.learner, found.description.classes, generator, training)


def sparse(weight: Tensor, name: str) -> Tensor:
    size = weight.numel()
    if size < 2048:
        return (weight * 64).round() / 64
    count = max(128, size // 2048)
    flat = weight.flatten()
    at = flat.abs().topk(count).indices
    kept = torch.zeros_like(flat)
    kept[at] = flat[at]
    grown = kept * (flat.norm() / kept.norm().clamp_min(1e-12))
    if "decoders" in name or name == "6.weight":  # the last maps, which had hardly left 0
        grown = grown * 4
    return ((grown * 16).round() / 16).view_as(weight)


def keep(artifact: Path, place: Path) -> dict[str, Any]:
    """Copy an artifact to its place and return what it answers."""
    shutil.copytree(artifact, place)
    found = answers(place)
    compressed = found["draws"] is not None
    if compressed:
        compress(place)
    return {"compressed": compressed, **found}


def compress(artifact: Path) -> None:
    """Put ``prompts.safetensors.xz`` in the place of the tensors."""
    path = artifact / TENSORS
    data = lzma.compress(path.read_bytes(), preset=9 | lzma.PRESET_EXTREME)
    path.with_name(f"{TENSORS}.xz").write_bytes(data)
    path.unlink()


def about() -> dict[str, Any]:
    return {"version": diffuprompt.__version__, "pictures": pictures(), "others": list(OTHERS)}


def pictures() -> list[str]:
    """The first test picture of each of the first four classes."""
    manifest = read_folder(HERE / "colours")
    first = {item.label: item.path for item in reversed(manifest.splits["test"])}
    return [f"colours/{first[label]}" for label in range(PICTURES)]


def answers(folder: Path) -> dict[str, Any]:
    """Return an artifact's logits on the pictures, for its own classes and for others."""
    found = load_artifact(folder, backbone="clip")
    names = found.description.classes
    generator = found.generator
    draws = None
    if generator is not None:
        draws = [0, 1] if generator.num_noise else [0]
    out: dict[str, Any] = {
        "tensors_hash": found.description.tensors_hash,
        "classes": list(names),
        "draws": draws,
        "own": logits(found, names),
        "own_others": logits(found, OTHERS) if other_names(found) else None,
    }
    if draws is not None:
        out["generated"] = [logits(found, names, draw) for draw in draws]
        out["generated_others"] = [logits(found, OTHERS, draw) for draw in draws]
        report(folder, out)
    return out


def other_names(found: Artifact) -> bool:
    return not found.description.learner_config.get("class_specific")


@torch.inference_mode()
def logits(found: Artifact, names: tuple[str, ...], draw: int | None = None) -> list[list[float]]:
    """Return logits ``(4, C)`` as `Classifier` computes them before its softmax.

    With ``draw`` those of the generator's prompts, else those of the learner's own.
    """
    learner, classes = found.learner, Classes(names)
    views = [found.clip.preprocess.test_view(load_image(Path(path))) for path in pictures()]
    images = ImageBatch(torch.stack(views), None, torch.arange(len(views)))
    images = replace(images, pixels=None, grid=learner.grid(images))
    if draw is not None or learner.needs.features:
        images = replace(images, features=learner.features(images))
    if draw is None:
        return learner.logits(images, classes, text=learner.static_text(classes)).tolist()
    assert found.generator is not None
    features = learner.features(images)
    own = learner.spec.pack(learner.prompts(features))
    prompts = learner.spec.unpack(found.generator.sample(features, own, draw=draw))
    return learner.logits(images, classes, prompts).tolist()


def report(folder: Path, out: dict[str, Any]) -> None:
    """Say how far generated prompts move the logits, and how much that differs by image."""
    moved = np.array(out["generated"][0]) - np.array(out["own"])
    by_image = moved - moved.mean(0)
    by_draw = np.ptp(np.array(out["generated"]), axis=0).max()
    print(
        f"-- {folder}: logits moved by {abs(moved).max():.3f}, by image {abs(by_image).max():.4f}, "
        f"by draw {by_draw:.4f}"
    )
    assert abs(by_image).max() > 1e-3, folder
    assert len(out["draws"]) == 1 or by_draw > 1e-3, folder
    assert all(math.isfinite(value) for row in out["generated"] for r in row for value in r)


def scores(record: Path) -> dict[str, dict[str, Any]]:
    """Return "variant/subset" -> what was scored, without the times that it took."""
    return {
        f"{s.variant}/{s.subset}": s.model_dump(exclude={"generate_ms", "classify_ms"})
        for s in read_record(record).scores
    }


def write(path: Path, value: Any) -> None:
    """Write JSON with a row of numbers a line."""
    rows = re.compile(r"\[\s+([^\[\]{}]*?)\s+\]")
    text = rows.sub(lambda m: "[" + re.sub(r",\s+", ", ", m[1]) + "]", json.dumps(value, indent=1))
    path.write_text(text + "\n")


if __name__ == "__main__":
    main()
