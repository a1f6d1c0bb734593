"""Sentences about classes, written by a language model, that CoPrompt is trained with.

They come as one JSON file per data set, class name -> list of sentences, in the folder
``coprompt-gpt`` (or ``gpt_file``) beside the data sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diffuprompt.data.catalog import catalog_name
from diffuprompt.data.class_names import prompt_name
from diffuprompt.data.locate import data_folders
from diffuprompt.errors import ConfigError, DataError
from diffuprompt.reading import read_json

PLACES = ("coprompt-gpt/gpt_file", "coprompt-gpt", "gpt_file")
FILES = {
    "caltech101": "caltech_prompt.json",
    "dtd": "dtd_prompt.json",
    "eurosat": "eurosat_prompt.json",
    "fgvc_aircraft": "fgvc_prompt.json",
    "food101": "food101_prompt.json",
    "imagenet": "imagenet_prompt.json",
    "oxford_flowers": "oxford_flowers_prompt.json",
    "oxford_pets": "oxford_pets_prompt.json",
    "stanford_cars": "stanford_cars_prompt.json",
    "sun397": "sun397_prompt.json",
    "ucf101": "ucf101_prompt.json",
}
Sentences = dict[str, tuple[str, ...]]


def find_sentences(
    dataset: str, classes: Sequence[str], *, root: Path | None = None, required: bool = False
) -> Sentences:
    """Return the sentences of every class, empty where there is no file for this data set.

    Args:
        dataset: name of a data set; see `catalog_name`.
        classes: every class must have sentences, each the same number.
        root: folder of the data sets; see `locate.data_folders`.
        required: raise instead of returning nothing.

    Raises:
        ConfigError: ``required``, and there is no file.
        DataError: the file does not have what it should.
    """
    name = FILES.get(catalog_name(dataset))
    places = [] if name is None else [f / p / name for f in data_folders(root) for p in PLACES]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        if not required:
            return {}
        have = ", ".join(FILES)
        looked = "; looked at " + ", ".join(map(str, places)) if places else ""
        raise ConfigError(
            f"learner.sentences: there are no sentences of a language model for {dataset!r}{looked}"
            f"; they exist for {have}. Use --set sentences=templates"
        )
    return read_sentences(path, classes)


def read_sentences(path: Path, classes: Sequence[str]) -> Sentences:
    """Read one file; see `find_sentences`."""
    raw = read_json(path, error=DataError)
    if not isinstance(raw, dict):
        raise DataError(f"{path}: expected class name -> list of sentences")
    found = {prompt_name(str(key)): value for key, value in raw.items()}
    missing = [name for name in classes if prompt_name(name) not in found]
    if missing:
        raise DataError(f"{path}: no sentences for {len(missing)} classes: {missing[:10]}")
    out: Sentences = {}
    for name in classes:
        texts = found[prompt_name(name)]
        if not isinstance(texts, list) or not all(isinstance(t, str) for t in texts) or not texts:
            raise DataError(f"{path}: {name!r}: expected a list of sentences")
        out[name] = tuple(texts)
    counts = sorted({len(texts) for texts in out.values()})
    if len(counts) > 1:
        raise DataError(f"{path}: classes have {counts} sentences, expected equally many")
    return out
