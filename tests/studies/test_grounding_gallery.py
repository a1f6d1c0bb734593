"""Figures of examples: the rule that chooses them, what is drawn, and when the page shows them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.grounding.tiny_grounder import save_tiny_run
from tests.report.grounding import grounding_record

from diffuprompt.errors import DataError
from diffuprompt.grounding.artifact import load_grounder
from diffuprompt.jobs.grounding.opening import scored_set
from diffuprompt.record_grounding import GroundingRecord
from diffuprompt.report import GroundingSource
from diffuprompt.studies.grounding import gallery_page
from diffuprompt.studies.grounding.choosing import Choice, choose
from diffuprompt.studies.grounding.examples import strips_of
from diffuprompt.studies.grounding.findings import find
from diffuprompt.studies.grounding.gallery import write_gallery
from diffuprompt.studies.grounding.gallery_page import read_note, shown_galleries
from diffuprompt.studies.grounding.page import page_of

MOST = 200_000  # bytes of one world's figure, so that three are under 600 kB


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, GroundingRecord]:
    return save_tiny_run(tmp_path_factory.mktemp("gallery"))


def test_the_rule_takes_found_and_missed_of_every_kind() -> None:
    kinds = ["relation", "plain", "extreme", "other"] * 50
    ranks = [0 if i % 3 else -1 + i % 7 // 6 * 3 for i in range(200)]
    chosen = choose(kinds, ranks)
    assert [(c.kind, c.found) for c in chosen] == [
        (kind, found)
        for kind in ("plain", "extreme", "relation", "other")
        for found in (True, True, False, False)
    ]
    assert all((ranks[c.row] == 0, kinds[c.row]) == (c.found, c.kind) for c in chosen)
    assert len({c.row for c in chosen}) == 16
    assert choose(kinds, ranks) == chosen
    fewer = choose(kinds, ranks, each=1)
    assert [c.row for c in fewer] == [c.row for c in chosen[::2]]
    assert choose(["plain"], [3]) == (Choice(row=0, kind="plain", found=False),)


def test_a_figure_is_small_says_what_it_shows_and_repeats_itself(
    run: tuple[Path, GroundingRecord], tmp_path: Path
) -> None:
    path, record = run
    strangers = [tmp_path / "none", path.parent]
    (target,) = write_gallery([*strangers, path], tmp_path)
    assert target == tmp_path / "figures" / "examples-scenes.png"
    assert 1000 < target.stat().st_size < MOST
    note = read_note(target)
    assert (note.world, note.seed, note.content) == ("scenes", 1, record.tests[0].content)
    first = target.read_bytes()
    write_gallery([path], tmp_path)
    assert target.read_bytes() == first


def test_draws_are_those_of_the_scores(run: tuple[Path, GroundingRecord]) -> None:
    path, record = run
    expressions = scored_set(path, record.tests[0])
    grounder, content = load_grounder(path), record.tests[0].content
    rows = [5, 2]
    chosen = [Choice(row=row, kind="plain", found=True) for row in rows]
    strips = strips_of(grounder, expressions, chosen, scope=content, samples=2)
    batch = expressions.batch(range(6), grounder.side)
    every = grounder.on(batch, range(6), scope=content)
    other = grounder.on(batch, range(6), scope="other")
    for row, strip in zip(rows, strips, strict=True):
        assert strip.maps is not None
        assert strip.maps.shape[0] == 2
        maps, strange = every[row].maps, other[row].maps
        assert maps is not None
        assert strange is not None
        torch.testing.assert_close(strip.maps[0], maps[0], atol=1e-4, rtol=0)
        assert not torch.allclose(strange[0], maps[0], atol=1e-3)
        assert strip.title == f"found: {expressions[row].text}"
        assert strip.marks[0].box == pytest.approx(tuple(batch.boxes[row].tolist()))


def test_the_page_shows_a_figure_beside_its_own_records_only(
    run: tuple[Path, GroundingRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, record = run
    write_gallery([path], tmp_path)
    own = [GroundingSource(path=tmp_path / "a.json", record=record)]
    examples = shown_galleries(tmp_path, own)
    page = page_of(find(own, resamples=20), own, examples=examples)
    assert "### Examples\n\n![Examples of scenes" in page
    assert "(figures/examples-scenes.png)" in page
    made_up = [GroundingSource(path=tmp_path / "a.json", record=grounding_record("diff-prompt"))]
    assert shown_galleries(tmp_path, made_up) == {}
    assert "### Examples" not in page_of(find(made_up, resamples=20), made_up)
    monkeypatch.setattr(gallery_page, "UNSHARED", ("scenes",))
    assert shown_galleries(tmp_path, own) == {}, "other people's photographs are on no page"


def test_other_pictures_and_other_expressions_are_refused(
    run: tuple[Path, GroundingRecord], tmp_path: Path
) -> None:
    (tmp_path / "figures").mkdir()
    target = tmp_path / "figures" / "examples-scenes.png"
    Image.new("RGB", (4, 4)).save(target)
    with pytest.raises(DataError, match="no figure of 'diffuprompt ground study'"):
        shown_galleries(tmp_path, [])
    path, record = run
    other = record.tests[0].model_copy(update={"content": "other"})
    with pytest.raises(DataError, match="is another one than it was scored on"):
        scored_set(path, other)
