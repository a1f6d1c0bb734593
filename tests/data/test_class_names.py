"""One rule for class names, wherever they come from."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from diffuprompt.data import name_problems, read_names
from diffuprompt.data.class_names import prompt_name
from diffuprompt.errors import ConfigError


@pytest.mark.parametrize("name", ["cat", "snow leopard", "tench, Tinca tinca", "Grünfink", "猫"])
def test_names_people_use_are_taken(name: str) -> None:
    assert name_problems([name, "another"]) == []


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["cat", " _ "], "is empty"),
        (["c\u200bat"], "U+200B"),
        (["\u202ecat"], "U+202E"),
        (["a\nb"], "U+000A"),
        (["bad\udcff"], "U+DCFF"),
        (["x" * 301], "301 characters"),
        (["Sea_lion", "sea  lion"], "the same prompt text 'sea lion'"),
        ([unicodedata.normalize(f, "Grünfink") for f in ("NFC", "NFD")], "the same prompt text"),
    ],
)
def test_what_no_prompt_can_say_is_refused(names: list[str], said: str) -> None:
    (problem,) = name_problems(names)
    assert said in problem
    assert problem.isprintable()


def test_case_is_folded_as_the_tokenizer_does_it() -> None:
    assert prompt_name("STRASSE") != prompt_name("straße")
    assert name_problems(["Maße", "Masse"]) == []


def test_names_come_from_commas_or_one_a_line(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(b"\xef\xbb\xbftench, Tinca tinca\r\n\r\ngoldfish\r\n")
    assert read_names(f"@{path}") == ["tench, Tinca tinca", "goldfish"]
    assert read_names("cat, snow leopard") == ["cat", "snow leopard"]
    assert read_names("") == []


@pytest.mark.parametrize("text", ["cat,,dog", "cat,dog,Cat", "@nothing.txt", ","])
def test_wrong_lists_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--classes"):
        read_names(text)


def test_a_file_without_names_is_refused(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n\n")
    with pytest.raises(ConfigError, match=r"names\.txt"):
        read_names(f"@{tmp_path / 'names.txt'}")
