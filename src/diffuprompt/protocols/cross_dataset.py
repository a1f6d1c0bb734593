"""Cross-dataset transfer (CoCoOp, arXiv 2203.05557, section 4.2).

Train on all classes of one data set; test it, and other data sets among their own names.
"""

from __future__ import annotations

from diffuprompt.protocols import few_shot
from diffuprompt.protocols.protocol import Layout, Protocol

TARGETS = (  # in the order of the published table
    "caltech101",
    "oxford_pets",
    "stanford_cars",
    "oxford_flowers",
    "food101",
    "fgvc_aircraft",
    "sun397",
    "dtd",
    "eurosat",
    "ucf101",
)

PROTOCOL = Protocol(
    name="cross-dataset",
    about="all classes, then other data sets (--test-data) among their own names",
    source="arXiv 2203.05557",
    roles=few_shot.roles,
    layout=Layout(own=("all",), targets=True),
    scope="other names",
    defaults={"imagenet": TARGETS},
)
