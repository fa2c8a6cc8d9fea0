"""Several samples: each has its errors, its place in files, its spectra and its figures."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from bayesxs.cards.build import build_experiment
from bayesxs.cards.card import load_card
from bayesxs.cards.overrides import parse_overrides
from bayesxs.detector.density import Sample, density
from bayesxs.errors import InputError
from bayesxs.experiment.predictive import _joined
from bayesxs.report.captions import caption, sample_words
from bayesxs.runs import figures, results
from bayesxs.storage.netcdf import read_tree

SAMPLES = '[{}, {flavor_out="e"}]'
FEW = ["grid.lepton_energies=20", "grid.z=20", "grid.nodes_x=20", "grid.nodes_q2=20"]
CERTAIN = 'uncertainty={type="gaussian_process"}'  # no network is asked for


class FakeStage:
    """What a stage of a run gives to those who fill it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes: dict = {}

    def output(self, name: str) -> Path:
        return self.folder / name


def compared(folder: Path, samples: str, wrong: dict[str, float]):
    """Compare cross sections that are wrong by a known amount; return experiment, notes, file."""
    changes = parse_overrides([*FEW, CERTAIN, f"sample={samples}"])
    experiment = build_experiment(load_card(None, "quick", changes))
    values = {}
    for target in experiment.unique_targets:
        geometry = experiment.geometry(target)
        truth = np.nan_to_num(geometry.node_values(target.truth))
        values[target.name] = truth * (1.0 + wrong[target.name] * geometry.nodes.x[:, None])
    stage = FakeStage(folder)
    ratios = {}
    if "e" in values:
        grids = experiment.geometries
        energy = experiment.energies.points
        names = {"numerator": "e", "denominator": "mu", "near_data": "mu"}
        ratio = 1.01 * grids["e"].true_total / grids["mu"].true_total
        data = {"ratio": ("energy", ratio), "sd": ("energy", 0.02 * ratio)}
        ratios["e_over_mu"] = xr.Dataset(data, {"energy": energy}, names)
    channels = SimpleNamespace(
        values=values,
        experiment=experiment,
        simulated=True,
        cross_section=SimpleNamespace(source="gaussian_process", ratios=ratios),
    )
    results.density_stage(None, channels, stage)
    return experiment, values, stage.notes, read_tree(folder / results.NEAR)


def test_the_worst_sample_is_what_a_run_reports(tmp_path):
    wrong = {"mu": 0.01, "e": 0.5}
    experiment, values, notes, tree = compared(tmp_path, SAMPLES, wrong)
    assert list(notes["samples"]) == ["mu_to_mu", "mu_to_e"]
    for sample in experiment.samples:
        target = experiment.targets[sample]
        geometry = experiment.geometry(target)
        flux = experiment.source_flux(sample) * experiment.oscillation(
            sample, experiment.energies.points
        )
        learned = geometry.operator.response(values[target.name]) @ flux
        true = geometry.true_bins.rows @ flux
        shapes = learned / learned.sum() - true / true.sum()
        error = np.linalg.norm(shapes) / np.linalg.norm(true / true.sum())
        clamped = density(geometry.learned_bins(values[target.name]), flux)
        own = notes["samples"][sample.name]
        assert own["target"] == target.name
        assert own["far_rel_l2"] == pytest.approx(error, rel=1e-9)
        found = tree[f"{sample.name}/density"]["far_model"].values.ravel()
        np.testing.assert_allclose(found, clamped, rtol=1e-12)
    for key in ("near_rel_l2", "far_rel_l2", "cross_section_3d_rel_l2"):
        assert notes[key] == max(own[key] for own in notes["samples"].values())
        assert notes[key] == notes["samples"]["mu_to_e"][key]  # the one that is most wrong


def test_ratio_of_leptons_is_a_figure_and_a_table(tmp_path):
    """Half a standard deviation above the true one, at every energy."""
    _, _, _, tree = compared(tmp_path, SAMPLES, {"mu": 0.0, "e": 0.0})
    found = tree["ratio/e_over_mu"].dataset
    np.testing.assert_allclose(found["ratio"] / found["truth"], 1.01, rtol=1e-12)
    np.testing.assert_allclose(found["pull"], 0.01 / 1.01 / 0.02, rtol=1e-9)
    table = np.genfromtxt(tmp_path / "cross_section_ratio.csv", delimiter=",", names=True)
    np.testing.assert_allclose(table["truth"], found["truth"], rtol=1e-6)
    assert table.dtype.names == ("energy_GeV", "ratio", "sd", "truth", "pull")
    # The ratio is no sample
    assert [end for end, _ in figures.by_sample(tree, "density")] == ["-mu_to_mu", "-mu_to_e"]


def test_one_sample_keeps_its_layout(tmp_path):
    _, _, notes, tree = compared(tmp_path, "[{}]", {"mu": 0.01})
    assert "samples" not in notes
    assert set(tree.children) == {"density", "total", "slices", "structure_functions"}


def test_spectra_of_several_samples_stand_along_a_dimension():
    rng = np.random.default_rng(0)
    parts = [{"z_counts": rng.integers(0, 9, (2, 5, 7))} for _ in range(3)]
    names = ["mu_to_mu", "mu_to_e", "anti_mu_to_mu"]
    joined = _joined(parts, names, ("chain", "draw"))
    assert joined["z_counts"].dims == ("chain", "draw", "sample", "z_bin")
    for name, part in zip(names, parts, strict=True):
        np.testing.assert_array_equal(joined["z_counts"].sel(sample=name), part["z_counts"])
    alone = _joined(parts[:1], names[:1], ("chain", "draw"))
    assert alone["z_counts"].dims == ("chain", "draw", "z_bin")
    assert _joined([{"z_edges": np.arange(8.0)}], names[:1])["z_edges"].dims == ("z_edge",)


def test_figures_say_which_sample_they_show():
    tree = xr.DataTree.from_dict({f"{s}/density": xr.Dataset() for s in ("mu_to_mu", "mu_to_e")})
    assert [name for name, _ in figures.by_sample(tree, "density")] == ["-mu_to_mu", "-mu_to_e"]
    alone = xr.DataTree.from_dict({"density": xr.Dataset()})
    assert [name for name, _ in figures.by_sample(alone, "density")] == [""]
    plain = caption("density_far")
    assert caption("density_far-mu_to_e") == plain._replace(title=f"{plain.title}: νμ → νe")
    assert sample_words("anti_mu_to_e") == "ν̄μ → ν̄e"
    assert sample_words("anti_mu") == "ν̄μ"


def test_names_of_figures_do_not_lead_out_of_the_folder():
    tree = xr.DataTree.from_dict({"..\\x/density": xr.Dataset()})
    with pytest.raises(InputError, match="sample = "):
        figures.by_sample(tree, "density")


def test_names_of_samples_are_their_own():
    several = [Sample(a, b, s) for a in ("e", "mu") for b in ("e", "mu", "tau") for s in (0, 1)]
    assert len({s.name for s in several}) == len(several)
    assert Sample().name == "mu_to_mu"
