"""CoPrompt (Roy and Etemad 2024, ICLR, arXiv 2306.01195).

The authors' code sets J, M, lambda (and once the epochs) for every data set, over its own
configuration file and the command line; the paper gives one setting. That one is "base-to-new"; the
table is kept as recipes of its own, named after the data sets, and never chosen by itself.
"""

from __future__ import annotations

from dataclasses import replace

from diffuprompt.learners.legacy_keys import ADAPTERS, COUPLED
from diffuprompt.learners.method import PAPER, Method, Preset, TrainConfig
from diffuprompt.learners.prompt_options import PromptOptions

_TRAIN = TrainConfig(epochs=8, batch=4, lr=3.5e-3, augment="randaugment")
# data set: J, M, lambda, epochs, and the published base, new, H
_TUNED: dict[str, tuple[int, int, float, int, tuple[float, float, float]]] = {
    "imagenet": (12, 4, 8.0, 8, (77.67, 71.27, 74.33)),
    "caltech101": (12, 4, 4.0, 8, (98.27, 94.90, 96.55)),
    "oxford_pets": (12, 2, 0.1, 8, (95.67, 98.10, 96.87)),
    "stanford_cars": (12, 4, 4.0, 8, (76.97, 74.40, 75.66)),
    "oxford_flowers": (9, 4, 8.0, 8, (97.27, 76.60, 85.71)),
    "food101": (9, 4, 0.5, 5, (90.73, 92.07, 91.40)),
    "fgvc_aircraft": (9, 4, 2.0, 8, (40.20, 39.33, 39.76)),
    "sun397": (12, 4, 8.0, 8, (82.63, 80.03, 81.31)),
    "dtd": (12, 2, 8.0, 8, (83.13, 64.73, 72.79)),
    "eurosat": (12, 2, 0.1, 8, (94.60, 78.57, 85.84)),
    "ucf101": (12, 4, 2.0, 8, (86.90, 79.57, 83.07)),
}
_BASE = Preset(
    learner="coprompt",
    name="base-to-new",
    train=_TRAIN,
    source="arXiv 2306.01195 (the averages are of the settings tuned-*)",
    published={"base": 84.00, "new": 77.23, "H": 80.48},
)

METHOD = Method(
    name="coprompt",
    title="CoPrompt",
    about="Coupled deep prompts and adapters kept consistent with frozen CLIP on another view.",
    options=PromptOptions(
        prompts="coupled",
        num_ctx=4,
        depth=12,
        image_adapter=0.1,
        text_adapter=0.2,
        consistency=8.0,
    ),
    presets=(
        _BASE,
        _BASE.named(
            "cross-dataset",
            source="arXiv 2306.01195; the authors released no recipe: ImageNet's",
            published={"source": 70.80, "mean": 67.00},
        ),
        _BASE.named(
            "domain",
            source="arXiv 2306.01195; the authors released no recipe: ImageNet's",
            published={"source": 70.80, "mean": 60.42},
        ),
        *(
            Preset(
                learner="coprompt",
                name=f"tuned-{dataset}",
                train=replace(_TRAIN, epochs=epochs),
                options={"depth": depth, "num_ctx": length, "consistency": weight},
                source="github.com/ShuvenduRoy/CoPrompt, the override for this data set",
                published=dict(zip(("base", "new", "H"), numbers, strict=True)),
            )
            for dataset, (depth, length, weight, epochs, numbers) in _TUNED.items()
        ),
        Preset(
            learner="coprompt",
            name="paper",
            train=replace(PAPER, augment="randaugment"),
            options={"num_ctx": 2, "depth": 9},
            source="arXiv 2410.20164, section 5.1; views and weights are arXiv 2306.01195's",
        ),
        Preset(
            learner="coprompt",
            name="lite",
            train=replace(_TRAIN, lr=1e-2, views=8),
            options={"depth": 3},
            source="for small towers; python -m tools.choose_recipes",
        ),
    ),
    legacy=(*COUPLED, *ADAPTERS),
)
