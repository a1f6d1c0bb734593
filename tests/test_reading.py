"""Whatever a text file holds, reading it ends in a value that can be used or in a named error."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from diffuprompt.errors import ConfigError, DataError
from diffuprompt.reading import MAX_DEPTH, parse_json, read_json, read_text, read_toml


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe{}", "not UTF-8 text"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "nested too deeply"),
        (b'{"a": NaN}', "not finite"),
        (b'{"a": 1e999}', "not finite"),
        (b"9" * 5000, "not valid JSON"),
        (b'"\\ud800"', "no valid Unicode"),
        (b'{"a": 1, "a": 2}', "'a' stands twice"),
        (b"{", "not valid JSON"),
        (b"", "not valid JSON"),
    ],
)
def test_a_json_file_that_cannot_be_used_is_refused_by_name(
    content: bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said) as raised:
        read_json(path, error=DataError)
    assert str(path) in str(raised.value)


def test_a_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(path) == [1]


def test_as_deep_as_is_allowed() -> None:
    deep = MAX_DEPTH - 1
    assert parse_json("[" * deep + "1" + "]" * deep, "text") is not None


def test_toml_nested_deeply_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "file.toml"
    for content in ("a = " + "[" * 100_000, "x = nan", ".".join("a" * 5000) + " = 1", "a = "):
        path.write_text(content)
        with pytest.raises(ConfigError, match=r"file\.toml"):
            read_toml(path, error=ConfigError)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_text(tmp_path / "nothing", error=DataError)
    with pytest.raises(DataError, match="cannot be read"):
        read_text(tmp_path, error=DataError)


@pytest.mark.parametrize(
    "text",
    [
        ".".join("a" * 100_000) + " = 1",
        "[" + ".".join("a" * 100_000) + "]",
        "[[ " + " . ".join("a" * 100_000) + "]]",
        "set = {" + ".".join("a" * 100_000) + " = 1}",
        ".".join(['"a"'] * 50_000) + " = 1",
        "# a comment\n" + ".".join(["'a b'"] * 50_000) + " = 1",
        "a = " + "[" * 100_000 + "]" * 100_000,
        "a = " + "{a=" * 100_000 + "1" + "}" * 100_000,
        "# " + "x" * 2**20,
    ],
)
def test_a_toml_file_of_any_depth_or_size_is_answered_at_once(text: str, tmp_path: Path) -> None:
    """A key of 100,000 parts took tomllib more than two minutes."""
    path = tmp_path / "file.toml"
    path.write_text(text)
    start = time.monotonic()
    with pytest.raises(ConfigError, match=r"file\.toml: ") as raised:
        read_toml(path, error=ConfigError)
    assert time.monotonic() - start < 5
    assert len(str(raised.value)) < 300


def test_dots_in_a_toml_text_are_no_depth(tmp_path: Path) -> None:
    path = tmp_path / "file.toml"
    path.write_text(f'a.b.c = "{"x." * 200}"\n[d."e.f"]\ng = [{"1.5, " * 200}]\n')
    assert read_toml(path)["a"]["b"]["c"] == "x." * 200
