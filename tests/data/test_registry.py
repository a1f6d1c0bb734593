"""A user's own names for data sets: kept in one file, known wherever data is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffuprompt.data.catalog import names
from diffuprompt.data.registry import (
    VARIABLE,
    Registered,
    forget,
    name_problem,
    register,
    registered,
    registry_file,
)
from diffuprompt.data.sources import open_dataset
from diffuprompt.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "settings"))
    return tmp_path / "settings"


def birds(root: Path) -> Path:
    for name in ("owl", "wren"):
        (root / name).mkdir(parents=True)
        for i in range(3):
            (root / name / f"{i}.png").write_bytes(b"x")
    return root


def test_a_name_opens_what_it_stands_for(tmp_path: Path, settings: Path) -> None:
    assert registered() == {}
    entry = Registered(path=str(birds(tmp_path / 'odd "name" é')))
    assert register("my-birds", entry) == settings / "datasets.toml" == registry_file()
    register("other", Registered(path="x", data_root=tmp_path, allow_outside=True))
    assert registered()["my-birds"] == entry
    assert registered()["other"] == Registered(path="x", data_root=tmp_path, allow_outside=True)
    manifest = open_dataset("my-birds")
    assert manifest.name == "my-birds"
    assert manifest.hash == open_dataset(entry.path).hash
    with pytest.raises(DataError, match=r"other, a name in .*datasets\.toml: x: neither a path"):
        open_dataset("other")
    with pytest.raises(DataError, match="Did you mean 'my-birds'"):
        open_dataset("my-bird")
    forget("my-birds")
    assert list(registered()) == ["other"]


def test_settings_lie_where_the_system_wants_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert registry_file() == tmp_path / "diffuprompt" / "datasets.toml"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert registry_file() == tmp_path / "home" / ".config" / "diffuprompt" / "datasets.toml"


@pytest.mark.parametrize("name", ["", "a b", "../x", "hf:x", "x" * 65, "-x", "birds.csv", "ü"])
def test_names_that_are_none(name: str) -> None:
    assert "is no name" in name_problem(name, names())


def test_names_of_the_catalog_are_taken() -> None:
    assert "is 'oxford_pets' of the catalog" in name_problem("OxfordPets", names())
    assert name_problem("pets", names()) == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[birds]\n", "expected a table with a path"),
        ("birds = 3\n", "expected a table with a path"),
        ('[birds]\npath = "x"\nroot = "y"\n', "unknown keys or wrong values: root"),
        ('[birds]\npath = 3\n["a b"]\npath = "x"\n', r"2 problem(.|\n)*\[a b\]: no name"),
        ("[birds\n", "not valid TOML"),
    ],
)
def test_files_that_are_not_ours(text: str, message: str, settings: Path) -> None:
    settings.mkdir()
    (settings / "datasets.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        open_dataset("birds")
