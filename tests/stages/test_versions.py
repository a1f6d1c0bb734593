"""A stage whose results change has another version, so that no old result passes for a new one.

Each stage is made once on the tiny world and a few numbers of its result are compared with
``golden.json``. Where they moved on purpose, raise the stage's VERSION and write the file again:

    PYTHONPATH=src:. python -m tests.stages.test_versions

Numbers are compared to a thousandth: other processors round otherwise, other code differs by more.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.contract.generators import hurry_amed, shrink_networks
from tests.world import make_clip, make_pictures, small_job

from diffuprompt.jobs.evaluate import evaluate_run
from diffuprompt.jobs.evaluation import Evaluation
from diffuprompt.jobs.job import JobConfig
from diffuprompt.jobs.train import train_job
from diffuprompt.stages import features, generator, learner, overfit, sampler, score

GOLDEN = Path(__file__).with_name("golden.json")
CLOSE = 1e-3
VERSIONS = {
    "features": features.VERSION,
    "learner": learner.VERSION,
    "overfit": overfit.VERSION,
    "generator": generator.VERSION,
    "joint": generator.VERSION,
    "sampler": sampler.VERSION,
    "score": score.VERSION,
}
JOBS = (
    ("views=2", "fit.ce_weight=1", "diffusion.sampler=amed"),
    ("views=2", "fit.mode=joint", "fit.ce_weight=1"),
)
Found = dict[str, dict[str, float]]


def results(world: Path, runs: Path) -> Found:
    """Make every stage on the tiny world; return numbers that tell results apart."""
    found: Found = {}
    for overrides in JOBS:
        job = small_job(world, runs, "cocoop", *overrides)
        evaluate_run(train_job(JobConfig(**vars(job))), evaluation=Evaluation(oracle=False))
    for stage in VERSIONS:
        if stage == "features":
            files = sorted((Path(os.environ["DIFFUPROMPT_CACHE"]) / stage).glob("*.safetensors"))
        else:
            files = sorted((runs / ".stages" / stage).rglob("*.safetensors"))
        # what features are made of is kept beside them and has no version of its own
        parts = [t for file in files for t in load_file(file).items() if t[0] != features.POOLED]
        tensors = [t.double() for _, t in parts if t.numel()]
        found[stage] = {
            "size": float(sum(t.numel() for t in tensors)),
            "length": float(torch.stack([t.square().sum() for t in tensors]).sum().sqrt())
            if tensors
            else 0.0,
        }
    scores = sorted((runs / ".stages" / "score").rglob("score.json"))
    nll = [json.loads(path.read_text())["metrics"]["nll"] for path in scores]
    found["score"] = {"size": float(len(nll)), "length": sum(nll)}
    return found


def test_results_and_versions_move_together(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink_networks(monkeypatch)
    hurry_amed(monkeypatch)
    golden: dict[str, Any] = json.loads(GOLDEN.read_text())
    found = results(world, tmp_path / "runs")
    assert set(golden) == set(VERSIONS)
    for stage, version in VERSIONS.items():
        told = golden[stage]
        assert told["version"] == version, f"{stage}: write {GOLDEN.name} again, see this file"
        for name, value in found[stage].items():
            assert value == pytest.approx(told[name], rel=CLOSE), (
                f"{stage}: {name} is {value}, was {told[name]} under version {version}: if that is "
                f"meant, raise VERSION of this stage and write {GOLDEN.name} again"
            )


def main() -> None:
    """Write the golden numbers of this code."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        shrink_networks(patch)
        hurry_amed(patch)
        folder = Path(name)
        os.environ["DIFFUPROMPT_CACHE"] = str(folder / "cache")
        make_clip(folder / "clip")
        make_pictures(folder / "colours")
        found = results(folder, folder / "runs")
    golden = {stage: {"version": VERSIONS[stage], **numbers} for stage, numbers in found.items()}
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
