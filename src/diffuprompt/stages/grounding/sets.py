"""The stage "expressions": a made world, made once and kept."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from diffuprompt.engine import Progress
from diffuprompt.errors import CheckpointError
from diffuprompt.grounding import MadeExpressions, make_expressions
from diffuprompt.runs import Stage, StageFolder, Store, Values

VERSION = 1
TENSORS, TEXTS = "expressions.safetensors", "texts"


def expressions_stage(
    *, world: str, split: str, domain: str, seed: int, count: int, photographs: str = ""
) -> Stage:
    """Return the stage of a made world.

    Args:
        world: its name.
        split: "train", "val" or "test".
        domain: "usual" or one of the world's others.
        seed: of its pictures.
        count: expressions.
        photographs: hash of what it is made from, where it is made from files.
    """
    return Stage(
        name="expressions",
        version=VERSION,
        config={"world": world, "split": split, "domain": domain, "seed": seed, "count": count},
        inputs={"photographs": photographs} if photographs else {},
    )


def made_set(
    store: Store, stage: Stage, *, workers: int, progress: Progress, root: Path | None = None
) -> MadeExpressions:
    """Return the expressions of a stage; ``workers`` processes make them where nobody has yet."""
    config = stage.config

    def make(folder: StageFolder) -> Values:
        made = make_expressions(
            config["world"],
            config["split"],
            seed=config["seed"],
            count=config["count"],
            domain=config["domain"],
            workers=workers,
            progress=progress,
            root=root,
        )
        tensors, texts = made.to_tensors()
        folder.write(TENSORS, {**tensors, TEXTS: _as_bytes(texts)})
        return {"expressions": len(made)}

    tensors = store.made(stage, make).read(TENSORS)
    try:
        texts = json.loads(bytes(tensors.pop(TEXTS).tolist()))
    except (KeyError, ValueError) as cause:
        raise CheckpointError(f"{store.folder(stage).path}: damaged; delete it") from cause
    return MadeExpressions.from_tensors(tensors, texts)


def _as_bytes(value: object) -> Tensor:
    return torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
