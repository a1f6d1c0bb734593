"""Imported checkpoints give the original formula's logits; hostile and wrong ones are refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.contract import direct
from tests.contract.towers import NAMES, pictures, tower
from tests.hub import legacy
from tests.world import command
from torch import Tensor

from diffuprompt.checkpoints.load import load_clip
from diffuprompt.clip.model import Clip
from diffuprompt.errors import CheckpointError, ConfigError
from diffuprompt.hub.artifact import load_artifact
from diffuprompt.hub.legacy import import_legacy, read_legacy
from diffuprompt.learners.classes import Classes

METHODS = (
    *("coop", "coop-per-class", "cocoop", "prograd", "vpt", "ivlp", "maple", "promptsrc"),
    *("coprompt", "clip-adapter"),
)
TOKENS = {"coop": 5, "coop-per-class": 3, "cocoop": 4, "prograd": 5, "promptsrc": 4}
# "a photo of a" with M learned tokens in front: what is left stays as words
WORDS = ["a", "photo", "of", "a"]


def method_of(case: str) -> str:
    return case.removesuffix("-per-class")


@pytest.fixture
def clip() -> Clip:
    return tower("plain-vit", torch.float32)


def rows(clip: Clip, case: str, count: int) -> list[list[int]]:
    """Tokens of every class by the repositories' rule."""
    fixed = [] if case.startswith(("coop", "cocoop", "prograd")) else WORDS[count:]
    out = []
    for name in NAMES:
        words = " ".join([*fixed, name.replace("_", " ") + "."])
        body = clip.tokenizer.encode(words)
        out.append([clip.tokenizer.sot, *(-1 - i for i in range(count)), *body, clip.tokenizer.eot])
    return out


def original(case: str, clip: Clip, state: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """The method's formula on the repositories' names."""
    image, text, vision = direct.image_features, {}, {}
    prefix = "prompt_learner."
    ctx = state.get("ctx", state.get(f"{prefix}ctx"))
    count = 0 if ctx is None else ctx.shape[-2]
    if ctx is not None:
        text[0] = ctx[None] if ctx.ndim == 3 else ctx[None, None]
    if f"{prefix}proj.weight" in state:
        vision[0] = (ctx @ state[f"{prefix}proj.weight"].T + state[f"{prefix}proj.bias"])[None]
        deep = state[f"{prefix}compound_prompts_text.0"]
        key = f"{prefix}compound_prompt_projections.0"
        text[1] = deep[None, None]
        vision[1] = (deep @ state[f"{key}.weight"].T + state[f"{key}.bias"])[None]
    if "image_encoder.VPT" in state:
        vision[0] = state["image_encoder.VPT"][None]
        vision[1] = state["image_encoder.transformer.resblocks.1.VPT_shallow"][None]
    if "text_encoder.transformer.resblocks.1.VPT_shallow" in state:
        text[1] = state["text_encoder.transformer.resblocks.1.VPT_shallow"][None, None]
    image = direct.image_features(clip, pixels, vision)
    if case == "cocoop":
        unit = direct.unit(image)
        hidden = (unit @ state["meta_net.linear1.weight"].T + state["meta_net.linear1.bias"]).relu()
        shift = hidden @ state["meta_net.linear2.weight"].T + state["meta_net.linear2.bias"]
        text[0] = (ctx + shift[:, None])[:, None]
    features = direct.text_features(clip, rows(clip, case, count), text)
    if case == "clip-adapter":
        hidden = (image @ state["fc.0.weight"].T).relu() @ state["fc.2.weight"].T
        image = 0.2 * hidden.relu() + 0.8 * image
    if case == "coprompt":

        def adapter(x: Tensor, kind: str) -> Tensor:
            down, up = state[f"adapter_{kind}.fc.0.weight"], state[f"adapter_{kind}.fc.2.weight"]
            return ((x @ down.T).relu() @ up.T).relu()

        image = 0.1 * adapter(image, "image") + 0.9 * image
        features = 0.2 * adapter(features, "text") + 0.8 * features
    return clip.scale * (direct.unit(image)[:, None] * direct.unit(features)).sum(-1)


@pytest.mark.parametrize("case", METHODS)
def test_logits_are_the_original_formulas(case: str, clip: Clip, tmp_path: Path) -> None:
    state = legacy.learned(case, clip, tokens=TOKENS.get(case, 2))
    # as a repository would run it: half precision in the file
    state = {name: value.half() for name, value in state.items()}
    path = legacy.write(tmp_path / "model.pth.tar-5", {**state, **legacy.frozen(case, clip)})
    import_legacy(path, method_of(case), clip, NAMES, tmp_path / "artifact")
    artifact = load_artifact(tmp_path / "artifact", clip=clip)
    assert artifact.description.classes == NAMES
    assert artifact.description.training == {"imported": "model.pth.tar-5", "epoch": 5}
    images = pictures(clip, 3)
    with torch.no_grad():
        ours = artifact.learner.logits(images, Classes(NAMES))
        floats = {name: value.float() for name, value in state.items()}
        theirs = original(case, clip, floats, images.pixels)
    # float32 through two layers, logits up to 10
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-4)
    assert float(ours.std()) > 0.1


