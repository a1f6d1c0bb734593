"""Importing the package, its help and its reports loads no torch."""

import subprocess
import sys
from functools import cache

import grimp
import pytest

import diffuprompt


def loaded_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after ``code``."""
    tail = "; import sys; sys.stderr.write('MODULES ' + ' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code + tail], capture_output=True, text=True, check=True
    )
    return set(done.stderr.rpartition("MODULES ")[2].split())


@pytest.mark.parametrize(
    "code",
    [
        "import diffuprompt; diffuprompt.__version__",
        "from diffuprompt.cli.main import main; assert main(['--help']) == 0",
        "from diffuprompt.cli.main import main; assert main(['train', '--help']) == 0",
        "from diffuprompt.cli.main import main; assert main(['predict', '--help']) == 0",
        "import diffuprompt.report, diffuprompt.record",
    ],
)
def test_no_torch(code):
    modules = loaded_after(code)
    assert "diffuprompt" in modules
    assert not modules & {"torch", "transformers", "diffusers", "accelerate", "matplotlib"}


def test_a_backbone_and_an_initial_network_load_torch_and_not_its_compiler():
    """The compiler takes as long as all of torch, and whoever only predicts needs none."""
    code = (
        "from diffuprompt.checkpoints import load_clip; load_clip('scenes-clip')\n"
        "import torch; from diffuprompt.grounding.masks.initial import built\n"
        "built(lambda: torch.nn.Linear(2, 2), torch.Generator())"
    )
    modules = loaded_after(code)
    assert "torch" in modules, "the check above sees torch"
    assert "torch._dynamo" not in modules


def test_exports_load_on_first_use():
    from diffuprompt.prompts import PromptSpec

    assert diffuprompt.PromptSpec is PromptSpec
    assert set(diffuprompt.__all__) <= set(dir(diffuprompt))


@pytest.mark.parametrize("name", diffuprompt.__all__)
def test_every_export_exists(name):
    assert getattr(diffuprompt, name) is not None


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="Clasifier"):
        diffuprompt.Clasifier  # noqa: B018


@cache
def every_import():
    return grimp.build_graph("diffuprompt", exclude_type_checking_imports=False)


@pytest.mark.parametrize("room", ["clip", "generators", "hub", "jobs", "learners", "stages"])
def test_no_circles(room):
    """Imports that only types need count too: a file can be read from top to bottom."""
    graph = every_import()
    circles = [
        f"{importer} <-> {imported}"
        for importer in sorted(graph.modules)
        if importer.startswith(f"diffuprompt.{room}.")
        for imported in graph.find_modules_directly_imported_by(importer)
        if graph.chain_exists(importer=imported, imported=importer)
    ]
    assert not circles
