"""What a job sees: halves, held-out images, refusals before anything is trained."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.world import CLASSES, Opened, asked, make_pictures, opened

from diffuprompt.checkpoints.load import load_clip
from diffuprompt.data.fewshot import few_shot
from diffuprompt.data.manifest import Manifest
from diffuprompt.data.sources import open_dataset
from diffuprompt.errors import CheckpointError, ConfigError, DataError
from diffuprompt.hub.artifact import load_artifact
from diffuprompt.jobs import prepared as module
from diffuprompt.jobs.prepared import Prepared, prepare
from diffuprompt.jobs.train import folder_of, train_job
from diffuprompt.matrix.entry import MatrixJob
from diffuprompt.matrix.planning import plan
from diffuprompt.stages.features import FeatureStore
from diffuprompt.stages.flat_prompts import own_of, own_prompts
from diffuprompt.stages.image_set import ImageSet

SHOTS = 2


def bench(world: Path, data: Path | str | None = None, **values: Any) -> Opened:
    return opened(world, **where(data), **values)


def where(data: Path | str | None) -> dict[str, str]:
    return {"data": str(data)} if data else {}


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
    assert found.prepared.resolved.protocol == "few-shot"
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
    learner = bench(world, eight, protocol="few-shot", **asked).learner()
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
    assert found.prepared.resolved.protocol == "base-to-new"  # a benchmark, not the user's pictures
    folder = bench(world, "./caltech101", protocol="auto").prepared.resolved
    assert (folder.dataset, folder.protocol) == ("caltech101", "few-shot")


def test_identity_does_not_depend_on_how_paths_are_written(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absolute = prepare(asked(world))
    monkeypatch.chdir(world)
    relative = prepare(asked(Path("."), data="colours"))
    assert relative.resolved == absolute.resolved
    assert relative.run_name == absolute.run_name
    assert relative.chain == absolute.chain
    assert relative.resolved.backbone == "clip"
    assert prepare(asked(world, shots=1)).run_name != absolute.run_name


def test_hashes_name_what_a_result_depends_on(world: Path, tmp_path: Path) -> None:
    found = prepare(asked(world))
    assert found.hashes == prepare(asked(world)).hashes
    assert found.inputs == prepare(asked(world)).inputs
    other = make_pictures(tmp_path / "colours", CLASSES[:5])
    changed = prepare(asked(world, **where(other))).hashes
    assert {k for k in changed if changed[k] != found.hashes[k]} == {"manifest", "subset"}
    assert prepare(asked(world, seed=3)).hashes["subset"] != found.hashes["subset"]


def test_nothing_is_loaded_to_prepare(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*args: object, **rest: object) -> None:
        raise AssertionError("the weights were loaded")

    monkeypatch.setattr(module, "load_clip", load)
    monkeypatch.setattr(FeatureStore, "__init__", load)
    found = prepare(asked(world, learner="cocoop", generator="diffusion"))
    assert set(found.chain.keys) == {"learner", "overfit", "generator", "sampler"}
    with pytest.raises(AssertionError, match="loaded"):
        found.load()


def test_what_training_would_refuse_is_refused_before_anything_is_loaded(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan accepted it, and the job failed hours later."""

    def load(*args: object, **rest: object) -> None:
        raise AssertionError("the weights were loaded")

    monkeypatch.setattr(module, "load_clip", load)
    deep = asked(world, learner="vpt", overrides=("vision_depth=99",), runs_dir=tmp_path / "runs")
    message = r"learner\.vision_depth: expected at most 2.*got 99"
    for refuse in (prepare, train_job, lambda job: plan([MatrixJob(job=job)])):
        with pytest.raises(ConfigError, match=message):
            refuse(deep)
    assert not (tmp_path / "runs").exists()


def test_a_plan_names_all_problems_of_all_jobs_at_once(world: Path, tmp_path: Path) -> None:
    wrong = [
        asked(world, learner="vpt", overrides=("vision_depth=99",)),
        asked(world, learner="vpt", overrides=("vision_depth=98", "num_ctx=0")),
        asked(world, learner="coop", overrides=("num_ctx=77",)),
        asked(world, learner="coop", overrides=("class_specific=true",)),
        asked(world, data=str(tmp_path / "nowhere")),
        asked(world, backbone=str(tmp_path / "no clip")),
    ]
    right = asked(world)
    with pytest.raises(ConfigError) as caught:
        plan([MatrixJob(job=job) for job in (right, *wrong, *wrong)])
    text = str(caught.value)
    for part in ("got 99", "got 98", "num_ctx", "cannot score new classes", "nowhere", "no clip"):
        assert part in text, part
    assert text.count("got 99") == 1  # of equal problems one


