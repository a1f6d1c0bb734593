"""Published data sets in their authors' own layout: folders and lists, one family a file.

Loads no torch.
"""

from diffuprompt.data.official.aircraft import FILES as AIRCRAFT_FILES, read_aircraft
from diffuprompt.data.official.imagenet import ImageNetPlaces, read_imagenet, read_variant
from diffuprompt.data.official.lists import LISTS, OFFICIAL, read_lists
from diffuprompt.data.official.wordnet import FILE as NAMES_FILE

__all__ = [
    "AIRCRAFT_FILES",
    "LISTS",
    "NAMES_FILE",
    "OFFICIAL",
    "ImageNetPlaces",
    "read_aircraft",
    "read_imagenet",
    "read_lists",
    "read_variant",
]
