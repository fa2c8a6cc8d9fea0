"""Scans of sensitivities in a folder."""

from __future__ import annotations

import csv
from math import pi
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import bayesxs
from bayesxs.runs.counted import report_counted
from bayesxs.runs.sensitivity import in_words, summary, table

CARD = {
    "configuration": {"type": "dune"},
    "scan": {"quantities": ["cp_violation"], "dcp_values": 3},
}


def test_a_scan_is_kept_with_its_tables(tmp_path: Path) -> None:
    folder = tmp_path / "scan"
    found = bayesxs.sensitivity(CARD, out=folder, progress=False)
    scan = found.scan()
    with (folder / "dcp.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["dcp_deg"]) for row in rows] == [-180.0, 0.0, 180.0]
    written = [float(row["cp_violation_sigma"]) for row in rows]
    np.testing.assert_allclose(written, scan["cp_violation"], atol=1e-9)
    np.testing.assert_allclose(written, 0.0, atol=1e-2)  # CP is conserved at all three
    assert found.summary["exposure_kt_MW_yr"] == pytest.approx(624.0)
    assert found.summary["converged"]
    before = (folder / "dcp.nc").stat().st_mtime_ns
    assert bayesxs.sensitivity(CARD, out=folder, progress=False).card == found.card
    assert (folder / "dcp.nc").stat().st_mtime_ns == before
    with pytest.raises(bayesxs.InputError, match="was made with another card"):
        bayesxs.sensitivity(CARD, out=folder, overrides={"seed": 1}, progress=False)
    with pytest.raises(bayesxs.InputError, match="no finished stage"):
        found.scan("octant")
    with pytest.raises(bayesxs.InputError, match=r"holds no posterior of .*, but scans: see fig"):
        report_counted(folder, progress=False)


def test_bad_input_leaves_no_folder(tmp_path: Path) -> None:
    card = {"configuration": {"type": "globes", "path": tmp_path / "no.glb"}}
    with pytest.raises(bayesxs.InputError):
        bayesxs.sensitivity(card, out=tmp_path / "scan", progress=False)
    assert not (tmp_path / "scan").exists()


def test_summaries_hold_extremes_and_parts() -> None:
    dcp = pi * np.linspace(-1.0, 1.0, 5)
    scan = xr.Dataset(
        {
            "cp_violation": ("dcp", [0.0, 4.0, 0.0, 6.0, 0.0]),
            "resolution": ("dcp", [0.1, 0.2, np.nan, 0.2, 0.1]),
            "converged": ("dcp", [True, True, False, True, True]),
        },
        {"dcp": dcp},
    )
    found = summary({"dcp": scan})
    violation = found["cp_violation"]
    assert violation["negative_peak"] == {"value": 4.0, "dcp_over_pi": -0.5}
    assert violation["largest"] == {"value": 6.0, "dcp_over_pi": 0.5}
    assert violation["part_above_3_sigma"] == 0.5 and violation["part_above_5_sigma"] == 0.25
    assert found["resolution_deg"]["largest"]["value"] == pytest.approx(np.degrees(0.2))
    assert not found["converged"] and "not all minima" in in_words(found)
    assert table(scan)["resolution_deg"][0] == pytest.approx(np.degrees(0.1))
