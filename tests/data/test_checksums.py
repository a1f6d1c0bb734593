"""Checksums as ``sha256sum`` writes and reads them."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from diffuprompt.data.checksums import compare, read_checksums, write_checksums
from diffuprompt.data.manifest import Item, Manifest
from diffuprompt.data.problems import verify
from diffuprompt.errors import DataError

ODD = "back\\slash\nline.png"


def pictures(root: Path) -> Manifest:
    items = []
    for label, path in enumerate(("a/1.png", f"b/{ODD}")):
        (root / path).parent.mkdir(parents=True)
        Image.new("RGB", (4, 4), (label, 0, 0)).save(root / path)
        items.append(Item(path, label))
    return Manifest("two", root, ("ant", "bee"), {"train": tuple(items)})


def test_what_is_written_is_what_the_files_hold(tmp_path: Path) -> None:
    manifest, digests = pictures(tmp_path / "data"), dict[str, str]()
    verify(manifest, digests=digests)
    for path, digest in digests.items():
        assert hashlib.sha256((manifest.root / path).read_bytes()).hexdigest() == digest
    assert set(digests) == {"a/1.png", f"b/{ODD}"}
    write_checksums(tmp_path / "sums", digests)
    assert read_checksums(tmp_path / "sums") == digests
    if shutil.which("sha256sum"):
        check = ["sha256sum", "--check", "--strict", str(tmp_path / "sums")]
        subprocess.run(check, cwd=manifest.root, check=True, capture_output=True)


def test_differences_are_named(tmp_path: Path) -> None:
    manifest = pictures(tmp_path)
    now = {"a/1.png": "1" * 64, f"b/{ODD}": "2" * 64}
    assert compare(manifest, now, now) == []
    found = compare(manifest, {"a/1.png": "3" * 64, "gone.png": "4" * 64}, now)
    assert [(p.path, p.severity) for p in found] == [
        (str(tmp_path / "a/1.png"), "error"),
        (str(tmp_path / f"b/{ODD}"), "warning"),
        (str(tmp_path / "gone.png"), "error"),
    ]
    # of a picture that cannot be read, verify says so itself
    assert compare(manifest, now, {"a/1.png": "1" * 64}) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no line in it"),
        ("abc  a.png\n", "line 1: expected 64 hex digits"),
        (f"{'1' * 64}  a\n{'2' * 64}  a\n", "line 2: 'a' has another checksum above"),
    ],
)
def test_files_that_hold_no_checksums(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "sums").write_text(text)
    with pytest.raises(DataError, match=message):
        read_checksums(tmp_path / "sums")
