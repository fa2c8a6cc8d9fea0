"""The budget of uncertainties: a phase is an angle; parameters that are fixed have no column."""

from __future__ import annotations

import numpy as np
import pytest

from bayesxs.inference.nuisances import GROUPS
from bayesxs.report.budget import STATISTICS, TOTAL, budget_tables
from bayesxs.runs.budget import _apart, _tabulate


def result(mean: float, sd: float) -> dict:
    return {"dcp": {"mean": mean, "sd": sd, "ess_bulk": 900.0}, "divergences": 0, "seconds": 1.0}


def test_shifts_of_the_phase_go_the_shorter_way() -> None:
    results = {
        STATISTICS: result(3.1, 0.3),
        "lepton_ratio": result(3.1, 0.34),
        TOTAL: result(-3.1, 0.5),
    }
    budget = _tabulate(results, result(3.1, 0.3))
    ratio, total = budget["rows"][1:]
    assert ratio["label"] == GROUPS["lepton_ratio"] == "nu_e/nu_mu cross section"
    assert ratio["dcp"]["contribution"] == pytest.approx(0.16)
    assert total["dcp"]["contribution"] == pytest.approx(0.4)
    assert total["dcp"]["shift"] == pytest.approx((2.0 * np.pi - 6.2) / 0.5)
    assert "dm31" not in ratio
    tables = budget_tables(budget | {"nuisances": []}, 400.0)
    assert [row.head for row in tables.rows] == ["statistics", ratio["label"], "all together"]
    assert len(tables.headings) == 1


def test_draws_of_the_phase_lie_about_their_center() -> None:
    draws = np.array([3.0, -3.0, np.pi])
    np.testing.assert_allclose(_apart("dcp", draws, np.pi), draws - [np.pi, -np.pi, np.pi])
    np.testing.assert_array_equal(_apart("dm31", draws, 1.0), draws - 1.0)
