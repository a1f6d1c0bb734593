"""The device benchmark's small form runs anywhere, and leaves what it has when it is cut off."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmarks import device, device_bench, device_sections
from tests.accelerator import DEVICE, accelerator

ROOT = Path(__file__).parents[2]
# what a machine with torch may lack; the script must do without
LACKING = ("tokenizers", "pydantic", "tyro", "rich", "filelock", "accelerate", "zuko")


def test_the_small_form_measures_everything(tmp_path, capsys, monkeypatch):
    out = tmp_path / "device.json"
    monkeypatch.setattr(sys, "argv", ["device", "--device", "cpu", "--json", "--out", str(out)])
    device.main()
    shown = json.loads(capsys.readouterr().out)
    assert shown == json.loads(out.read_text())
    assert set(shown["sections"]) == set(device.SECTIONS)
    assert shown["small"] is True
    assert shown["failed"] == shown["skipped"] == {}
    assert {"torch", "device", "commit"} <= set(shown["environment"])
    assert shown["sections"]["parity"]["equal"] is True
    for classes in ("6 classes", "12 classes"):
        rows = shown["sections"]["text_path"][classes]
        tokens = [rows[path]["tokens_per_sample"] for path in ("plain", "truncated", "fast")]
        assert tokens == sorted(tokens, reverse=True)
        assert all(rows[p]["train"]["peak_share"] > 0 for p in (*device_bench.PATHS, "fast_bf16"))
    assert "sections / parity / equal" in device.table(shown)


def test_on_an_accelerator_it_is_equal_to_the_cpu():
    with accelerator():
        found = device_sections.parity(device_bench.Bench(DEVICE, small=True))
    assert found["equal"] is True
    assert 0 < found["sample_small"] < device_sections.SAMPLES


def test_sections_without_time_are_named_and_failures_end_no_other(tmp_path, monkeypatch):
    def broken(bench: object) -> dict[str, object]:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(device_bench, "shapes", lambda small, real=device_bench.shapes: real(True))
    monkeypatch.setattr(
        device, "SECTIONS", {"a": (0, broken), "b": (1, lambda b: {"x": 1}), "c": (1e6, broken)}
    )
    out = tmp_path / "found.json"
    got = device.run(torch.device("cpu"), small=False, minutes=1.0, out=out)
    assert got["failed"] == {"a": "RuntimeError: out of memory"}
    assert got["sections"] == {"b": {"x": 1}}
    assert list(got["skipped"]) == ["c"]
    assert json.loads(out.read_text())["sections"] == {"b": {"x": 1}}


@pytest.mark.parametrize("path", device_bench.PATHS)
def test_products_are_those_of_the_layers(path):
    """Against the hooks of the linear maps themselves, attention aside."""
    bench = device_bench.Bench(torch.device("cpu"), small=True)
    tokens = bench.learner(bench.near).tokens(bench.classes(6))
    counted = [0]

    def note(layer, inputs, output):
        counted[0] += output.numel() * layer.in_features

    linears = [m for m in bench.near.text.modules() if isinstance(m, torch.nn.Linear)]
    for layer in linears:
        layer.register_forward_hook(note)
    prompts = {0: torch.zeros(1, 1, 4, bench.shapes.text.width)}
    with torch.no_grad():
        bench.near.text(tokens, prompts, device_sections.TextPlan(path=path))
    shape = bench.shapes
    want = device_sections.text_products(tokens, shape.text, shape.embed, path)["linear"]
    if path == "fast":  # its last layer projects by hand
        packing, width = tokens.packing, shape.text.width
        counted[0] += (packing.num_tokens * 2 + len(tokens)) * width * width
    assert counted[0] == want


def test_nothing_is_imported_that_a_machine_with_torch_may_lack():
    code = f"""
import sys
class Lacking:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {LACKING!r}:
            raise ImportError(name)
sys.meta_path.insert(0, Lacking())
import benchmarks.device
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
