"""Nobody but a learner or generator itself knows its name: others ask the registries.

Text that equals a name is looked for in every module, docstrings and help texts aside.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import diffuprompt
from diffuprompt.generators.kinds import KINDS
from diffuprompt.learners.methods import METHODS

SOURCE = Path(diffuprompt.__file__).parent
NAMES = {*METHODS, *KINDS}

# Where names are at home: paths or their beginnings, relative to the package.
AT_HOME = (
    "learners/methods/",
    "generators/config.py",  # choices of diffusion's settings
    "generators/kinds.py",  # the registry of generators
    "generators/settings.py",  # settings of single generators
    "grounding/",  # namesakes that adapt a detector, and a Mask-VAE
    "jobs/grounding/",
    "stages/grounding/",
    "studies/",  # a paper's learners are what a study is about
    "cli/demo.py",
)
# The words that mean something else there: path -> words.
OTHER_MEANINGS = {
    "checkpoints/keys.py": {"transformer"},  # a part of the names of CLIP's weights
    "jobs/upgrade.py": {"diffusion"},  # a section of stored configurations
    "diffusion/parametrisation.py": {"flow"},  # the velocity that a network predicts
    "diffusion/targets.py": {"flow"},
}
# One name in one place: path -> the default of the command line.
DEFAULTS = {"cli/train.py": {"coop"}}


def own_names(path: str) -> set[str]:
    """Return the generators whose class is in a file."""
    module = "diffuprompt." + path.removesuffix(".py").replace("/", ".")
    return {name for name, kind in KINDS.items() if kind.generator.startswith(f"{module}:")}


def texts(tree: ast.AST) -> Iterator[ast.Constant]:
    """Yield the texts of a module that stand for a value: a docstring is a statement of its own."""
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Constant) and not isinstance(node, ast.Expr):
                yield child


def strangers(path: str, source: str) -> list[str]:
    """Return "path:line: name" for every name of a learner or generator that is not at home."""
    if path.startswith(AT_HOME):
        return []
    allowed = own_names(path) | OTHER_MEANINGS.get(path, set()) | DEFAULTS.get(path, set())
    return [
        f"{path}:{text.lineno}: {text.value!r}"
        for text in texts(ast.parse(source))
        if text.value in NAMES - allowed
    ]


def test_no_name_is_known_outside_its_home() -> None:
    found = [
        place
        for file in sorted(SOURCE.rglob("*.py"))
        for place in strangers(file.relative_to(SOURCE).as_posix(), file.read_text("utf-8"))
    ]
    assert not found, "ask METHODS or KINDS instead of naming one:\n  " + "\n  ".join(found)


def test_the_check_sees_names_wherever_they_stand() -> None:
    source = '''
"""coop"""
LIST = ("maple", "maples")
def f(x="vae"):
    """cocoop"""
    "flow"
    return {"gan": x} if x == "mlp" else f"{x}+diffusion"
'''
    found = strangers("jobs/new.py", source)
    assert sorted(found) == [
        "jobs/new.py:3: 'maple'",
        "jobs/new.py:4: 'vae'",
        "jobs/new.py:7: 'gan'",
        "jobs/new.py:7: 'mlp'",
    ]
    assert strangers("learners/methods/new.py", source) == []
    assert "'gan'" not in " ".join(strangers("generators/gan.py", source))


def test_what_is_excused_is_there() -> None:
    for path in (*AT_HOME, *OTHER_MEANINGS, *DEFAULTS):
        assert (SOURCE / path).exists(), f"{path} is gone; take it off the list"
