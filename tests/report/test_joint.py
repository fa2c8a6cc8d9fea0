"""A joint model of near and far data: its words, table and figure."""

from __future__ import annotations

import pytest
from matplotlib.colors import to_rgb

from bayesxs.report.budget import STATISTICS, TOTAL, TWO_STEPS, budget_tables
from bayesxs.report.joint import joint_sentences
from bayesxs.report.plots_systematics import pulls_figure

FLUX = [
    {
        "name": f"flux_{j}",
        "group": "flux",
        "label": f"flux {j}",
        "mean": 0.1 * j,
        "sd": 0.3,
        "near_mean": 0.2 * j,
        "near_sd": 0.6 + 0.2 * j,
        "two_steps_mean": -0.3,
        "two_steps_sd": 0.9,
        "correlation": {"dm31": 0.25},
    }
    for j in range(2)
]
DM31 = {"mean": 2.5e-3, "sd": 2e-5, "two_steps_mean": 2.52e-3, "two_steps_sd": 3e-5}


def test_sentences_set_the_two_steps_beside_the_joint_model():
    first, second = joint_sentences(FLUX, {"dm31": DM31})
    assert first.index("2.500 ± 0.020") < first.index("two steps") < first.index("2.520 ± 0.030")
    # sqrt((0.6^2 + 0.8^2)/2) = 0.71
    assert (
        "0.71 given near data alone, 0.90 given far data alone, 0.30 given near and far" in second
    )


def test_the_table_has_three_pairs_of_columns():
    tables = budget_tables({"nuisances": FLUX, "joint": {"parameters": {"dm31": DM31}}}, 400.0)
    assert tables.sources == ("near data alone", "far data alone", "near and far")
    ((_, rows),) = tables.nuisances
    assert rows[1].cells == ("+0.20", "0.80", "−0.30", "0.90", "+0.10", "0.30", "+0.25")
    plain = [{k: v for k, v in row.items() if "_" not in k} for row in FLUX]
    tables = budget_tables({"nuisances": plain}, 400.0)
    assert tables.sources == ()
    assert tables.nuisances[0][1][1].cells == ("+0.10", "0.30", "+0.25")


def test_a_budget_has_both_ways_in_its_rows():
    rows = [
        {"name": name, "dm31": {"mean": mean, "sd": sd, "contribution": 0.0, "shift": 0.0}}
        for name, mean, sd in (
            (STATISTICS, 2.5e-3, 1e-5),
            (TWO_STEPS, 2.52e-3, 3e-5),
            (TOTAL, 2.5e-3, 2e-5),
        )
    ]
    tables = budget_tables({"rows": rows, "nuisances": FLUX}, 400.0)
    assert any("(2.520 ± 0.030)" in words for words in tables.sentences)


def test_the_figure_draws_all_three():
    figure = pulls_figure({"nuisances": FLUX})
    left = figure.axes[0]
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["prior", "near data alone", "far data alone", "near and far data"]
    bands = [p for p in left.patches if p.get_width() == pytest.approx(1.6)]
    assert [p.get_x() for p in bands] == pytest.approx([0.2 - 0.8])
    means = [float(line.get_xdata()[0]) for line in left.lines if len(line.get_xdata()) == 1]
    assert -0.3 in means
    assert 0.1 in means
    # What is drawn as data is not as pale as what was known before; the legend has its colors
    lines = {float(line.get_xdata()[0]): line for line in left.lines if len(line.get_xdata()) == 1}
    handles = dict(zip(words, figure.legends[0].legend_handles, strict=True))
    for at, name in ((-0.3, "far data alone"), (0.1, "near and far data")):
        color = lines[at].get_color()
        assert color == handles[name].get_color()
        assert max(to_rgb(color)) < 0.7
