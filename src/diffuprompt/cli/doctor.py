"""`diffuprompt doctor`: look at this machine, and say what to do about what is missing."""

from __future__ import annotations

import importlib
import os
import platform
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from diffuprompt.errors import CheckpointError, DiffupromptError

EXAMPLES = """
diffuprompt doctor
"""
CORE = "torch numpy pillow safetensors tokenizers tyro pydantic rich accelerate filelock".split()
IMPORT_NAMES = {"pillow": "PIL", "scikit-learn": "sklearn"}
ENOUGH_MEMORY_GIB = 2.0
MARKS = {"ok": "ok     ", "note": "note   ", "fail": "MISSING"}


@dataclass(frozen=True, kw_only=True)
class Args:
    """Check this machine: packages, memory, backbones, data sets."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was checked; ``fail`` means that nothing can run without it."""

    what: str
    state: Literal["ok", "note", "fail"]
    detail: str
    fix: str = ""

    def __str__(self) -> str:
        """Return one line, and the fix below it."""
        line = f"{MARKS[self.state]}  {self.what:<16}  {self.detail}"
        return f"{line}\n{'':>9}fix: {self.fix}" if self.fix else line


Look = Callable[[], Iterator[Finding]]


def run(args: Args) -> int:
    """Print every finding; 4 when something essential is missing."""
    findings = []
    for look in LOOKS:
        for finding in attempt(look):
            print(finding, flush=True)
            findings.append(finding)
    failed = [finding.what for finding in findings if finding.state == "fail"]
    print(f"\nnot ready: {', '.join(failed)}" if failed else "\nready")
    return CheckpointError.exit_code if failed else 0


def attempt(look: Look) -> Iterator[Finding]:
    """Go through ``look``; a package that cannot be imported or an error is itself a finding."""
    try:
        yield from look()
    except (ImportError, OSError, DiffupromptError) as error:
        yield Finding(what=look.__name__, state="fail", detail=f"cannot be checked: {error}")


def python() -> Iterator[Finding]:
    """Python and the platform."""
    new_enough = sys.version_info >= (3, 11)
    yield Finding(
        what="python",
        state="ok" if new_enough else "fail",
        detail=f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        fix="" if new_enough else "use Python 3.11 or newer",
    )


def core_packages() -> Iterator[Finding]:
    """What nothing runs without, each imported for real: a broken binary shows only then."""
    for name in CORE:
        yield package(name, missing="fail", fix="pip install diffuprompt")


def extra_packages() -> Iterator[Finding]:
    """What the extras of the installed package ask for."""
    for name, extra in sorted(extras().items()):
        yield package(name, missing="note", fix=f"pip install 'diffuprompt[{extra}]'", load=False)


def package(name: str, *, missing: Literal["note", "fail"], fix: str, load: bool = True) -> Finding:
    """Look at one distribution; ``load`` also imports it."""
    try:
        version = metadata.version(name)
        if load:
            importlib.import_module(IMPORT_NAMES.get(name, name))
    except metadata.PackageNotFoundError:
        return Finding(what=name, state=missing, detail="not installed", fix=fix)
    except (ImportError, OSError) as error:
        return Finding(what=name, state=missing, detail=f"cannot be loaded: {error}", fix=fix)
    return Finding(what=name, state="ok", detail=version)


def extras() -> dict[str, str]:
    """Distributions that only an extra asks for -> the first such extra, without ``dev``."""
    try:
        lines = metadata.requires("diffuprompt") or []
    except metadata.PackageNotFoundError:
        return {}
    found: dict[str, str] = {}
    for line in lines:
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", line)
        name = re.match(r"[\w.-]+", line)
        if extra and name and extra[1] != "dev" and name[0] not in ("diffuprompt", *CORE):
            found.setdefault(name[0], extra[1])
    return found


def torch_device() -> Iterator[Finding]:
    """Where ``--device auto`` runs."""
    import torch

    from diffuprompt.engine import environment, pick

    seen = environment(pick("auto"))
    detail = f"{seen['device']}, {torch.get_num_threads()} threads on {seen['cores']} cores"
    yield Finding(what="device", state="ok", detail=detail)


def memory() -> Iterator[Finding]:
    """Total and available memory, where the system tells."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (AttributeError, ValueError, OSError):
        return
    enough = total >= ENOUGH_MEMORY_GIB
    yield Finding(
        what="memory",
        state="ok" if enough else "note",
        detail=f"{total:.1f} GiB{_available()}",
        fix="" if enough else "train with smaller --text-memory-mib and --image-memory-mib",
    )


def cache() -> Iterator[Finding]:
    """Where computed features and drawn scenes are kept, and how much they take."""
    from diffuprompt.runs import cache_root

    root = cache_root()
    # names with a dot in front are being written: they may be gone at any moment
    files = (path for path in root.rglob("[!.]*") if path.is_file())
    size = sum(path.stat().st_size for path in files) / 2**20
    detail = f"{size:.0f} MiB in {root}; what is deleted is computed again"
    yield Finding(what="cache", state="ok", detail=detail)


def backbones() -> Iterator[Finding]:
    """Which backbones are here by name; the bundled one is essential, the others are extras."""
    from diffuprompt.checkpoints import BUNDLED
    from diffuprompt.cli.ls import found_backbones

    for name, where in found_backbones().items():
        if where:
            yield Finding(what="backbone", state="ok", detail=f"{name} in {where}")
        elif name == BUNDLED:
            fix = "reinstall diffuprompt; in a checkout, run its training recipe"
            yield Finding(what="backbone", state="fail", detail=f"no {name}", fix=fix)


def automatic_backbone() -> Iterator[Finding]:
    """Which backbone ``auto`` means for photographs, why, and where it was looked for."""
    from diffuprompt.checkpoints import choose_backbone, places

    try:
        choice = choose_backbone(download=False)
    except CheckpointError as error:  # scenes can be trained on nevertheless
        detail = str(error).removeprefix("backbone auto: ")
        yield Finding(what="backbone auto", state="note", detail=detail)
        return
    detail = f"{choice.name} for photographs, {choice.why}; looked in {', '.join(places())}"
    yield Finding(what="backbone auto", state="ok", detail=detail)


def datasets() -> Iterator[Finding]:
    """Which published data sets are here; the scenes always are."""
    from diffuprompt.cli.ls import found_datasets
    from diffuprompt.data import VARIABLE

    found = found_datasets()
    here = [name for name, where in found.items() if where]
    detail = f"scenes (drawn on first use), {', '.join(here) or 'no published one'}"
    fix = "" if here else f"set {VARIABLE} to the folder that holds them, or --data to your own"
    yield Finding(what="data sets", state="ok" if here else "note", detail=detail, fix=fix)


def _available() -> str:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return ""
    kib = next((int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
    return "" if kib is None else f", {kib / 2**20:.1f} GiB available"


LOOKS: tuple[Look, ...] = (
    python, core_packages, torch_device, extra_packages, memory, cache, backbones,
    automatic_backbone, datasets,
)  # fmt: skip
