"""What a job sees: halves, held-out images, refusals before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.world import CLASSES, make_pictures

from diffuprompt.data.fewshot import few_shot
from diffuprompt.data.manifest import Manifest
from diffuprompt.data.sources import open_dataset
from diffuprompt.engine.progress import NULL
from diffuprompt.errors import ConfigError, DataError
from diffuprompt.jobs.job import JobConfig
from diffuprompt.jobs.workbench import Workbench, prepare
from diffuprompt.stages.flat_prompts import own_prompts
from diffuprompt.stages.image_set import ImageSet

SHOTS = 2


def bench(world: Path, data: Path | str | None = None, **values: Any) -> Workbench:
    defaults: dict[str, Any] = {"shots": SHOTS, "workers": 0, "protocol": "base-to-new"}
    place = {"data": str(data or world / "colours"), "backbone": str(world / "clip")}
    return prepare(JobConfig(**{**place, **defaults, **values}), NULL)


def named(images: ImageSet) -> set[tuple[str, str]]:
    """(path, class name) of every image."""
    return {(item.path, images.classes.names[item.label]) for item in images.items}


def rows(manifest: Manifest, split: str, classes: tuple[str, ...]) -> set[tuple[str, str]]:
    """The same of a manifest, with only some classes."""
    pairs = {(i.path, manifest.classes[i.label]) for i in manifest.splits[split]}
    return {pair for pair in pairs if pair[1] in classes}


def test_base_to_new_halves_are_coops(world: Path) -> None:
    found = bench(world)
    whole = open_dataset(world / "colours")
    # CoOp's subsample_classes: m = ceil(n / 2), base labels[:m], new labels[m:], both relabelled
    # from 0; the shots are drawn from all classes before.
    base, new = CLASSES[:3], CLASSES[3:]
    assert found.train.classes.names == found.tests["base"].classes.names == base
    assert found.tests["new"].classes.names == new
    assert set(found.tests) == {"base", "new"}
    assert named(found.train) == rows(few_shot(whole, SHOTS, 1), "train", base)
    assert named(found.tests["base"]) == rows(whole, "test", base)
    assert named(found.tests["new"]) == rows(whole, "test", new)


def test_an_odd_class_goes_to_base(world: Path, tmp_path: Path) -> None:
    data = make_pictures(tmp_path / "five", CLASSES[:5])
    found = bench(world, data)
    assert found.train.classes.names == CLASSES[:3]
    assert found.tests["new"].classes.names == CLASSES[3:5]


def test_few_shot_uses_all_classes(world: Path) -> None:
    found = bench(world, protocol="auto")  # the user's own pictures
    whole = open_dataset(world / "colours")
    assert found.resolved.protocol == "few-shot"
    assert found.train.classes.names == CLASSES
    assert named(found.train) == rows(few_shot(whole, SHOTS, 1), "train", CLASSES)
    assert {name: named(images) for name, images in found.tests.items()} == {
        "all": rows(whole, "test", CLASSES)
    }
    other = bench(world, protocol="auto", seed=2)
    assert named(other.train) != named(found.train)


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight classes with train, val and test: enough for halves of halves."""
    folder = make_pictures(
        tmp_path_factory.mktemp("eight") / "eight", splits=("train", "val", "test")
    )
    for split in ("train", "val", "test"):
        for i, twin in enumerate(("zebra", "zinc")):
            (folder / split / twin).mkdir()
            for path in sorted((folder / split / CLASSES[i]).iterdir()):
                (folder / split / twin / path.name).write_bytes(path.read_bytes())
    return folder


def test_holdout_sees_no_new_class_and_no_test_image(world: Path, eight: Path) -> None:
    found = bench(world, eight, protocol="holdout")
    whole = open_dataset(eight)
    half, kept_out = whole.classes[:4], whole.classes[4:]
    assert found.train.classes.names == half[:2]
    assert found.tests["new"].classes.names == half[2:]
    assert named(found.train) == rows(few_shot(whole, SHOTS, 1), "train", half[:2])
    assert named(found.tests["base"]) == rows(whole, "val", half[:2])
    # nothing is trained on the classes that play the new ones, so all their images can test
    every = rows(whole, "val", half[2:]) | rows(whole, "train", half[2:])
    assert named(found.tests["new"]) == every
    assert len(found.tests["new"]) == len(every)
    seen = named(found.train).union(*map(named, found.tests.values()))
    assert not {path for path, _ in seen} & {item.path for item in whole.splits["test"]}
    assert not {name for _, name in seen} & set(kept_out)


