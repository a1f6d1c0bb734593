"""Domain generalization (CoOp, arXiv 2109.01134, section 4.2): other pictures, the same classes.

Train on all classes of one data set, or of some domains; test held-out pictures of those, and every
picture of other domains. A target may have some of the classes alone, as ImageNet-A and -R have 200
of ImageNet's: its pictures are scored among its own names, as the community does.
"""

from __future__ import annotations

from diffuprompt.protocols import few_shot
from diffuprompt.protocols.protocol import Layout, Protocol

PROTOCOL = Protocol(
    name="domain",
    about="all classes, then other pictures of them (--test-data, or the other domains)",
    source="arXiv 2109.01134",
    roles=few_shot.roles,
    layout=Layout(own=("all",), targets=True),
    scope="same names",
    defaults={
        "imagenet": ("imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r"),
        "scenes": ("scenes-sketch", "scenes-noisy", "scenes-inverted", "scenes-painted"),
    },
)