def test_two_data_folders_of_one_name_are_two_runs(world: Path, tmp_path: Path) -> None:
    """One of them was dropped from a plan without a word."""
    twin = make_pictures(tmp_path / "twin" / "colours", seed=1)
    copy = shutil.copytree(world / "colours", tmp_path / "copy" / "colours")
    jobs = {
        name: asked(world, data=str(place), learner="cocoop", generator="diffusion")
        for name, place in (("own", world / "colours"), ("twin", twin), ("copy", copy))
    }
    own, other, same = (prepare(job) for job in jobs.values())
    assert own.resolved == other.resolved == same.resolved
    assert own.run_name == same.run_name
    assert own.chain == same.chain
    assert own.run_name != other.run_name
    assert not set(own.chain.keys.values()) & set(other.chain.keys.values())
    planned = plan([MatrixJob(job=job) for job in jobs.values()])
    assert [p.job.data for p in planned] == [jobs["own"].data, jobs["twin"].data]
    assert len({p.folder.path for p in planned}) == 2


def other_activation(backbone: Path) -> None:
    config = json.loads((backbone / "config.json").read_text())
    for part in (config["text_config"], config["vision_config"]):
        assert part["hidden_act"] == "quick_gelu"
        part["hidden_act"] = "gelu"
    (backbone / "config.json").write_text(json.dumps(config))


def other_words(backbone: Path) -> None:
    """Two words of the vocabulary change places: its size and every shape stay."""
    tokenizer = json.loads((backbone / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    words = [word for word in vocabulary if word.isalpha() and vocabulary[word] > 2][:2]
    one, two = words
    vocabulary[one], vocabulary[two] = vocabulary[two], vocabulary[one]
    (backbone / "tokenizer.json").write_text(json.dumps(tokenizer))


def other_pixels(backbone: Path) -> None:
    path = backbone / "preprocessor_config.json"
    config = json.loads(path.read_text())
    config["image_mean"] = [0.5, 0.5, 0.5]
    path.write_text(json.dumps(config))


@pytest.mark.parametrize("edit", [other_activation, other_words, other_pixels])
def test_another_backbone_with_equal_weights_is_another_backbone(
    edit: Any, world: Path, tmp_path: Path
) -> None:
    """Only weights were hashed: features of the other were served, and artifacts loaded on it."""
    backbone = shutil.copytree(world / "clip", tmp_path / "clip")
    job = asked(world, backbone=str(backbone), runs_dir=tmp_path / "runs")
    job = replace(job, overrides=("epochs=1",))
    before = prepare(job)
    assert before.chain == prepare(asked(world, overrides=("epochs=1",))).chain  # it is a copy
    run = train_job(job)
    clip = load_clip(backbone)
    assert load_artifact(run / "artifact", clip=clip).learner.clip is clip
    edit(backbone)
    after = prepare(job)
    assert after.header.weights_hash == before.header.weights_hash
    assert after.inputs["images"] == before.inputs["images"]
    assert after.inputs["backbone"] != before.inputs["backbone"]
    assert after.run_name != before.run_name
    assert folder_of(after).path != run
    assert feature_key(after) != feature_key(before, clip)
    with pytest.raises(CheckpointError, match="backbone"):
        load_artifact(run / "artifact", clip=load_clip(backbone))
    with pytest.raises(ConfigError, match="the content of backbone is"):
        train_job(replace(job, out=run))


def feature_key(prepared: Prepared, clip: Any = None) -> str:
    items = prepared.roles.train.items
    clip = clip or load_clip(prepared.job.backbone)
    store = FeatureStore(clip, prepared.manifest.root, seed=1, contents=prepared.contents)
    return store.key(items, None)


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
    learner = found.learner()
    rows_NF = own_prompts(learner, images)
    assert rows_NF.shape == (len(images), learner.spec.size)
    expected = learner.prompts(images.features[1:2])["text.0"].flatten()
    # all images at once and one: sums of 24 terms in another order
    torch.testing.assert_close(rows_NF[1], expected.detach(), rtol=1e-5, atol=1e-6)
    some = own_of(learner, images.features[:2])
    torch.testing.assert_close(rows_NF[:2], some, rtol=1e-5, atol=1e-6)
    shared = bench(world, learner="coop")
    assert len(own_prompts(shared.learner(), shared.train)) == len(shared.train)


def test_learners_start_from_the_seed(world: Path) -> None:
    def start(seed: int) -> torch.Tensor:
        learner = bench(world, seed=seed, overrides=("num_ctx=3", "ctx_init=null")).learner()
        return next(learner.parameters()).detach().clone()

    assert torch.equal(start(1), start(1))
    assert not torch.equal(start(1), start(2))


def test_a_recipe_that_counts_steps_has_the_epochs_that_make_them_of_these_images(
    world: Path,
) -> None:
    def epochs(*overrides: str, **values: Any) -> int:
        values = {"learner": "clip-lora", "preset": "few-shot", "overrides": overrides, **values}
        return prepare(asked(world, **values)).resolved.train.epochs

    assert epochs() == 500 * 2  # two shots of three classes: less than a batch
    assert epochs("batch=2") == round(500 * 2 / 3)
    assert epochs("batch=2", protocol="few-shot") == 500 * 2 / 5  # eleven of six classes
    assert epochs("batch=2", shots=1) == 500
    assert epochs(shots=1000) == 500 * 3, "the eight that there are, and no more"
    assert epochs("batch=2", "epochs=3") == 3
