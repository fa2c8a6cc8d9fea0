"""A run whose data come from files: it fits them, and calls nothing true."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from bayesxs.cards.build import build_experiment, near_sources
from bayesxs.cards.card import load_card
from bayesxs.experiment.near import NearData
from bayesxs.runs.pipeline import STAGES

EDGES = "lepton_energy_GeV_low,lepton_energy_GeV_high,z_low,z_high,counts\n"


@pytest.fixture(scope="module")
def measured(bayesxs, card: Path, finished: Path, tmp_path_factory) -> Path:
    """The folder of a run of the tiny card on its own events, and on counts with their edges."""
    folder = tmp_path_factory.mktemp("files")
    changed = load_card(card, overrides={"near.events": 300_000})
    experiment = build_experiment(changed)
    (near,) = NearData(experiment, near_sources(changed, experiment)).detectors.values()
    rows = np.column_stack([near.bins.energy, near.bins.second, near.observed])
    text = "".join(",".join(f"{v:.12g}" for v in row) + "\n" for row in rows)
    (folder / "near.csv").write_text(EDGES + text + "20,30,0.1,0.2,5\n")
    with xr.open_dataset(finished / "events.nc", engine="h5netcdf") as events:
        events.to_dataframe().to_csv(folder / "far.csv")
    with (folder / "far.csv").open("a") as stream:
        columns = (folder / "far.csv").read_text().splitlines()[0].split(",")
        impossible = {"sample": "0", "lepton_energy": "8", "cos_theta": "-0.5"}
        stream.write(",".join(impossible.get(name, "0") for name in columns) + "\n")
    changed = folder / "files.toml"
    changed.write_text(
        re.sub(r"\[far\]\nevents = 200\n", "", card.read_text())
        + "[near]\nfile = 'near.csv'\nimpossible = 'drop'\n"
        + "[far]\nfile = 'far.csv'\nimpossible = 'drop'\n"
        + "[uncertainty]\ntype = 'gaussian_process'\n"
    )
    done = bayesxs("run", changed, "--out", folder / "run", "--quiet")
    assert (done.code, done.stdout, done.stderr) == (0, "", "")
    return folder / "run"


def test_the_summary_holds_goodness_of_fit_and_no_distance(measured: Path) -> None:
    summary = json.loads((measured / "summary.json").read_text())
    assert set(summary) - {"resolution_warning"} == {"near", "far", "learned", "seconds"}
    near, far = summary["near"], summary["far"]
    assert set(near) == {"chi2", "bins", "p_value", "parameters", "dropped"}
    assert near["dropped"] == 5
    assert 0.0 < near["chi2"] < 3.0 * near["bins"]
    assert 0.0 <= near["p_value"] <= 1.0
    assert (far["events"], far["read"], far["impossible"]) == (200, 201, 1)
    assert 0.0 <= far["p_value"] <= 1.0


def test_nothing_is_compared_with_a_truth(measured: Path) -> None:
    names = {path.name for path in measured.iterdir()}
    assert not {"posterior_truth.nc", "asimov.nc"} & names
    with xr.open_datatree(measured / "posterior_learned.nc", engine="h5netcdf") as tree:
        assert not [n for n in tree["constant_data"].data_vars if str(n).startswith("true_")]
    header = (measured / "training.csv").read_text().splitlines()[0]
    assert "near_chi2_per_bin" in header
    assert "rel_l2" not in header
    page = (measured / "report.html").read_text()
    body = re.sub(r"<style.*?</style>|<pre.*?</pre>|<[^>]+>", " ", page, flags=re.DOTALL)
    assert not re.search(r"\btruth\b|true cross|true value|made with|value put in", body)
    assert len(list(measured.glob("figures/*.png"))) >= 7


def test_a_run_on_files_is_not_run_again(bayesxs, measured: Path) -> None:
    card = measured.parent / "files.toml"
    done = bayesxs("run", card, "--out", measured, "--resume")
    assert done.code == 0
    stages = [name for name in STAGES if name not in ("budget", "campaign")]
    assert sorted(done.stderr.splitlines()) == sorted(f"{name}: up to date" for name in stages)