def test_holdout_without_val_images_says_so(world: Path, eight: Path, tmp_path: Path) -> None:
    names = tuple(path.name for path in sorted((eight / "train").iterdir()))
    for split in ("train", "test"):
        for name in names:
            (tmp_path / "no val" / split / name).mkdir(parents=True)
            (tmp_path / "no val" / split / name / "0.png").write_bytes(
                (eight / split / name / "0.png").read_bytes()
            )
    assert len(bench(world, tmp_path / "no val", shots=1).tests["new"]) == 4  # val is not needed
    with pytest.raises(DataError, match=f"class '{names[0]}' has no image in val"):
        bench(world, tmp_path / "no val", protocol="holdout")


@pytest.mark.parametrize("protocol", ["base-to-new", "holdout"])
def test_class_specific_contexts_cannot_serve_new_classes(
    world: Path, eight: Path, protocol: str
) -> None:
    asked = {"learner": "coop", "overrides": ("class_specific=true",)}
    with pytest.raises(ConfigError, match="class-specific contexts cannot score new classes"):
        bench(world, eight, protocol=protocol, **asked)
    learner = bench(world, eight, protocol="few-shot", **asked).build_learner()
    assert learner.spec.slots[0].classes == 8


def test_one_class_a_side_is_refused(world: Path, tmp_path: Path) -> None:
    data = make_pictures(tmp_path / "three", CLASSES[:3])
    with pytest.raises(DataError, match=r"3 classes are too few .* new has \['green'\]"):
        bench(world, data)
    assert len(bench(world, data, protocol="few-shot").train.classes) == 3


def test_a_name_is_a_name_beside_a_folder_called_like_it(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pictures(tmp_path / "caltech101")
    monkeypatch.chdir(tmp_path)
    whole = open_dataset(world / "colours")
    monkeypatch.setattr("diffuprompt.data.sources.open_named", lambda *args, **kw: whole)
    found = bench(world, "caltech101", protocol="auto")
    assert found.resolved.protocol == "base-to-new"  # a benchmark, not the user's pictures
    folder = bench(world, "./caltech101", protocol="auto").resolved
    assert (folder.dataset, folder.protocol) == ("caltech101", "few-shot")


def test_identity_does_not_depend_on_how_paths_are_written(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absolute = bench(world)
    monkeypatch.chdir(world)
    relative = bench(Path("."), Path("colours"))
    assert relative.resolved == absolute.resolved
    assert relative.fingerprint == absolute.fingerprint
    assert relative.resolved.backbone == "clip"
    assert bench(world, shots=1).fingerprint != absolute.fingerprint


def test_hashes_name_what_a_result_depends_on(world: Path, tmp_path: Path) -> None:
    found = bench(world)
    assert found.hashes == bench(world).hashes
    other = make_pictures(tmp_path / "colours", CLASSES[:5])
    changed = bench(world, other).hashes
    assert {k for k in changed if changed[k] != found.hashes[k]} == {"manifest", "subset"}
    assert bench(world, seed=3).hashes["subset"] != found.hashes["subset"]


def test_batches_and_own_prompts_follow_the_items(world: Path) -> None:
    found = bench(world, learner="cocoop")
    images, index = found.tests["new"], torch.tensor([2, 0])
    batch = images.batch(index)
    assert batch.labels is not None
    assert batch.features is not None
    assert batch.labels.tolist() == [images.items[2].label, images.items[0].label]
    assert torch.equal(batch.features, images.features[index])
    view = images.batch(index, view=1).features
    assert view is not None
    assert torch.equal(view, images.store.train(images.items, 1)[index])
    learner = found.build_learner()
    rows_NF = own_prompts(learner, images, size=2)
    assert rows_NF.shape == (len(images), learner.spec.size)
    expected = learner.prompts(images.features[1:2])["text.0"].flatten()
    # batches of 2 and 1: sums of 24 terms in another order
    torch.testing.assert_close(rows_NF[1], expected.detach(), rtol=1e-5, atol=1e-6)
    shared = bench(world, learner="coop")
    assert len(own_prompts(shared.build_learner(), shared.train)) == len(shared.train)


def test_learners_start_from_the_seed(world: Path) -> None:
    def start(seed: int) -> torch.Tensor:
        learner = bench(world, seed=seed, overrides=("num_ctx=3", "ctx_init=null")).build_learner()
        return next(learner.parameters()).detach().clone()

    assert torch.equal(start(1), start(1))
    assert not torch.equal(start(1), start(2))
