"""The hooks before a commit run what CI's checks of the source run, no more and no less."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parents[1]
TARGETS = ("lint", "types", "layers")


def recipe(makefile: str, target: str) -> list[str]:
    """Return the commands of one target, with the Makefile's variables filled in."""
    variables = dict(re.findall(r"^(\w+) [:?]?= *(.*)$", makefile, re.MULTILINE))
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert found is not None, f"the Makefile has no target {target}"
    text = found[1]
    while "$(" in text:
        text = re.sub(r"\$\((\w+)\)", lambda name: variables[name[1]], text)
    return [line.strip() for line in text.splitlines()]


def test_hooks_run_what_the_makefile_runs() -> None:
    makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    checks = [command for target in TARGETS for command in recipe(makefile, target)]
    config = yaml.safe_load((CHECKOUT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert [hook["entry"] for hook in hooks] == checks
    for hook in hooks:
        assert hook["language"] == "system", "the tools of .venv, not versions of their own"
        assert hook["always_run"], "as CI, whatever has changed"
        assert not hook["pass_filenames"], "as CI, the whole tree"


def test_make_test_runs_them_too() -> None:
    makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    rule = re.search(r"^test:(.*)\n\t@\$\(MAKE\) (.*)$", makefile, re.MULTILINE)
    assert rule is not None
    before, beside = (set(words.split()) for words in rule.groups())
    assert {*TARGETS, "results-check", "tests"} <= before | beside
