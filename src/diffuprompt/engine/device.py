"""Where things run, and an honest note of it for records: no paths, no user or host names."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor

from diffuprompt.errors import ConfigError
from diffuprompt.ranges import DEVICE_NAMES, DEVICES, shown


def pick(name: str = "auto") -> torch.device:
    """Return the device called ``name``; "auto" is the first GPU, or the CPU without one.

    Raises `ConfigError` for an unknown device or one that this machine does not have.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not DEVICES.fullmatch(name):  # torch knows more of them, such as meta, that compute nothing
        raise ConfigError(f"device: expected {DEVICE_NAMES}, got {shown(name)}")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise ConfigError(f"device: {name} asked, but torch sees {count} CUDA devices; try auto")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device: mps asked, but torch cannot use it here; try auto")
    return device


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Return ``tensor`` on ``device``, from the host to CUDA without waiting.

    CUDA's driver has taken a copy of pageable memory when the call returns. MPS gives no such
    promise and waits, and so does every copy to the host.
    """
    ahead = device.type == "cuda" and tensor.device.type == "cpu"
    return tensor.to(device, non_blocking=ahead)


def moved(tensor: Tensor, like: Tensor) -> Tensor:
    """Return ``tensor`` with the dtype and on the device of ``like``; see `sent`."""
    return sent(tensor.to(like.dtype), like.device)  # in this order: MPS has no float64


def generator_on(device: torch.device, seed: int) -> torch.Generator:
    """Return a generator that draws on ``device``."""
    return torch.Generator(device).manual_seed(seed)


def environment(device: torch.device | str = "cpu") -> dict[str, str]:
    """Describe the machine and the software that a result came from."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(cores()),
        "torch": torch.__version__,
        "threads": str(torch.get_num_threads()),
        "device": _device_name(torch.device(device)),
        "diffuprompt": _version(),
        "commit": _commit(Path(__file__).resolve().parents[3]),
    }


def peak_memory_mib(device: torch.device | str = "cpu") -> float:
    """Return the largest memory used so far in MiB.

    On a GPU what torch allocated there, elsewhere what this process held in memory.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, KiB elsewhere


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def cores() -> int:
    """Return how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # what this process may use, not what the machine has
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version() -> str:
    try:
        return metadata.version("diffuprompt")
    except metadata.PackageNotFoundError:
        return "not installed"


def _commit(root: Path) -> str:
    """Commit of the checkout that the package lies in, with "-dirty" when files differ from it."""
    if not (root / ".git").exists():  # installed: a surrounding repository is not ours
        return "none"
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(
            [*command, "--exclude", "*"], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()
