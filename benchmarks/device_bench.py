"""What `benchmarks.device` measures with: towers on both devices, their inputs, and the clock."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.text_path import NAME_LENGTHS, Ids
from diffuprompt.clip import Clip, ClipConfig, TextConfig, TextPlan, VisionConfig
from diffuprompt.data import ImageBatch, Preprocess
from diffuprompt.engine import torch_stream
from diffuprompt.generators import DiffusionConfig, FitConfig, Problem, PromptDiffusion
from diffuprompt.learners import Classes, Learner, build_learner

STEPS, NFE, NUM_CTX = 5, 5, 4


PATHS = ("plain", "truncated", "fast")


Result = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """What is measured: sizes of the towers and of the work."""

    text: TextConfig
    vision: VisionConfig
    embed: int
    classes: tuple[int, int]
    samples: tuple[int, int]  # with prompts of their own, for each number of classes
    images: int  # to overfit
    batch: int  # of overfitting
    generated: int
    matmul: int
    networks: tuple[str, ...]
    memory_mib: int


def shapes(small: bool) -> Shapes:
    """Return ViT-B/16's shapes, or tiny ones."""
    special = {"vocab_size": 49408, "context_length": 77, "sot": Ids.sot, "eot": Ids.eot}
    if small:
        return Shapes(
            text=TextConfig(width=32, layers=2, heads=4, mlp_width=64, pad=Ids.pad, **special),
            vision=VisionConfig(
                width=48, layers=2, heads=4, mlp_width=96, image_size=32, patch_size=16
            ),
            embed=32, classes=(6, 12), samples=(2, 1), images=8, batch=4, generated=4, matmul=256,
            networks=("small",), memory_mib=1024,
        )  # fmt: skip
    return Shapes(
        text=TextConfig(width=512, layers=12, heads=8, mlp_width=2048, pad=Ids.pad, **special),
        vision=VisionConfig(
            width=768, layers=12, heads=12, mlp_width=3072, image_size=224, patch_size=16
        ),
        embed=512, classes=(100, 1000), samples=(4, 1), images=800, batch=40, generated=64,
        matmul=8192, networks=("small", "paper"), memory_mib=60_000,
    )  # fmt: skip


