"""A grounder of random weights as an artifact and as a run, made in a moment."""

from __future__ import annotations

from pathlib import Path

import torch
from tests.grounding.mask_parts import SMALL, stream
from tests.grounding.toy_detector import SIDE, ToyExpressions, redrawn, toy_detector

from diffuprompt.engine import NULL, write_json
from diffuprompt.grounding.artifact import save_grounder
from diffuprompt.grounding.conditioning import condition_of
from diffuprompt.grounding.detectors.folder import save_detector
from diffuprompt.grounding.detectors.load import open_detector
from diffuprompt.grounding.grounder import Grounder
from diffuprompt.grounding.maps import MapsConfig, Source
from diffuprompt.grounding.masks.encoder import EncoderConfig
from diffuprompt.grounding.masks.generator import MaskGenerator
from diffuprompt.grounding.masks.mask_vae import MaskVae, VaeConfig
from diffuprompt.grounding.masks.settings import GeneratorConfig
from diffuprompt.grounding.methods.registry import make_method
from diffuprompt.jobs.grounding import data as grounding_data
from diffuprompt.jobs.grounding.folder import GroundingFolder
from diffuprompt.jobs.grounding.job import GroundingJobConfig
from diffuprompt.jobs.grounding.run import grounding_run
from diffuprompt.record_expressions import ExpressionScores
from diffuprompt.record_grounding import GroundingJob, GroundingRecord

KEPT = 2


def save_tiny(folder: Path, method: str = "diff-prompt", source: Source = "generated") -> Path:
    """Write detector and artifact inside of ``folder``; return the artifact's folder."""
    place = folder / "detector"
    if not place.exists():
        save_detector(toy_detector(double=False), place)
    detector = open_detector(str(place))
    config = GeneratorConfig(encoder=EncoderConfig(**SMALL), kept=KEPT, nfe=3, **SMALL)
    batch = ToyExpressions(double=False).batch([0], SIDE)
    widths = condition_of(detector, None, batch, "tokens").widths()
    generator = MaskGenerator(config, widths, generator=stream()).eval()
    redrawn(generator.dit)
    masks = method == "diff-prompt"
    settings = {"depth": 2, "maps": KEPT} if masks else {}
    adapter = make_method(method, detector, settings)
    redrawn(adapter)
    grounder = Grounder(
        detector=detector,
        method=adapter.eval(),
        vae=MaskVae(VaeConfig(), generator=stream(1)).eval() if masks else None,
        generator=generator if masks else None,
        maps=MapsConfig(source=source, kept=KEPT) if masks else None,
        side=SIDE,
    )
    out = folder / f"{method}-{source}"
    save_grounder(grounder, out, detector=str(place), method=method, settings=settings)
    return out


def save_tiny_run(folder: Path, *, seed: int = 1, count: int = 24) -> tuple[Path, GroundingRecord]:
    """Write a run on scenes whose ranks are made up, with its record."""
    path = folder / f"run-{seed}"
    overrides = (f"expressions.test={count}",)
    job = GroundingJobConfig(data="scenes", seed=seed, out=path, overrides=overrides, workers=0)
    run = grounding_run(job)
    write_json(path / "run.json", run.to_json())
    save_tiny(folder).rename(path / "artifact")
    store = GroundingFolder(path).store
    source = grounding_data.Source(data="scenes", root=None, store=store, workers=0, progress=NULL)
    test = source.test("scenes", count=count)
    every = [test.expressions[row] for row in range(count)]
    draws = torch.randint(-1, 3, (count,), generator=stream(5)).tolist()
    record = GroundingRecord(
        job=GroundingJob(
            dataset="scenes",
            detector="toy",
            detector_hash="d0",
            method="diff-prompt",
            seed=seed,
            expressions=100,
        ),
        tests=(
            ExpressionScores.of(
                test="scenes",
                content=test.content,
                pictures=[one.picture for one in every],
                kinds=[one.kind for one in every],
                ranks=draws,
                giou_ranks=draws,
            ),
        ),
        trainable_parameters=1,
        total_parameters=2,
        seconds={},
        statistics={},
        hashes={},
        environment={},
        config={},
        command=job.command(),
    )
    (path / "record.json").write_text(record.model_dump_json())
    return path, record
