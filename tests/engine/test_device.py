"""Devices are picked by name, and the note about the machine gives nobody away."""

import getpass
import platform
import subprocess
from pathlib import Path

import pytest
import torch

from diffuprompt.engine import device
from diffuprompt.errors import ConfigError


def test_pick():
    assert device.pick("cpu") == torch.device("cpu")
    assert device.pick("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", ""])
def test_what_is_not_there_is_refused(name):
    with pytest.raises(ConfigError, match="device"):
        device.pick(name)


def test_environment_is_complete_and_impersonal():
    found = device.environment()
    names = "python platform processor cores torch threads device diffuprompt commit"
    assert set(found) == set(names.split())
    assert all(isinstance(value, str) and value for value in found.values())
    assert found["torch"] == torch.__version__
    assert int(found["cores"]) >= 1
    text = " ".join(found.values())
    assert str(Path.home()) not in text
    assert platform.node() not in text.split()
    assert getpass.getuser() not in text.split()


def test_commit_belongs_to_the_package_only(tmp_path):
    def git(*args):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *args],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout.strip()

    git("init", "-q")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-qm", "first")
    head = git("rev-parse", "HEAD")
    assert device._commit(tmp_path) == head
    (tmp_path / "a").write_text("2")
    assert device._commit(tmp_path) == f"{head}-dirty"
    inside = tmp_path / "lib"
    inside.mkdir()
    assert device._commit(inside) == "none"


def test_peak_memory_sees_an_allocation():
    before = device.peak_memory_mib()
    block = torch.ones(int(before + 64) * 2**18)  # more than the peak so far, by 64 MiB
    assert device.peak_memory_mib() > before + 32
    del block
