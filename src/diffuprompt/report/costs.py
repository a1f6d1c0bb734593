"""What a method costs, from its records: training, memory, and milliseconds per image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from diffuprompt.record import Record, Score, Variant
from diffuprompt.report.names import OWN

SCORING = "evaluate"  # the stage of a record that is not training
CPU = "CPU"


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Means over the seeds of one device; None where the records do not say.

    Seconds of several devices have no mean, so these are of the one that most seeds ran on.

    Attributes:
        train_s: wall seconds of training: the learner, and where there is one the generator with
            the overfitting before it.
        overfit_s: the share of overfitting in it.
        generate_ms: making the prompts of an image.
        classify_ms: scoring an image with its prompts.
        judge_ms: judging its names by the prompts that they would ask for, where that was done.
        peak_mib: the largest memory that the job held, training and scoring.
        own_rate: images per second with the learner's own prompts, from the time before
            milliseconds were measured for each way of making prompts.
        timed_on: the device, in words; "" where the records do not say.
    """

    train_s: float | None = None
    overfit_s: float | None = None
    generate_ms: float | None = None
    classify_ms: float | None = None
    judge_ms: float | None = None
    peak_mib: float | None = None
    own_rate: float | None = None
    timed_on: str = ""

    @property
    def images_per_second(self) -> float | None:
        """Images per second, prompts included and prompt-free image features excluded."""
        if not self.classify_ms:
            return self.own_rate
        return 1000 / (self.classify_ms + (self.generate_ms or 0.0) + (self.judge_ms or 0.0))


def mean_costs(records: Sequence[Record], variant: Variant) -> Costs:
    """Return what one way of making prompts cost in some jobs of equal kind.

    Milliseconds are of the job's own test set.
    """
    device, records = one_device(records)
    scores = [
        [s for s in r.scores if (s.variant, s.dataset) == (variant, r.job.dataset)] for r in records
    ]
    own = variant == OWN
    rate = mean_known(r.statistics.get("images_per_second") for r in records)
    return Costs(
        train_s=mean_known(
            sum(t for stage, t in r.seconds.items() if stage == "learner" or not own)
            - (0 if own else r.seconds.get(SCORING, 0.0))
            for r in records
        ),
        overfit_s=mean_known(r.seconds.get("overfit") for r in records),
        generate_ms=mean_known(_milliseconds(s, "generate_ms") for s in scores),
        classify_ms=mean_known(_milliseconds(s, "classify_ms") for s in scores),
        judge_ms=mean_known(_milliseconds(s, "judge_ms") for s in scores),
        peak_mib=mean_known(r.statistics.get("peak_memory_mib") for r in records),
        own_rate=rate if own else None,
        timed_on=device,
    )


def one_device(records: Sequence[Record]) -> tuple[str, list[Record]]:
    """Return the device that most records come from, in words, and those records.

    Of two that are level it is the processor.
    """
    places = [device_in_words(record.environment.get("device", "")) for record in records]
    usual = usual_device(places)
    return usual, [record for record, at in zip(records, places, strict=True) if at == usual]


def timed_on(costs: Iterable[tuple[str, Costs]]) -> str:
    """Return a sentence about where costs were measured; "" where that is the processor alone.

    Args:
        costs: names and what they cost; those without a time do not count.
    """
    places: dict[str, list[str]] = {}
    for name, of in costs:
        if of.train_s is not None and of.timed_on and name not in places.get(of.timed_on, ()):
            places.setdefault(of.timed_on, []).append(name)
    usual = usual_device([place for place, names in places.items() for _ in names])
    told = [f"on {place}: {', '.join(places[place])}" for place in places if place != usual]
    return f"Timed on {'; '.join([usual, *told])}." if told or usual not in ("", CPU) else ""


def device_in_words(device: str) -> str:
    """Return what a person calls the device of a record."""
    return CPU if device == "cpu" else device


def usual_device(places: Sequence[str]) -> str:
    """Return the commonest of some devices; of two that are level the processor. "" for none."""
    counts = Counter(places)
    return max(counts, key=lambda place: (counts[place], place == CPU), default="")


def _milliseconds(scores: Sequence[Score], name: str) -> float | None:
    """Return the mean over all images of a record's subsets."""
    if not scores or any(name not in s.timings for s in scores):
        return None
    return sum(s.timings[name] * s.total for s in scores) / sum(s.total for s in scores)


def mean_known(values: Iterable[float | None]) -> float | None:
    """Return the mean of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
