"""What a card fixes: fluxes near and far, and the events that they make."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bayesxs.cards.build import build_experiment, input_files
from bayesxs.cards.card import Card, load_card
from bayesxs.cards.overrides import parse_overrides
from bayesxs.errors import InputError
from bayesxs.experiment.far import sample_shares
from bayesxs.inputs.flux import embedded_dune_flux
from bayesxs.physics.kinematics import HIGHEST_Z, NUCLEON, PhaseSpace
from bayesxs.physics.nucleus import Nucleus
from bayesxs.progress import Reporter
from bayesxs.runs.pipeline import Analysis, run
from bayesxs.storage.run_folder import RunFolder

FEW = ["grid.lepton_energies=30", "grid.z=30", "grid.nodes_x=24", "grid.nodes_q2=24"]
TWO = 'sample=[{}, {flavor_out="e"}]'


def card_of(*changes: str) -> Card:
    return load_card(None, "quick", parse_overrides([*FEW, *changes]))


@pytest.fixture
def table(tmp_path: Path):
    """Return a function that writes a flux table and returns what a card says of it."""

    def write(*rows: tuple[float, float]) -> str:
        lines = "".join(f"{energy},{flux}\n" for energy, flux in rows)
        (tmp_path / "far.csv").write_text("energy,nu_mu\n" + lines)
        return f'beam.far_flux={{type="csv", path="{tmp_path}/far.csv"}}'

    return write


def test_the_near_flux_is_the_far_one_unless_a_card_says_otherwise():
    experiment = build_experiment(card_of())
    sample = experiment.samples[0]
    near = experiment.targets[sample].near_flux
    np.testing.assert_array_equal(experiment.source_flux(sample), near)
    other = build_experiment(card_of('beam.far_flux="dune"'))
    np.testing.assert_array_equal(other.energies.points, experiment.energies.points)
    np.testing.assert_array_equal(other.targets[sample].near_flux, near)
    far = embedded_dune_flux("neutrino", "far")(14, experiment.energies.points)
    np.testing.assert_array_equal(other.source_flux(sample), far)


def test_x_reaches_as_far_as_the_furthest_cross_section():
    class Far:
        x_max = 2.5

        def structure_functions(self, lepton_mass, antineutrino):
            return experiment.nature.structure_functions(lepton_mass, antineutrino)

    experiment = build_experiment(card_of())
    assert experiment.space == NUCLEON
    assert replace(experiment, nature=Far()).space == PhaseSpace(2.5)
    assert replace(experiment, assumed=Far()).space == PhaseSpace(2.5)
    nucleus, deuteron = Nucleus(experiment.nature.pdf), Nucleus(experiment.nature.pdf, 1, 1)
    assert replace(experiment, nature=nucleus).space == PhaseSpace(3.0)
    assert replace(experiment, nature=deuteron).space == PhaseSpace(2.0)
    assert build_experiment(card_of("grid.x_max=1.5")).space == PhaseSpace(1.5)
    geometry = replace(experiment, nature=Far()).geometries["mu"]
    assert geometry.space == PhaseSpace(2.5)
    assert geometry.bins.z_edges[-1] == HIGHEST_Z


def test_quadrature_sees_the_kinks_of_both_fluxes(table):
    """Gauss points between all kinks integrate either piecewise linear flux exactly."""
    peaks = [(0.1, 0.0), (2.03, 1.0), (3.71, 0.2), (4.44, 3.0), (20.0, 0.0)]
    experiment = build_experiment(card_of(table(*peaks)))
    energies, sample = experiment.energies, experiment.samples[0]
    inside = [0.5, 2.03, 3.71, 4.44, 10.0]
    heights = np.interp(inside, *zip(*peaks, strict=True))
    exact = np.trapezoid(heights, inside)
    assert experiment.source_flux(sample) @ energies.weights == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize(
    ("rows", "changes", "expected"),
    [
        (((1.0, 1.0), (20.0, 1.0)), (), "beam.energy_min_GeV = 0.5: must lie within the flux"),
        (((0.1, 1.0), (9.0, 1.0)), (), "beam.energy_max_GeV = 10.0: must lie within the flux"),
        (
            ((0.1, 1.0), (20.0, 1.0)),
            ('sample=[{flavor_in="e", flavor_out="e"}]',),
            "far.csv has no such",
        ),
    ],
)
def test_a_far_flux_that_does_not_cover_the_analysis_is_refused(table, rows, changes, expected):
    with pytest.raises(InputError) as caught:
        build_experiment(card_of(table(*rows), *changes))
    assert expected in str(caught.value)
    assert "far.csv" in str(caught.value)


def test_the_file_of_a_far_flux_is_an_input(table, tmp_path):
    assert tmp_path / "far.csv" in input_files(card_of(table((0.1, 1.0), (20.0, 1.0))))


def test_events_and_expectations_follow_the_far_flux(tmp_path):
    """Neutrino energies of simulated events, against flux times probability times cross section.

    The near flux would make another spectrum, as the test sees.
    """
    card = card_of('beam.far_flux="dune"', "far.events=20000", TWO)
    folder = tmp_path / "run"
    run(card, folder, stages=("simulate",), progress=False)
    experiment = build_experiment(card)
    events = Analysis(card, RunFolder.view(folder), Reporter(False)).channels.events
    shares = sample_shares(experiment)
    edges = np.array([0.5, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 8.0, 10.0])
    energy = experiment.energies.points
    rates = []
    for number, sample in enumerate(experiment.samples):
        total = experiment.geometry(experiment.targets[sample]).true_total
        oscillation = experiment.oscillation(sample, energy)

        def spectrum(detector: str, sample=sample, weight=total * oscillation) -> np.ndarray:
            flux = embedded_dune_flux("neutrino", detector)(sample.flux_id, energy)
            return np.histogram(energy, edges, weights=weight * flux)[0]

        own = events["energy"].values[events["sample"].values == number]
        counts = np.histogram(own, edges)[0]
        far, near = (spectrum(d) for d in ("far", "near"))
        rates.append(far.sum())
        assert stats.chisquare(counts, far / far.sum() * len(own)).pvalue > 1e-3  # 1 in 1000 each
        assert stats.chisquare(counts, near / near.sum() * len(own)).pvalue < 1e-6
    # One unit for all samples: they share the events as their rates do
    np.testing.assert_allclose(shares, np.array(rates) / sum(rates), rtol=1e-12)
