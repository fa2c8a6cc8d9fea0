"""Contours and their tables: a normal distribution has ellipses; HEPData takes the archive."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml
from hepdata_validator.full_submission_validator import FullSubmissionValidator

from bayesxs.report.contour_tables import contour_columns, release
from bayesxs.report.contours import PLANES, Contour, contours
from bayesxs.report.hepdata import Column, HepDataTable, submission
from bayesxs.storage.atomic import write_csv

MEAN = {"dcp": np.radians(175.0), "sin2_theta13": 0.022, "sin2_theta23": 0.55}
SD = {"dcp": np.radians(25.0), "sin2_theta13": 0.001, "sin2_theta23": 0.01}
SPLITTING, WIDTH, DM21 = 2.45e-3, 1e-5, 7.4e-5


def drawn(sign: float) -> xr.Dataset:
    rng = np.random.default_rng(5)
    draws = {name: rng.normal(MEAN[name], SD[name], 40_000) for name in MEAN}
    draws["dcp"] = np.mod(draws["dcp"] + np.pi, 2.0 * np.pi) - np.pi
    draws["dm31"] = sign * rng.normal(SPLITTING, WIDTH, 40_000) + DM21
    draws["dm21"] = np.full(40_000, DM21)
    return xr.Dataset({name: ("draw", values) for name, values in draws.items()})


@pytest.fixture(scope="module")
def lines() -> dict[tuple[str, str], list[Contour]]:
    orderings = {"normal": drawn(1.0), "inverted": drawn(-1.0)}
    return {p: [c for n, d in orderings.items() for c in contours(d, p, n)] for p in PLANES}


@pytest.fixture(scope="module")
def archive(lines: dict[tuple[str, str], list[Contour]]) -> bytes:
    mode = {"probability": 0.25, "probability_error": 0.01, "log_evidence": -5.0}
    modes = [
        {"ordering": ordering, "octant": octant, **mode, "log_evidence_error": 0.02}
        for ordering in ("normal", "inverted")
        for octant in ("lower", "upper")
    ]
    dcp = np.linspace(-np.pi, np.pi, 12, endpoint=False)
    density = {
        "total": ("dcp", np.full(12, 0.5 / np.pi)),
        "total_error": ("dcp", np.full(12, 1e-3)),
    }
    everything = [line for own in lines.values() for line in own]
    return release(everything, {"modes": modes}, xr.Dataset(density, {"dcp": dcp}))


@pytest.mark.parametrize("percent", [68, 95])
def test_contours_of_a_normal_distribution_are_ellipses(
    lines: dict[tuple[str, str], list[Contour]], percent: int
) -> None:
    for line in (c for c in lines["sin2_theta23", "dm32"] if c.percent == percent):
        x = (line.x - MEAN["sin2_theta23"]) / SD["sin2_theta23"]
        y = (line.y - 1e3 * SPLITTING) / (1e3 * WIDTH)
        # chi2 of two degrees of freedom; 40 000 draws, smoothed: a radius to some percent
        radius = np.sqrt(-2.0 * np.log(1.0 - percent / 100.0))
        np.testing.assert_allclose(np.hypot(x, y).mean(), radius, rtol=0.03)
        np.testing.assert_allclose(np.hypot(x, y), radius, rtol=0.12)


def test_a_contour_ends_at_the_seam_of_the_circle(
    lines: dict[tuple[str, str], list[Contour]],
) -> None:
    own = [c for c in lines["dcp", "sin2_theta13"] if (c.ordering, c.percent) == ("normal", 68)]
    assert len(own) == 2  # one on either side
    ends = sorted(float(line.x[place]) for line in own for place in (0, -1))
    np.testing.assert_allclose(ends, [-180.0, -180.0, 180.0, 180.0])


def test_hepdata_takes_the_archive(archive: bytes, tmp_path: Path) -> None:
    path = tmp_path / "hepdata.zip"
    path.write_bytes(archive)
    validator = FullSubmissionValidator()
    assert validator.validate(archive=str(path)), validator.get_messages()


def test_tables_hold_the_points_with_units(
    lines: dict[tuple[str, str], list[Contour]], archive: bytes, tmp_path: Path
) -> None:
    plane = ("sin2_theta23", "dm32")
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        found = yaml.safe_load(opened.read("contour_sin2_theta23_dm32_IO_95.yaml"))
    (up, _), (across,) = found["dependent_variables"], found["independent_variables"]
    assert up["header"] == {"name": "$\\Delta m^2_{32}$", "units": "eV$^2$"}
    level = {"name": "Credible level", "value": 95.0, "units": "%"}
    assert level in up["qualifiers"]
    own = [c for c in lines[plane] if (c.ordering, c.percent) == ("inverted", 95)]
    for column, wanted in (
        (across, np.concatenate([line.x for line in own])),
        (up, -1e-3 * np.concatenate([line.y for line in own])),  # of the inverted ordering, in eV^2
    ):
        values = [entry["value"] for entry in column["values"]]
        np.testing.assert_allclose(values, wanted, rtol=1e-6)
    write_csv(tmp_path / "contours.csv", contour_columns(lines[plane]))
    with (tmp_path / "contours.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    chosen = [r for r in rows if (r["ordering"], r["level_percent"]) == ("inverted", "95")]
    np.testing.assert_allclose([float(r["dm32_eV2"]) for r in chosen], values, rtol=1e-6)


def test_tables_that_hepdata_would_refuse_are_refused() -> None:
    column = Column("x", [1.0, 2.0])
    table = HepDataTable("a", "A", "", ("x",), (column,), (Column("y", [1.0]),))
    with pytest.raises(ValueError, match="different lengths"):
        submission([table], "")
    good = HepDataTable("a", "A", "", ("x",), (column,), (column,))
    with pytest.raises(ValueError, match="of their own"):
        submission([good, good], "")
