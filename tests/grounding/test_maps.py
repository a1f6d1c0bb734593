"""What prompts are made of, from every source."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.grounding.tiny_stages import KEPT, generator_for, independent_for, maker_of, vae_of
from tests.grounding.toy_detector import SIDE, ToyExpressions, toy_detector
from torch import Tensor
from torch.nn import functional

from diffuprompt.engine import NULL
from diffuprompt.errors import ConfigError, DataError
from diffuprompt.grounding.conditioning import condition_of
from diffuprompt.grounding.detectors.glip_detector import GlipDetector
from diffuprompt.grounding.expressions import Expression
from diffuprompt.grounding.maps import MapMaker, MapsConfig, decoded
from diffuprompt.grounding.masks.generator import MaskGenerator
from diffuprompt.grounding.masks.mask_vae import MaskVae
from diffuprompt.runs import Store
from diffuprompt.stages.grounding import maps as stages
from diffuprompt.stages.grounding.bench import GroundingBench

SET = ToyExpressions(6, double=False)
ROWS = [4, 1, 3]
LATENTS = ("generated", "shuffled", "noise")
SOURCES = ("generated", "mean", "map", "truth", "shuffled", "noise")


@pytest.fixture(scope="module")
def detector() -> GlipDetector:
    return toy_detector(double=False)


@pytest.fixture(scope="module")
def vae() -> MaskVae:
    return vae_of()


@pytest.fixture(scope="module")
def generator(detector: GlipDetector) -> MaskGenerator:
    return generator_for(detector, SET)


def made(maker: MapMaker, rows: list[int], draw: int = 0) -> Tensor:
    return maker(SET.batch(rows, SIDE), rows, draw)


@pytest.mark.parametrize("source", SOURCES)
def test_maps_do_not_depend_on_the_batch(
    source: str, detector: GlipDetector, vae: MaskVae, generator: MaskGenerator
) -> None:
    maker = maker_of(detector, vae, generator, source=source, samples=2)
    whole = made(maker, ROWS)
    assert whole.shape == (3, KEPT, SIDE // 2, SIDE // 2)
    assert 0 <= whole.min() <= whole.max() <= 1
    for i, row in enumerate(ROWS):
        assert torch.allclose(made(maker, [row])[0], whole[i], atol=1e-4)
    if source not in ("map", "truth"):  # what is drawn is another draw of another seed, or number
        other = maker_of(detector, vae, generator, seed=2, source=source, samples=2)
        assert not torch.allclose(made(other, ROWS), whole, atol=1e-2)
        assert not torch.allclose(made(maker, ROWS, draw=1), whole, atol=1e-2)


def test_the_mean_of_one_draw_is_that_draw(
    detector: GlipDetector, vae: MaskVae, generator: MaskGenerator
) -> None:
    one = made(maker_of(detector, vae, generator, source="mean", samples=1), ROWS)
    generated = maker_of(detector, vae, generator)
    assert torch.equal(one, made(generated, ROWS))
    three = made(maker_of(detector, vae, generator, source="mean", samples=3), ROWS)
    draws = [made(generated, ROWS, draw) for draw in range(3)]
    assert torch.allclose(three, torch.stack(draws).mean(0), atol=1e-6)


def test_truth_and_map_are_theirs(detector: GlipDetector, generator: MaskGenerator) -> None:
    batch = SET.batch(ROWS, SIDE)
    assert batch.masks is not None
    true = functional.avg_pool2d(batch.masks, 2)
    found = made(maker_of(detector, None, None, source="truth"), ROWS)
    assert torch.equal(found, true[:, None].expand(-1, KEPT, -1, -1))
    for network in (generator, independent_for(detector, SET)):
        condition = condition_of(detector, None, batch, "tokens")
        own = functional.avg_pool2d(network.map(condition), 2)
        found = made(maker_of(detector, None, network, source="map"), ROWS)
        assert torch.allclose(found, own.expand(-1, KEPT, -1, -1))


def test_latents_are_what_masks_are_decoded_of(
    detector: GlipDetector, vae: MaskVae, generator: MaskGenerator
) -> None:
    raw = made(maker_of(detector, vae, generator, latents=True), ROWS)
    assert raw.shape[2:] == (4, SIDE // 8, SIDE // 8)
    masks = maker_of(detector, vae, generator)
    one = vae.decode(vae.restored(raw[0]))[:, 0].clamp(0, 1)  # of one expression
    assert torch.allclose(functional.avg_pool2d(one, 2), made(masks, ROWS)[0], atol=1e-5)
    noise = made(maker_of(detector, vae, None, source="noise", latents=True, kept=40), [0])
    assert abs(float(noise.mean())) < 0.1
    assert float(noise.std()) == pytest.approx(1, abs=0.1)


def test_latents_from_the_host_are_decoded_where_the_vae_is() -> None:
    elsewhere = vae_of().to("meta")
    assert decoded(elsewhere, torch.zeros(1, 2, 4, 8, 8)).device.type == "meta"


@pytest.mark.parametrize("source", sorted(set(SOURCES) - set(LATENTS)))
def test_what_has_no_latents_is_refused(source: str) -> None:
    with pytest.raises(ConfigError, match=f"not for {source}"):
        MapsConfig(source=source, latents=True)  # type: ignore[arg-type]


class Few(ToyExpressions):
    """Two expressions a picture."""

    def __getitem__(self, row: int) -> Expression:
        return replace(super().__getitem__(row), picture=str(row // 2))


def bench_of(detector: GlipDetector, store: Store) -> GroundingBench:
    return GroundingBench(
        detector=detector, content="toy", clip=None, side=SIDE, store=store, progress=NULL
    )


def test_the_stage_keeps_maps_as_bytes_and_shuffles_between_pictures(
    detector: GlipDetector, vae: MaskVae, generator: MaskGenerator, tmp_path: Path
) -> None:
    few, bench = Few(6, double=False), bench_of(detector, Store(tmp_path))

    def stored(source: str) -> Tensor:
        config = MapsConfig(source=source, kept=KEPT)  # type: ignore[arg-type]
        stage = stages.maps_stage(
            config=config, sampling={}, seed=1, side=SIDE, expressions="few", generator="g", vae="v"
        )
        return stages.made_maps(bench, stage, few, vae, generator)

    generated, shuffled = stored("generated"), stored("shuffled")
    assert generated.dtype == torch.uint8
    others = stages._others(few, range(6))
    assert sorted(others) == list(range(6)), "every mask is somebody's"
    assert all(few[a].picture != few[b].picture for a, b in enumerate(others))
    assert torch.equal(shuffled, generated[others])
    config = MapsConfig(kept=KEPT)
    maker = MapMaker(
        detector=detector, clip=None, vae=vae, generator=generator, config=config, seed=1,
        scope="few",
    )  # fmt: skip
    read = stages.reader(generated)
    assert torch.allclose(read([3, 2]), maker(few.batch([3, 2], SIDE), [3, 2]), atol=0.503 / 255)


def test_one_picture_cannot_be_shuffled() -> None:
    with pytest.raises(DataError, match="only one"):
        stages._others(Few(2), [0])
