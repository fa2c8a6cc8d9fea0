"""A complete run: what it leaves, what it says, and what it does not do twice."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import arviz as az
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

import bayesxs as package
from bayesxs.cards.overrides import parse_overrides
from bayesxs.progress import Reporter
from bayesxs.runs.pipeline import STAGES, Analysis
from bayesxs.storage.run_folder import RunFolder

PARAMETER = {
    *("mean", "sd", "median", "hdi68", "hdi90", "ess_bulk", "ess_tail", "r_hat"),
    *("mle", "bootstrap_sd", "hdi68_mcse", "hdi90_mcse", "unit"),
}
# Of a highest-density region of several intervals
PARTS = {"hdi68_parts", "hdi90_parts"}
TEXT = (".unit", "resolution_warning")
PARAMETERS = {"dm31", "sin2_theta23", "sin2_2theta23"}

# What `bayesxs run` does; the others are asked for by name
RUN = [name for name in STAGES if name not in ("budget", "campaign")]


def leaves(table: Any) -> Iterator[float]:
    if isinstance(table, dict):
        for value in table.values():
            yield from leaves(value)
    elif isinstance(table, list):
        for value in table:
            yield from leaves(value)
    elif not isinstance(table, str):
        yield table


def test_a_run_leaves_the_promised_files(finished: Path) -> None:
    promised = {
        *("config.toml", "manifest.json", "network.safetensors", "training.csv", "events.nc"),
        *("near_detector.nc", "posterior_truth.nc", "posterior_learned.nc"),
        *("summary.json", "summary.csv", "report.html"),
    }
    assert promised <= {path.name for path in finished.iterdir()}
    assert len(list(finished.glob("figures/*.png"))) >= 15
    assert not list(finished.rglob(".partial*"))
    assert not (finished / "checkpoints").exists()


def test_the_summary_has_the_stable_keys_numbers_and_units(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    # The card's energies are few, and the summary says so
    assert "grid.energy_order = 1" in summary.pop("resolution_warning")
    assert set(summary) == {
        *("near", "far", "cross_section_3d", "asimov", "truth", "learned", "seconds")
    }
    assert set(summary["near"]) == set(summary["far"]) == {"rel_l2"}
    assert set(summary["cross_section_3d"]) == {"rel_l2", "negative_fraction"}
    assert PARAMETERS >= set(summary["asimov"]["shift_sigma"]) >= {"dm31", "sin2_2theta23"}
    for kind in ("truth", "learned"):
        others = {"octant_upper_probability", "divergences", "seconds"}
        assert set(summary[kind]) == PARAMETERS | others
        for name in PARAMETERS:
            assert set(summary[kind][name]) - PARTS == PARAMETER
            assert summary[kind][name]["unit"] == ("eV2" if name == "dm31" else "1")
            low, high = summary[kind][name]["hdi68"]
            assert low < high
    assert set(summary["seconds"]) == {
        *("operator", "train", "simulate", "sample", "bootstrap", "report", "total")
    }
    assert all(math.isfinite(value) for value in leaves(summary))
    # The default head is positive by construction
    assert summary["cross_section_3d"]["negative_fraction"] == 0.0


def test_the_csv_says_the_same_as_the_json(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    with (finished / "summary.csv").open(newline="") as file:
        read = {row["key"]: row["value"] for row in csv.DictReader(file)}
    rows = {key: float(value) for key, value in read.items() if not key.endswith(TEXT)}
    assert rows["learned.dm31.mean"] == summary["learned"]["dm31"]["mean"]
    assert rows["truth.dm31.hdi68.low"] == summary["truth"]["dm31"]["hdi68"][0]
    assert sorted(rows.values()) == sorted(map(float, leaves(summary)))


@pytest.mark.parametrize("kind", ["truth", "learned"])
def test_posteriors_are_arviz_trees(kind: str, finished: Path) -> None:
    with xr.open_datatree(finished / f"posterior_{kind}.nc", engine="h5netcdf") as tree:
        assert set(tree.children) == {
            *("posterior", "sample_stats", "log_likelihood", "observed_data", "constant_data"),
            *("posterior_predictive", "bootstrap", "prior", "log_prior"),
        }
        assert dict(tree["posterior"].sizes) == {"chain": 2, "draw": 200}
        assert set(tree["posterior"].data_vars) >= PARAMETERS
        assert tree["sample_stats"]["diverging"].shape == (2, 200)
        assert tree["log_likelihood"].sizes["event"] == 200
        assert tree["bootstrap"].sizes["replica"] == 20
        predicted = tree["posterior_predictive"]
        assert len(predicted.attrs["reported_draws"]) * predicted.sizes["chain"] == 10
        np.testing.assert_array_equal(predicted["draw"], tree["log_likelihood"]["draw"])
        assert predicted["events"].shape == tree["log_likelihood"]["events"].shape
        assert np.isfinite(az.loo_pit(tree, var_names="events")["events"]).all()
        for spectrum in ("lepton_energy_counts", "z_counts"):
            assert (predicted[spectrum].sum(spectrum.replace("counts", "bin")) == 200).all()


def test_the_report_needs_no_other_file(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    sources = re.findall(r"""\b(?:src|href)\s*=\s*["']?([^"'\s>]+)""", page)
    pictures = [source for source in sources if source.startswith("data:image/png;base64,")]
    assert len(pictures) == len(list(finished.glob("figures/*.png")))
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert not re.search(r"@import|url\((?!['\"]?(?:data:|#))", page)


def test_the_manifest_says_how_the_run_was_made(finished: Path) -> None:
    manifest = json.loads((finished / "manifest.json").read_text())
    assert set(manifest["stages"]) == set(RUN)
    assert manifest["seeds"] == {"seed": 3}
    assert manifest["device"]["platform"] == "cpu"
    assert all(record["seconds"] > 0 for record in manifest["stages"].values())
    on_disk = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    outputs = {name for record in manifest["stages"].values() for name in record["outputs"]}
    assert on_disk - outputs == {"config.toml", "manifest.json", ".lock"}


def test_a_finished_run_is_not_run_again(bayesxs, card: Path, finished: Path) -> None:
    def state() -> dict[str, bytes]:
        files = (path for path in finished.rglob("*") if path.is_file() and path.name != ".lock")
        return {str(path): path.read_bytes() for path in files}

    before = state()
    done = bayesxs("run", card, "--out", finished, "--resume")
    assert done.code == 0
    assert sorted(done.stderr.splitlines()) == sorted(f"{name}: up to date" for name in RUN)
    assert done.stdout == f"report: {finished}/report.html\n"
    assert state() == before


SAMPLED = {"sample", "posterior", "report"}
ALL = set(RUN)


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        ("report.predictive_draws=11", {"posterior", "report"}),
        ("sampler.draws=100", SAMPLED),
        ("priors.dm31.low=0.0021", SAMPLED | {"bootstrap"}),
        ("bootstrap.replicas=30", {"bootstrap", "posterior", "report"}),
        ("far.events=201", ALL - {"train"}),
        ("oscillation.s2_23=0.45", ALL - {"train"}),
        ("training.lbfgs_steps=61", ALL - {"simulate"}),
        ("network.width=9", ALL - {"simulate"}),
        ("grid.z=13", ALL - {"simulate"}),
        ("seed=4", ALL),
        ("beam.energy_max_GeV=9.0", ALL),
        ("nature.protons=17", ALL),
    ],
)
def test_a_changed_key_concerns_the_stages_that_read_it(
    change: str, stale: set[str], card: Path, finished: Path
) -> None:
    changes = parse_overrides([change])
    changed = Analysis(
        package.load_card(card, overrides=changes), RunFolder.view(finished), Reporter(False)
    )
    recorded = RunFolder.view(finished).stages
    assert {name for name in RUN if changed.key(name) != recorded[name]["key"]} == stale


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep what the Python interface sets up out of the other tests."""
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=1")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "compiled"))


def test_the_python_interface(
    environment: None,
    card: Path,
    finished: Path,
    tmp_path: Path,
    numbers: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    run = package.run(
        card, out=folder, overrides={"report": {"predictive_draws": 10}}, progress=False
    )
    assert capsys.readouterr() == ("", "")
    assert numbers(folder) == numbers(finished)
    assert run.path == folder
    assert run.report == folder / "report.html"
    assert run.card.far.events == len(run.events.event) == 200
    assert run.summary["learned"]["dm31"]["mean"] == pytest.approx(
        float(run.posterior()["posterior"]["dm31"].mean())
    )
    assert set(run.near_detector.children) >= {"density", "structure_functions"}
    again = package.open_run(folder)
    assert again.summary == run.summary
    figure = again.figure("posterior")
    assert isinstance(figure, Figure)
    with pytest.raises(package.InputError, match=r"figure = no_such: one of posterior, octant"):
        again.figure("no_such")
    with pytest.raises(package.InputError, match="no such folder"):
        package.open_run(tmp_path / "absent")
    with pytest.raises(package.InputError, match="overrides: seed = None: must be a valid integer"):
        package.run(card, out=folder, overrides={"seed": None})


COUNTED = """
import json, sys
from pathlib import Path
from bayesxs.cards.card import load_card
from bayesxs.session import prepare_run
card = load_card(sys.argv[1], overrides={"seed": 4})
prepare_run(card.sampler.chains)
import jax
from bayesxs.runs import pipeline
counts = {}
def count(event, **_):
    name = event.rsplit("/", 1)[-1]
    counts[name] = counts.get(name, 0) + 1
jax.monitoring.register_event_listener(count)
pipeline.run(card, Path(sys.argv[2]), progress=False)
print(json.dumps(counts))
"""


def test_a_second_run_of_another_seed_compiles_nothing(
    finished: Path, card: Path, compiling: dict[str, str], tmp_path: Path
) -> None:
    """Every program of the first run, of the same session and folder of programs, serves again."""
    if float(os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"]) > 0.0:
        pytest.skip("the environment keeps only programs that are long to compile")
    command = [sys.executable, "-c", COUNTED, card, tmp_path / "run"]
    environment = {**os.environ, **compiling}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts["cache_hits"] == counts["compile_requests_use_cache"] > 100
    assert "cache_misses" not in counts
