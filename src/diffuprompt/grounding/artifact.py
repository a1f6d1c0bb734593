"""A trained method as a folder: ``grounding.json``, and one file of weights for each stage.

The frozen detector and CLIP stay where they are: they are named, and their content is compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from diffuprompt.checkpoints import is_at_hand, load_clip
from diffuprompt.engine import in_half, read_tensors, torch_stream, write_json, write_tensors
from diffuprompt.errors import CheckpointError, ConfigError
from diffuprompt.grounding.detectors.load import open_detector
from diffuprompt.grounding.grounder import Grounder
from diffuprompt.grounding.maps import MapsConfig
from diffuprompt.grounding.masks.encoder import EncoderConfig
from diffuprompt.grounding.masks.generator import MaskGenerator
from diffuprompt.grounding.masks.independent import IndependentMasks
from diffuprompt.grounding.masks.mask_vae import MaskVae, VaeConfig
from diffuprompt.grounding.masks.settings import GeneratorConfig
from diffuprompt.grounding.methods.registry import make_method
from diffuprompt.reading import read_json
from diffuprompt.runs import checksum, digest

SCHEMA = "diffuprompt.grounder/1"
FILE, CHECKSUM = "grounding.json", "checksum"
WEIGHTS = {"vae": "vae.safetensors", "generator": "generator.safetensors",
           "method": "method.safetensors"}  # fmt: skip
USES_ANSWERS = ("truth", "shuffled")


def save_grounder(
    grounder: Grounder,
    folder: Path,
    *,
    detector: str,
    method: str,
    settings: Mapping[str, Any],
) -> None:
    """Write what was trained; ``grounding.json`` appears last.

    Args:
        grounder: what predicts.
        folder: where to.
        detector: what it is called, for `open_detector`.
        method: its name; "" for none.
        settings: of the method, beside its defaults.
    """
    generator = grounder.generator
    parts: dict[str, nn.Module | None] = {
        "vae": grounder.vae, "generator": generator, "method": grounder.method,
    }  # fmt: skip
    hashes = {}
    for role, module in parts.items():
        if module is not None:
            state = dict(module.state_dict())
            write_tensors(folder / WEIGHTS[role], state, {"format": "pt"})
            hashes[role] = checksum(state)
    description = {
        "schema": SCHEMA,
        "detector": {"name": detector, "content": grounder.detector.content},
        "clip": None if grounder.clip is None else
        {"name": grounder.clip.name, "identity": grounder.clip.identity},
        "method": {"name": method, "settings": dict(settings)},
        "vae": None if grounder.vae is None else asdict(grounder.vae.config),
        "generator": _generator_fields(generator),
        "maps": None if grounder.maps is None else asdict(grounder.maps),
        "seed": grounder.seed,
        "side": grounder.side,
        "weights": hashes,
    }  # fmt: skip
    write_json(folder / FILE, {**description, CHECKSUM: digest(description)})


def load_grounder(folder: Path, *, detector: str | None = None) -> Grounder:
    """Read a grounder; a run's folder is welcome too.

    Args:
        folder: what `save_grounder` wrote.
        detector: where the detector is now; None: as it was called.

    Raises:
        CheckpointError: a file is missing or damaged, or the detector is another one.
        ConfigError: the method was trained on masks that only exist with the answers.
    """
    folder = _inside(folder)
    data = _description(folder)
    try:
        return _read(folder, data, detector)
    except (KeyError, TypeError, AttributeError) as cause:
        raise CheckpointError(
            f"{folder / FILE}: of another version ({type(cause).__name__}: {cause}); train again"
        ) from cause


def halve_grounder(source: Path, target: Path) -> None:
    """Copy a grounder or a run's grounder, with weights in half precision, for the package.

    Raises:
        CheckpointError: ``source`` is none, or damaged.
    """
    source = _inside(source)
    data = _description(source)
    hashes = {}
    for role in data["weights"]:
        tensors = read_tensors(source / WEIGHTS[role])[0]
        state = in_half(tensors)
        write_tensors(target / WEIGHTS[role], state, {"format": "pt"})
        hashes[role] = checksum(state)
    data["weights"] = hashes
    write_json(target / FILE, {**data, CHECKSUM: digest(data)})


def _inside(folder: Path) -> Path:
    inside = folder / "artifact"
    return inside if (inside / FILE).is_file() else folder


def _description(folder: Path) -> dict[str, Any]:
    data = read_json(folder / FILE)
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise CheckpointError(f"{folder / FILE}: expected schema {SCHEMA!r}")
    if data.pop(CHECKSUM, None) != digest(data):
        raise CheckpointError(f"{folder / FILE}: damaged or altered; train again")
    return data


def _read(folder: Path, data: Mapping[str, Any], name: str | None) -> Grounder:
    maps = None if data["maps"] is None else MapsConfig(**data["maps"])
    if maps is not None and maps.source in USES_ANSWERS:
        raise ConfigError(
            f"{folder}: a control that reads masks of known answers ({maps.source}); it can be "
            "evaluated, and predicts nothing"
        )
    own = name is None  # what a file names is not downloaded
    detector = open_detector(name or str(data["detector"]["name"]), download=not own)
    if detector.content != data["detector"]["content"]:
        raise CheckpointError(
            f"{folder}: was trained for another detector than {name or data['detector']['name']!r}"
            " is here; name the right one with --detector"
        )
    clip = None
    if data["clip"] is not None:
        known = str(data["clip"]["name"])
        if not is_at_hand(known):
            raise CheckpointError(
                f"{folder}: was trained with the backbone {ascii(known)[:80]}, which is not here; "
                "put its folder under $DIFFUPROMPT_MODELS"
            )
        clip = load_clip(known)
        if clip.identity != data["clip"]["identity"]:
            raise CheckpointError(f"{folder}: was trained with another {data['clip']['name']}")
    vae = None
    if data["vae"] is not None:
        vae = MaskVae(VaeConfig(**data["vae"]), generator=torch_stream(0, "unused"))
        _fill(vae, "vae", folder, data)
    generator = None
    if data["generator"] is not None:
        generator = _build(data["generator"])
        _fill(generator, "generator", folder, data)
    method = None
    if data["method"]["name"]:
        method = make_method(data["method"]["name"], detector, data["method"]["settings"])
        _fill(method, "method", folder, data)
    return Grounder(
        detector=detector,
        clip=clip,
        method=method,
        vae=vae,
        generator=generator,
        maps=maps,
        seed=data["seed"],
        side=data["side"],
    )


def _generator_fields(
    generator: MaskGenerator | IndependentMasks | None,
) -> dict[str, Any] | None:
    if generator is None:
        return None
    return {
        "kind": type(generator).__name__,
        "config": asdict(generator.config),
        "widths": dict(generator.widths),
    }


def _build(fields: Mapping[str, Any]) -> MaskGenerator | IndependentMasks:
    config, widths, unused = dict(fields["config"]), fields["widths"], torch_stream(0, "unused")
    if fields["kind"] == IndependentMasks.__name__:
        return IndependentMasks(EncoderConfig(**config), widths, generator=unused)
    return MaskGenerator(GeneratorConfig.from_json(config), widths, generator=unused)


def _fill(module: nn.Module, role: str, folder: Path, data: Mapping[str, Any]) -> None:
    file = folder / WEIGHTS[role]
    tensors = read_tensors(file)[0]
    if checksum(tensors) != data["weights"][role]:
        raise CheckpointError(f"{file}: not the file that was written; restore it, or train again")
    state = {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
    own = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    if {name: tuple(value.shape) for name, value in state.items()} != own:
        raise CheckpointError(f"{file}: its tensors do not fit {FILE}")
    module.load_state_dict(state)
    module.eval().requires_grad_(False)
