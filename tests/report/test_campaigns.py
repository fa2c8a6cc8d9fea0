"""Campaigns of every kind in words and tables: what is right is called so, what is off is named."""

from __future__ import annotations

import pytest
from scipy import stats

from bayesxs.report.calibration import campaign_tables, render_campaign
from bayesxs.report.campaigns import (
    INTERVAL_WORDS,
    bootstrap_verdict,
    coverage_verdict,
    ensemble_verdict,
    found_tables,
    sensitivity_verdict,
)

POINTS = ({"sin2_theta23": 0.42, "dm31": 2.45e-3}, {"sin2_theta23": 0.58, "dm31": 2.6e-3})


def coverage_rows(pulls):
    """Rows of every point, level and kind; a pull for some of them, one half for the others."""
    rows = []
    for number, point in enumerate(POINTS):
        for level in (0.68, 0.9):
            error = (level * (1.0 - level) / 400) ** 0.5
            for kind in INTERVAL_WORDS:
                pull = pulls.get((number, level, kind), 0.5)
                held = {"fraction": level + pull * error, "error": error, "pull": pull}
                row = {"point": point, "level": level, "interval": kind, "length": 4e-5}
                rows.append(row | held)
    return rows


def test_intervals_that_cover():
    intervals = {"dm31": coverage_rows({(1, 0.9, "hdi"): -2.4})}
    text = coverage_verdict(intervals)
    assert text.startswith(
        "68 % and 90 % HDIs of Δm²₃₁ cover within 2.5 binomial σ at all 2 points"
    )
    assert "−2.4 σ" in text
    tables, reasons = found_tables({"intervals": intervals})
    assert not reasons
    (table,) = tables
    assert table.columns[2:] == tuple(INTERVAL_WORDS.values())
    assert [row.cells[0] for row in table.rows] == ["68 %", "90 %", "68 %", "90 %"]
    assert table.rows[0].head == "sin²θ₂₃ = 0.42, Δm²₃₁ = 2.45"
    assert table.rows[3].cells[1] == "86.4 (−2.4)"  # 90 % less 2.4 times 1.5 %


def test_intervals_that_do_not():
    off = {(0, 0.68, "basic"): -9.0, (1, 0.68, "basic"): -7.0, (1, 0.9, "hdi"): 3.0}
    intervals = {"sin2_theta23": coverage_rows(off)}
    assert "off by more than 2.5 binomial σ in 1 of 4 cases" in coverage_verdict(intervals)
    assert "94.5 % of 90 % at sin²θ₂₃ = 0.58, Δm²₃₁ = 2.6" in coverage_verdict(intervals)
    reasons = found_tables({"intervals": intervals})[1]
    # Among twenty a pull of 3 is no news: the limit is that of a part in 4000
    assert stats.norm.isf(0.005 / 20) > 3.0
    assert reasons == ["sin²θ₂₃, basic bootstrap: off in 2 of 4 cases, coverage there 47 % to 52 %"]
    summary = {"kind": "coverage", "intervals": intervals, "verdict": coverage_verdict(intervals)}
    assert not campaign_tables(summary).good
    page = render_campaign(summary, {}, "", {})
    assert "Look at this campaign" in page and "basic bootstrap: off in 2 of 4" in page


def test_sensitivity():
    widths = {"dm31": {"width": [9e-5, 3e-5], "power": -0.477}}
    text = sensitivity_verdict([10.0, 100.0], widths)
    assert text.startswith("σ(Δm²₃₁) falls from 9 × 10⁻⁵ eV² at 10 kt·MW·yr to 3 × 10⁻⁵ eV²")
    assert "power −0.48" in text
    (table,), reasons = found_tables(
        {"widths": widths, "exposures": [10.0, 100.0], "events": [369, 3690]}
    )
    assert not reasons
    assert [row.head for row in table.rows] == [
        "10 kt·MW·yr",
        "100 kt·MW·yr",
        "power of exposure",
    ]
    assert table.rows[0].cells == ("369", "9")


def test_bootstrap():
    entry = {"mle": 2.53e-3, "mean": 2.531e-3, "sd": 2.1e-5}
    entry |= {"interval68": [2.51e-3, 2.552e-3], "interval90": [2.5e-3, 2.56e-3]}
    estimates = {"truth": {"dm31": entry}, "learned": {"dm31": entry | {"mle": 2.54e-3}}}
    text = bootstrap_verdict(estimates)
    assert "2.5300 ± 0.0210" in text and "2.5400 ± 0.0210" in text
    (table,), _ = found_tables({"estimates": estimates})
    assert [row.head.split(", ")[1] for row in table.rows] == [
        "true cross section",
        "learned cross section",
    ]
    assert table.rows[0].cells[3] == "2.5100 to 2.5520"


def test_ensemble():
    distances = {"near_rel_l2": {"median": 2.5e-4, "low": 1e-4, "high": 9e-4}}
    text = ensemble_verdict(16, distances, 0.0123)
    assert text.startswith("16 networks") and "2.50 × 10⁻⁴" in text and "1.2 %" in text
    (table,), _ = found_tables({"distances": distances})
    assert table.rows[0].cells == ("2.50 × 10⁻⁴", "1.00 × 10⁻⁴", "9.00 × 10⁻⁴")


@pytest.mark.parametrize("kind", ["coverage", "bootstrap", "ensemble", "sensitivity"])
def test_a_page_without_findings_says_what_it_is(kind):
    page = render_campaign({"kind": kind, "verdict": "Nothing <yet>."}, {}, "", {})
    assert "Nothing &lt;yet&gt;." in page
