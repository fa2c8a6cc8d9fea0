"""A run on samples in reconstructed energy: its folder, its page, its export."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from typer.testing import CliRunner

import bayesxs
from bayesxs.cli.main import app
from bayesxs.inference.reweighting import flat_in_sine
from bayesxs.inference.sampling import Piece
from bayesxs.inputs.binned import read_counts
from bayesxs.report.contour_tables import release
from bayesxs.report.modes import render_modes
from bayesxs.runs import counted
from bayesxs.runs.chains import ChainPieces
from bayesxs.runs.counted_report import in_words
from bayesxs.runs.records import read_counted_summary
from bayesxs.storage.netcdf import read_dataset

CARD = {
    "seed": 4,
    "configuration": {"type": "dune", "neutrino_years": 0.5, "antineutrino_years": 0.5},
    "truth": {"dcp_deg": -90.0},
    "constraints": "reactor",
    "sampler": {"chains": 1, "warmup": 60, "draws": 60},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> bayesxs.Inference:
    """Make a run that is interrupted after its first 60 steps, and goes on."""
    folder, save = tmp_path_factory.mktemp("infer") / "run", ChainPieces.save
    done: list[int] = []

    def interrupt(pieces: ChainPieces, piece: Piece) -> None:
        save(pieces, piece)
        done.append(piece.done)
        if len(done) == 1:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ChainPieces, "save", interrupt)
        with pytest.raises(KeyboardInterrupt):
            bayesxs.infer(CARD, out=folder, progress=False)
        with pytest.raises(bayesxs.InputError, match="not finished"):
            bayesxs.open_inference(folder)
        found = bayesxs.infer(CARD, out=folder, progress=False)
    assert done == [60, 120]
    assert not (folder / "checkpoints").exists()
    return found


def test_a_run_leaves_posterior_page_and_tables(run: bayesxs.Inference) -> None:
    with (run.path / "modes.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(r["ordering"], r["octant"]) for r in rows] == [
        ("normal", "lower"),
        ("normal", "upper"),
        ("inverted", "lower"),
        ("inverted", "upper"),
    ]
    assert sum(float(r["probability"]) for r in rows) == pytest.approx(1.0)
    draws = run.posterior["posterior"]
    assert draws["dcp"].shape == (1, 60)
    assert np.all(np.abs(draws["dcp"]) <= np.pi)
    assert set(run.summary["p_values"]) == {"nue_app", "nuebar_app", "numu_dis", "numubar_dis"}
    page = run.report.read_text()
    for words in (
        "normal ordering, lower octant",
        "Bayes factor",
        "Jarlskog",
        "Predictive spectra",
    ):
        assert words in page
    figures = {path.stem.partition("-")[0] for path in (run.path / "figures").iterdir()}
    assert figures == {
        *("triangle", "contours", "phase", "spectra", "nuisances", "biprobability"),
        *("trace", "energy"),  # ranks compare chains, of which there is one
    }
    again = bayesxs.infer(CARD, out=run.path, progress=False)
    assert again.summary == run.summary


def test_draws_are_weighed_anew_for_other_priors(run: bayesxs.Inference) -> None:
    share = run.modes.dataset["log_weight"]
    found = run.reweighted({"dcp": flat_in_sine})
    assert found.probabilities["mode"].values.tolist() == share["mode"].values.tolist()
    assert 1.0 < found.ess <= share.size * 60
    summary = run.summary["other_priors"]["flat_in_sin_dcp"]
    assert summary["ess"] == pytest.approx(found.ess)
    normal = found.probabilities["probability"].values[:2].sum()
    assert summary["normal"] == pytest.approx(float(normal))
    with pytest.raises(bayesxs.InputError, match="one of"):
        run.reweighted({"sin2_theta24": bayesxs.Flat(0.0, 1.0)})


def test_the_report_is_written_anew_from_the_files(run: bayesxs.Inference) -> None:
    before = run.report.read_bytes(), (run.path / "hepdata.zip").read_bytes()
    for name in ("report.html", "hepdata.zip", "figures/phase.png"):
        (run.path / name).unlink()
    outcome = CliRunner().invoke(app, ["report", str(run.path)])
    assert outcome.exit_code == 0, outcome.output
    assert (run.path / "figures" / "phase.png").exists()
    seconds = re.compile(rb"\d+\.\d+ s|\d{4}-\d\d-\d\dT[\d:+]+")  # of stages, and dates
    after = run.report.read_bytes(), (run.path / "hepdata.zip").read_bytes()
    assert [seconds.sub(b"", text) for text in after] == [seconds.sub(b"", t) for t in before]
    outcome = CliRunner().invoke(app, ["bootstrap", str(run.path)])
    assert outcome.exit_code == 2
    assert "bootstrap: sample or report" in outcome.output
    with pytest.raises(bayesxs.InputError, match="one of triangle, contours"):
        run.figure("octants")


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        (lambda s: s.pop("p_values"), "p_values = (missing)"),
        (lambda s: s["modes"][1].pop("octant"), "modes[1].octant = (missing)"),
        (lambda s: s.update(modes=3), "modes = 3"),
        (lambda s: s["p_values"].pop("nue_app"), "p_values.nue_app = (missing)"),
        (lambda s: s["parameters"].pop("dcp"), "parameters.dcp = (missing)"),
    ],
)
def test_a_folder_of_somebody_else_is_refused_in_one_line(
    run: bayesxs.Inference, tmp_path: Path, change: Callable[[dict], object], missing: str
) -> None:
    folder = tmp_path / "forged"
    shutil.copytree(run.path, folder)
    summary = json.loads((folder / "summary.json").read_text())
    change(summary)
    (folder / "summary.json").write_text(json.dumps(summary))
    manifest = json.loads((folder / "manifest.json").read_text())
    digest = hashlib.sha256((folder / "summary.json").read_bytes()).hexdigest()
    manifest["stages"]["posterior"]["outputs"]["summary.json"] = digest
    (folder / "manifest.json").write_text(json.dumps(manifest))
    outcome = CliRunner().invoke(app, ["report", str(folder)])
    assert outcome.exit_code == 2
    assert f"summary.json: {missing}: damaged, or of another version" in outcome.output


@pytest.mark.parametrize("value", [None, "text"])
def test_a_summary_that_lacks_something_is_refused_or_shown(
    run: bayesxs.Inference, changed: Callable[..., Any], value: str | None, tmp_path: Path
) -> None:
    path, refused = tmp_path / "summary.json", 0
    few = {n: run.summary[n][:1] for n in ("modes", "nuisances")}
    content = run.summary | few | {"parameters": {"dcp": run.summary["parameters"]["dcp"]}}
    phases = read_dataset(run.path / "phases.nc")
    for key, other in changed(content, value):
        path.write_text(json.dumps(other))
        try:
            found = read_counted_summary(path)
        except bayesxs.InputError as error:
            refused += 1
            assert f"{path}: " in str(error)
            assert f"{key} = " in str(error)
        else:
            assert in_words(found)
            release([], found, phases)
            render_modes(found, {}, "", {})
    assert refused > 40


def test_a_posterior_of_another_layout_is_made_anew(
    run: bayesxs.Inference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counted, "LAYOUT", counted.LAYOUT + 1)
    monkeypatch.setattr(counted, "_sample", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        bayesxs.infer(CARD, out=run.path, progress=False)


def test_the_export_holds_the_same_draws(run: bayesxs.Inference) -> None:
    with uproot.open(run.root) as file:
        tree = file["mcmc"].arrays(library="np")
    draws = run.posterior["posterior"]
    np.testing.assert_allclose(tree["DeltaCP"], draws["dcp"].values.ravel(), atol=1e-12)
    wanted = (draws["dm31"] - draws["dm21"]).values.ravel()
    np.testing.assert_allclose(tree["Deltam2_32"], wanted, rtol=1e-12)


def test_the_official_tool_re_weights_the_export(run: bayesxs.Inference) -> None:
    numcmctools = pytest.importorskip("numcmctools")
    samples = numcmctools.MCMCSamples(str(run.root), "mcmc")
    dcp = np.mod(run.posterior["posterior"]["dcp"].values.ravel(), 2.0 * np.pi)  # its branch
    for prior, weights in (
        ("Uniform:DeltaCP", np.ones_like(dcp)),
        ("Uniform:sin(DeltaCP)", np.exp(flat_in_sine(dcp))),
    ):
        stack = numcmctools.PlotStack(samples)
        stack.add_plot(["DeltaCP"], [prior], [], 12, [0.0, 2.0 * np.pi], False)
        stack.fill_plots()
        found = np.asarray(stack.plots[0].hist)
        wanted, _ = np.histogram(dcp, np.linspace(0.0, 2.0 * np.pi, 13), weights=weights)
        np.testing.assert_allclose(found / found.sum(), wanted / wanted.sum(), atol=1e-6)


def table(path: Path, samples: object, change: dict[int, str] | None = None) -> Path:
    """Write the expected counts of samples as a user would."""
    lines = ["sample,energy_low_GeV,energy_high_GeV,counts"]
    for name, inside in zip(samples.names, samples.inside, strict=True):
        for place in np.flatnonzero(inside):
            low, high = samples.edges[place : place + 2]
            lines.append(f"{name},{low},{high},{place}")
    for number, text in (change or {}).items():
        lines[number] = text
    path.write_text("\n".join([line for line in lines if line]) + "\n")
    return path


def test_counts_are_read_from_a_file(tmp_path: Path) -> None:
    samples = bayesxs.dune_samples(1.0)
    arguments = samples.names, samples.edges, samples.inside
    counts = read_counts(table(tmp_path / "counts.csv", samples), *arguments)
    places = np.broadcast_to(np.arange(len(samples.edges) - 1), samples.inside.shape)
    np.testing.assert_array_equal(counts, places[samples.inside])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: "sample,low,high,n"}, "header"),
        ({1: "nue,0.5,0.625,3"}, "row 2: sample = nue: one of nue_app"),
        ({1: "nue_app,0.5,0.7,3"}, "row 2: bin = 0.5 to 0.7: a bin of the detector"),
        ({1: "nue_app,0.5,0.625,-3"}, "row 2: counts = -3.0: 0 or above"),
        ({1: "nue_app,0.5,0.625,many"}, "row 2: counts = many: a number"),
        ({2: "nue_app,0.5,0.625,3"}, "row 3: bin = 0.5 to 0.625: each bin once"),
        ({1: ""}, "no row for the bin nue_app, 0.5 to 0.625 GeV"),
    ],
)
def test_counts_that_are_wrong_are_named(
    tmp_path: Path, change: dict[int, str], message: str
) -> None:
    samples = bayesxs.dune_samples(1.0)
    path = table(tmp_path / "counts.csv", samples, change)
    with pytest.raises(bayesxs.InputError, match=message):
        read_counts(path, samples.names, samples.edges, samples.inside)