class Hostile:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("owned"),))


def test_code_in_a_file_is_refused_and_never_run(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in ("val_result", "scheduler", "state_dict"):
        path = legacy.write(tmp_path / "bad", legacy.learned("coop", clip), **{place: Hostile()})
        with pytest.raises(CheckpointError, match="is not allowed in a weight file"):
            read_legacy(path, "coop")
        assert not (tmp_path / "owned").exists()


def test_damaged_and_foreign_files_are_refused(clip: Clip, tmp_path: Path) -> None:
    path = legacy.write(tmp_path / "model", legacy.learned("coop", clip))
    data = path.read_bytes()
    (tmp_path / "cut").write_bytes(data[: len(data) // 2])
    (tmp_path / "old").write_bytes(pickle.dumps({"state_dict": {}}))
    torch.save([1], tmp_path / "list")
    for name in ("cut", "old", "list"):
        with pytest.raises(CheckpointError, match=str(tmp_path / name)):
            read_legacy(tmp_path / name, "coop")
    with pytest.raises(CheckpointError, match="no such file"):
        read_legacy(tmp_path / "none", "coop")


@pytest.mark.parametrize(
    ("case", "method", "message"),
    [
        ("maple", "coop", "not of this method"),
        ("coprompt", "maple", r"adapter_image.* not of this method"),
        ("cocoop", "coop", r"meta_net.* not of this method"),
        ("promptsrc", "vpt", "not of this method"),
        ("coop", "vpt", "not a checkpoint of vpt"),
    ],
)
def test_another_methods_file_is_refused(
    case: str, method: str, message: str, clip: Clip, tmp_path: Path
) -> None:
    state = {**legacy.learned(case, clip), **legacy.frozen(case, clip)}
    with pytest.raises(CheckpointError, match=message):
        read_legacy(legacy.write(tmp_path / "model", state), method)


def test_incomplete_files_name_what_is_missing(clip: Clip, tmp_path: Path) -> None:
    state = legacy.learned("coprompt", clip)
    del state["adapter_text.fc.2.weight"]
    path = legacy.write(tmp_path / "model", state)
    with pytest.raises(CheckpointError, match=r"missing adapters\.text\.up\.weight"):
        import_legacy(path, "coprompt", clip, NAMES, tmp_path / "out")
    other = tower("stem-vit", torch.float32)
    path = legacy.write(tmp_path / "model", legacy.learned("maple", clip))
    with pytest.raises(CheckpointError, match=r"expected .* got"):
        import_legacy(path, "maple", other, NAMES, tmp_path / "out")


def test_another_backbone_or_class_list_is_refused(clip: Clip, tmp_path: Path) -> None:
    state = {**legacy.learned("maple", clip), "logit_scale": torch.tensor(4.6)}
    path = legacy.write(tmp_path / "model", state)
    with pytest.raises(CheckpointError, match=r"logit_scale 4\.600.*--backbone"):
        import_legacy(path, "maple", clip, NAMES, tmp_path / "out")
    path = legacy.write(tmp_path / "model", legacy.learned("coop-per-class", clip))
    with pytest.raises(ConfigError, match=r"--classes: .*learned for 6 classes and cannot score 2"):
        import_legacy(path, "coop", clip, NAMES[:2], tmp_path / "out")


def test_methods_without_checkpoints_and_near_misses(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="zero-shot has no checkpoints to import"):
        read_legacy(tmp_path, "zero-shot")
    with pytest.raises(ConfigError, match="Did you mean 'maple'"):
        read_legacy(tmp_path, "mapel")


def test_the_command_writes_a_new_folder_only(place: Path, tmp_path: Path) -> None:
    clip = load_clip(place / "clip")
    path = legacy.write(tmp_path / "model.pth.tar-5", legacy.learned("coop", clip))
    words = ("import", path, "--backbone", place / "clip", "--classes", "cat,dog")
    for learner in ("", "zero-shot", "x"):
        done = command(*words, "--learner", learner, "--out", tmp_path / "out")
        assert done.code == ConfigError.exit_code
        assert "--learner: " in done.err
        assert "coprompt" in done.err
    out = ("--learner", "coop", "--out", tmp_path / "out")
    assert command(*words, *out).code == 0
    again = command(*words, *out)
    assert again.code == ConfigError.exit_code
    assert "holds files already" in again.err
    twice = command(*words[:-1], "cat,Cat", "--learner", "coop", "--out", tmp_path / "new")
    assert twice.code == ConfigError.exit_code
    assert not (tmp_path / "new").exists()
