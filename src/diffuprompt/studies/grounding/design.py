"""What the grounding study is made of: worlds, rows, ablations and targets, as data.

A row is trained as ``method`` with ``settings`` over that method's defaults: "preset" names a whole
configuration, "masks" where the method's masks come from, "method.NAME" and "generator.NAME" are
fields of the configurations of stage 3 and of stage 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Group = Literal["frozen", "ours", "control", "rival"]
Setting = str | int | bool

SEEDS = (1, 2, 3)
LEAST_EXPRESSIONS = 2_000  # of a test set
FROZEN, OURS, REGRESSION, GLOBALS = "zero-shot", "diff-prompt", "regression", "globals"


@dataclass(frozen=True, kw_only=True)
class World:
    """A data set of the study; ``others`` are further test sets that its methods are scored on."""

    name: str
    title: str
    others: tuple[str, ...] = ()


STYLES = ("sketch", "noisy", "inverted", "painted")  # of scenes, as other domains
WORLDS = (
    World(
        name="scenes",
        title="Scenes",
        others=("scenes/held-out looks", *(f"scenes/{style}" for style in STYLES), "crowds"),
    ),
    World(name="crowds", title="Crowds"),
    World(name="collages", title="Collages"),
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of the main tables.

    Attributes:
        key: what records and the summary call it.
        title: what tables call it.
        group: what it is for.
        method: what is trained; "" for the key.
        settings: what is not the method's default.
        seeds: how many are asked for.
    """

    key: str
    title: str
    group: Group
    method: str = ""
    settings: Mapping[str, Setting] = field(default_factory=dict)
    seeds: int = len(SEEDS)


def _control(key: str, title: str, **settings: Setting) -> Entry:
    return Entry(
        key=key, title=title, group="control", method=OURS, settings={"masks": key, **settings}
    )


def _rival(key: str, title: str) -> Entry:
    return Entry(key=key, title=title, group="rival")


METHODS = (
    Entry(key=FROZEN, title="Zero-shot", group="frozen", seeds=1),
    Entry(key=OURS, title="Diff-Prompt", group="ours"),
    Entry(
        key="paper",
        title="Diff-Prompt as in the paper",
        group="ours",
        method=OURS,
        settings={"preset": "paper"},
        seeds=1,
    ),
    Entry(
        key="released",
        title="Diff-Prompt as released",
        group="ours",
        method=OURS,
        settings={"preset": "released"},
        seeds=1,
    ),
    _control("oracle", "true mask (uses the answer)"),
    _control(REGRESSION, "encoder's map, no diffusion"),
    _control("shuffled", "mask of another expression"),
    _control("noise", "noise masks"),
    Entry(
        key=GLOBALS,
        title="global prompts only",
        group="control",
        method=OURS,
        settings={"method.visual_specific": False, "method.text_specific": False},
    ),
    Entry(key="map-box", title="box of the map, no detector", group="control"),
    _control("mean-of-samples", "mean of several samples"),
    _control("independent", "mask generator trained by itself"),
    _rival("coop", "CoOp"),
    _rival("vpt", "VPT"),
    _rival("vfpt", "VFPT"),
    _rival("s-prompts", "S-Prompts"),
    _rival("maple", "MaPLe"),
    _rival("fedtpg", "FedTPG"),
    _rival("clip-adapter", "CLIP-Adapter"),
    _rival("tip-adapter", "Tip-Adapter"),
    _rival("meta-adapter", "Meta-Adapter"),
    _rival("mma", "MMA"),
    _rival("linear-probe", "Linear probe"),
    _rival("lora", "LoRA"),
    _rival("adapter-plus", "Adapter+"),
)


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """Diff-Prompt with one thing changed, one seed on one world.

    Attributes:
        setting: its name in records and in the summary.
        title: what the table calls it.
        group: heading of what is varied.
        settings: what is changed.
        world: where it is trained and tested.
    """

    setting: str
    title: str
    group: str
    settings: Mapping[str, Setting]
    world: str = "scenes"


def _varied(group: str, name: str, key: str, values: tuple[Setting, ...]) -> list[Ablation]:
    return [
        Ablation(
            setting=f"{name}={value}", title=f"{name} {value}", group=group, settings={key: value}
        )
        for value in values
    ]


def _without(name: str, *keys: str) -> Ablation:
    return Ablation(
        setting=f"without={name}",
        title=f"without {name} prompts",
        group="Parts",
        settings=dict.fromkeys(keys, False),
    )


ORDERS = {"clean": "clean_first", "noisy": "noisy_first", "all": "all"}
ABLATIONS = (
    *_varied("Depth", "depth", "method.depth", (1, 2, 4, 6)),
    *_varied("Length", "length", "method.length", (2, 4, 8)),
    _without("visual", "method.visual_specific", "method.visual_global"),
    _without("text", "method.text_specific", "method.text_global"),
    _without("global", "method.visual_global", "method.text_global"),
    *_varied("Steps of the generator", "nfe", "generator.nfe", (1, 2, 5, 25)),
    *(
        Ablation(
            setting=f"order={name}",
            title=f"order {name}",
            group="Order of the maps",
            settings={"method.order": value},
        )
        for name, value in ORDERS.items()
    ),
)
TRANSFERS = (
    Ablation(
        setting="generator=scenes",
        title="stages 1 and 2 from scenes, unchanged",
        group="Transfer",
        settings={"generator.world": "scenes"},
        world="crowds",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """At least this much of Diff-Prompt above another row.

    Attributes:
        measure: "r1", "r5" or "ub".
        above: the other row's key.
        points: per cent points, at least.
        worlds: where it is asked for.
    """

    measure: str
    above: str
    points: float
    worlds: tuple[str, ...] = tuple(world.name for world in WORLDS)


TARGETS = (  # beside: ahead of every rival at R@1 with intervals apart
    Target(measure="r1", above=FROZEN, points=8.9),
    Target(measure="r5", above=FROZEN, points=14.0, worlds=("crowds",)),
    Target(measure="ub", above=FROZEN, points=-0.5),
    Target(measure="r1", above=REGRESSION, points=0.0),
)
# All that is known of the paper's numbers: the largest gains over GLIP-T(A), RefCOCO testA.
PUBLISHED = {"r1": 8.87, "r5": 14.05}
MEASURE_NAMES = {
    "r1": "R@1", "r5": "R@5", "r10": "R@10", "ub": "UB", "giou_r1": "R@1 (GIoU)",
    "mask_iou": "Mask IoU",
}  # fmt: skip
