"""The samplers' benchmark: evaluations as planned, its bound, and its table and figure."""

from __future__ import annotations

import pytest
from benchmarks.sampler_page import Table, chart
from benchmarks.samplers import (
    AMED,
    BETWEEN,
    CHECKED,
    FITTED,
    UNFITTED,
    Errors,
    all_scales,
    fitted,
    measure,
    measure_gaussians,
    settings,
)

from diffuprompt.diffusion.samplers import SAMPLERS


@pytest.mark.parametrize("name", [*SAMPLERS, UNFITTED])
def test_every_setting_spends_what_it_should(name):
    """`measure_gaussians` asserts the count; twice-evaluating samplers reach odd ones too."""
    for nfe in (3, 4):
        every = list(settings(name, nfe))
        assert len({s.grid for s in every}) == 4
        measure_gaussians(every[0])
        measure_gaussians(every[-1])


def test_amed_is_within_three_per_cent_at_five_evaluations_and_ahead():
    """The requirement; fitted once, on scales none of which is measured."""
    assert not set(FITTED) & {*CHECKED, *BETWEEN}
    checked, between = measure_gaussians(fitted(*all_scales(), 5, 16))
    assert max(checked, between) <= 0.03
    rivals = [measure(name, settings(name, 5)).checked for name in ("unipc2", "dpmpp_2m")]
    assert checked < min(rivals)


def test_the_table_marks_the_best_and_says_what_is_missing():
    rows = {
        "a": [Errors(0.5, 0, 0.1), Errors(0.02, 0, 0.1)],
        "b": [Errors(0.123, 0, float("nan"))] * 2,
    }
    text = Table("t", ["4", "5"], rows, "checked").markdown()
    assert "| a | 50 | **2.00** |" in text
    assert "| b | **12** | 12 |" in text
    assert "| b | – | – |" in Table("t", ["4", "5"], rows, "mixture").markdown()


def test_the_figure_names_the_fitted_ones():
    pytest.importorskip("matplotlib")
    rows = {n: [Errors(0.1, 0, 0.1), Errors(0.05, 0, 0.1)] for n in ("euler", "heun", AMED, "b")}
    tables = [Table("one", ["4", "5"], rows, "checked"), Table("two", ["4", "5"], rows, "mixture")]
    svg = chart((4, 5), tables, front=[AMED, "b"])
    assert svg.startswith("<svg")
    assert svg.count(">amed<") == 2
    assert svg == chart((4, 5), tables, front=[AMED, "b"])