class Bench:
    """The towers on both devices, what they are given, and the clock."""

    def __init__(self, device: torch.device, small: bool) -> None:
        self.device, self.shapes = device, shapes(small)
        torch.manual_seed(0)
        config = ClipConfig(
            text=self.shapes.text, vision=self.shapes.vision, embed_dim=self.shapes.embed
        )
        tokenizer: Any = Ids()  # names are lists of ids: no tokenizer is needed here
        self.near = Clip(config, tokenizer, Preprocess()).freeze()
        self.far = copy.deepcopy(self.near).to(device)
        self.peak: dict[str, float] = {}  # operations per second, by precision

    def classes(self, count: int) -> Classes:
        """Return names of as many tokens as real ones have."""
        lengths = (NAME_LENGTHS * (count // len(NAME_LENGTHS) + 1))[:: 1 if count > 99 else 9]
        drawn = torch.randint(1000, 40000, (count, 6), generator=torch_stream(0, "names")).tolist()
        return Classes(
            [" ".join(map(str, row[:n])) for row, n in zip(drawn, lengths, strict=False)]
        )

    def learner(self, clip: Clip) -> Learner:
        """Return CoCoOp with the same weights on any device."""
        plan = TextPlan(memory_mib=self.shapes.memory_mib)
        stream = torch_stream(0, "init")
        return build_learner("cocoop", clip, {"ctx_init": None}, plan=plan, generator=stream)

    def numbers(self, name: str, *size: int) -> Tensor:
        """Return normal numbers on the CPU."""
        return torch.randn(*size, generator=torch_stream(0, name))

    def sync(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def clock(self, job: Callable[[], object], repeats: int = 5, warm: int = 2) -> Result:
        """Return the median seconds of ``job`` after a warm-up, and the peak memory."""
        cuda = self.device.type == "cuda"
        if cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        for _ in range(warm):
            job()
        seconds = []
        for _ in range(repeats):
            self.sync()
            if cuda:
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                start.record()
                job()
                end.record()
                end.synchronize()
                seconds.append(start.elapsed_time(end) / 1000)
            else:
                began = time.perf_counter()
                job()
                self.sync()
                seconds.append(time.perf_counter() - began)
        found: Result = {"ms": 1000 * statistics.median(seconds)}
        if cuda:
            found["peak_mib"] = torch.cuda.max_memory_allocated(self.device) / 2**20
        return found

    def with_share(self, found: Result, operations: float, precision: str = "fp32") -> Result:
        """Add how much of the measured throughput of matrix products was reached."""
        rate = operations / found["ms"] * 1000
        found["tflops"] = rate / 1e12
        if precision in self.peak:
            found["peak_share"] = rate / self.peak[precision]
        return found


def relative(got: Tensor, want: Tensor) -> float:
    """Largest difference as a share of the largest entry."""
    got, want = got.detach().float().cpu(), want.detach().float().cpu()
    return float((got - want).abs().max() / want.abs().max())


def generator(
    bench: Bench, learner: Learner, network: str, noise: Tensor | None = None
) -> PromptDiffusion:
    """Return prompt diffusion with random weights everywhere, so that it answers something."""
    made = PromptDiffusion(
        learner.spec, bench.shapes.embed, DiffusionConfig(network=network, nfe=NFE),  # type: ignore[arg-type]
        FitConfig(), seed=0,
    )  # fmt: skip
    noise = bench.numbers("weights", 10**6) if noise is None else noise
    with torch.no_grad():
        for parameter in made.network.parameters():
            size = parameter.numel()
            rows = noise.repeat(-(-size // len(noise)))[:size].view_as(parameter)
            parameter.add_(0.02 * rows)
        for name, buffer in made.normaliser.named_buffers():
            buffer.fill_(0.02 if name == "scale" else 1)
    return made.eval()


class Steps:
    """CoCoOp as the training loop sees it, on features that are there already."""

    def __init__(self, bench: Bench, batch: int, classes: int) -> None:
        self.learner, self.batch = bench.learner(bench.far), batch
        self.names = bench.classes(classes)
        count = 8 * batch
        self.images = ImageBatch(
            None, torch.arange(count) % classes, torch.arange(count),
            bench.numbers("features", count, bench.shapes.embed),
        ).to(bench.device)  # fmt: skip

    def parameters(self) -> Any:
        """Return the learnables."""
        return self.learner.parameters()

    def state(self) -> dict[str, Any]:
        """Do nothing: a measurement is not resumed."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Nothing was saved."""

    def loss(self, epoch: int, step: int) -> dict[str, Tensor]:
        """Return the loss of one batch."""
        start = step % 8 * self.batch
        return self.learner.loss(self.images.select(slice(start, start + self.batch)), self.names)

    def after_step(self, epoch: int, step: int) -> None:
        """No average follows."""

    def after_epoch(self, epoch: int) -> None:
        """No average follows."""


def problem(bench: Bench, count: int) -> Problem:
    """Return the overfitting of CoCoOp's prompts for ``count`` images."""
    learner = bench.learner(bench.far).requires_grad_(False)
    classes = bench.classes(bench.shapes.classes[0])
    features = bench.numbers("overfit", count, bench.shapes.embed).to(bench.device)
    labels = (torch.arange(count) % len(classes)).to(bench.device)
    with torch.no_grad():
        own = learner.spec.pack(learner.prompts(features))

    def logits(flat: Tensor, index: Tensor, some: Tensor | None = None, /) -> Tensor:
        images = ImageBatch(None, None, index, features[index])
        return learner.logits(images, classes, learner.spec.unpack(flat))

    return Problem(logits=logits, initial=own, labels=labels)
