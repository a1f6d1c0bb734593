"""Sentences of a language model: found by data set, complete, or a clear error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diffuprompt.data.sentences import FILES, find_sentences, read_sentences
from diffuprompt.errors import ConfigError, DataError

NAMES = ("Apply_Eye_Makeup", "archery")


def write(folder: Path, content: object, name: str = "ucf101_prompt.json") -> Path:
    place = folder / "coprompt-gpt" / "gpt_file"
    place.mkdir(parents=True, exist_ok=True)
    (place / name).write_text(json.dumps(content))
    return place / name


def test_names_match_as_prompts_do(tmp_path: Path) -> None:
    write(tmp_path, {"Archery": ["b", "c"], "Apply Eye Makeup": ["d", "e"], "more": ["f"]})
    found = find_sentences("ucf101", NAMES, root=tmp_path)
    assert found == {"Apply_Eye_Makeup": ("d", "e"), "archery": ("b", "c")}


def test_the_authors_own_lists_have_the_sentences_of_their_data_set(tmp_path: Path) -> None:
    write(tmp_path, {"archery": ["a"]})
    assert find_sentences("ucf101-official", ["archery"], root=tmp_path) == {"archery": ("a",)}
    assert find_sentences("scenes-official", ["archery"], root=tmp_path) == {}


def test_without_a_file_there_are_none_unless_they_are_required(tmp_path: Path) -> None:
    assert find_sentences("ucf101", NAMES, root=tmp_path) == {}
    assert find_sentences("scenes", NAMES, root=tmp_path) == {}
    with pytest.raises(ConfigError, match=r"learner\.sentences: .*'scenes'.*sentences=templates"):
        find_sentences("scenes", NAMES, root=tmp_path, required=True)
    with pytest.raises(ConfigError, match=r"looked at .*ucf101_prompt\.json"):
        find_sentences("ucf101", NAMES, root=tmp_path, required=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (["a"], "expected class name"),
        ({"archery": ["a"]}, r"no sentences for 1 classes: \['Apply_Eye_Makeup'\]"),
        ({"archery": ["a"], "apply eye makeup": ["a", "b"]}, r"have \[1, 2\] sentences"),
        ({"archery": "a", "apply eye makeup": ["a"]}, "'archery': expected a list of sentences"),
        ({"archery": [], "apply eye makeup": []}, "expected a list of sentences"),
    ],
)
def test_incomplete_files_are_refused(content: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_sentences(write(tmp_path, content), NAMES)


def test_published_files_cover_their_class_lists(shared_data: Path) -> None:
    for dataset, split in (("caltech101", "Caltech101"), ("dtd", "DescribableTextures")):
        path = shared_data / "coop-splits" / f"split_zhou_{split}.json"
        names = sorted({row[2] for row in json.loads(path.read_text())["train"]})
        found = find_sentences(dataset, names, root=shared_data)
        assert {len(texts) for texts in found.values()} == {50}
        assert len(found) == len(names)
    there = {p.name for p in (shared_data / "coprompt-gpt" / "gpt_file").glob("*.json")}
    assert there <= set(FILES.values())
