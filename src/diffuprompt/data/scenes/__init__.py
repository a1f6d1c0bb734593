"""The scenes world: small synthetic pictures with captions, boxes, masks and expressions."""

from diffuprompt.data.scenes.attributes import (
    COLOURS,
    FILLS,
    SHAPES,
    SIZES,
    STYLES,
    Look,
    Style,
    held_out,
)
from diffuprompt.data.scenes.backgrounds import Background
from diffuprompt.data.scenes.captions import caption
from diffuprompt.data.scenes.dataset import CLASSES, materialise
from diffuprompt.data.scenes.referring import (
    EXTREMES,
    Query,
    Reference,
    matches,
    references,
    refers_to,
)
from diffuprompt.data.scenes.world import Scene, SceneObject, compose, random_look, scene, single

__all__ = [
    "CLASSES",
    "COLOURS",
    "EXTREMES",
    "FILLS",
    "SHAPES",
    "SIZES",
    "STYLES",
    "Background",
    "Look",
    "Query",
    "Reference",
    "Scene",
    "SceneObject",
    "Style",
    "caption",
    "compose",
    "held_out",
    "matches",
    "materialise",
    "random_look",
    "references",
    "refers_to",
    "scene",
    "single",
]
