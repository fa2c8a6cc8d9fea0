"""Cards of samples in lepton kinematics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bayesxs.cards.build_counted import build_likelihood, build_samples, build_truth
from bayesxs.cards.build_lepton import build_response
from bayesxs.cards.counted import counted_toml, load_counted_card
from bayesxs.cards.overrides import parse_overrides
from bayesxs.detector.lepton import LeptonSamples
from bayesxs.errors import InputError
from bayesxs.experiment.lepton import LEPTONS

CARD = {
    "constraints": "reactor",
    "configuration": {
        "type": "lepton",
        "cross_section": "assumed",
        "lepton_energies": 6,
        "angles": 4,
        "neutrino_years": 0.2,
        "antineutrino_years": 0.4,
    },
    "nature": {"type": "quark_parton"},
    "assumed": {"type": "quark_parton", "q2_suppression_GeV2": 0.3},
    "grid": {"energy_order": 1, "lepton_energies": 12, "z": 12, "nodes_x": 12, "nodes_q2": 12},
    "truth": {"parameters": "nufit-6.0-ic24"},
    "sampler": {"chains": 1, "warmup": 20, "draws": 20},
}
SEEN = {"configuration.electrons": {"energy_resolution": 0.1, "stochastic_resolution": 0.0}}
ONE_BEAM = {"configuration.neutrino_years": 0.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ('configuration={type="dune"}', 'nature = given: only with configuration.type = "lepton"'),
        ("configuration.cross_section=guessed", 'cross_section = "guessed": must be "learned"'),
        ('flux_shape={type="parametric"}', "flux_shape.type = .*: must be .*type = .dune. takes"),
        ("energy_scale=0.01", "energy_scale = 0.01: must be 0 .*; .*type = .dune. takes"),
        (
            'data={type="file",path="counts.csv"}',
            'data.type = "file": "expected" or "simulated" .*in Python bayesxs.counted_likelihood',
        ),
        (
            'nature={type="events",path="a.root"}',
            "nature.type = .*without .* takes events",
        ),
        ("configuration.near_events=100", 'near_events = 100: allowed: "infinite", or an integer'),
        ('uncertainty.type="gaussian_process"', 'uncertainty.type = "gaussian_process": "none" un'),
        ("configuration.weights=w.safetensors", 'weights = given: none with .* = "assumed"'),
        (
            'configuration={type="lepton",neutrino_years=0,antineutrino_years=0}',
            "neutrino_years = 0.*no exposure",
        ),
    ],
)
def test_mistakes_are_one_line(changes: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_counted_card(CARD, parse_overrides([changes]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("left_out", "message"),
    [("nature", r"nature = \(missing\): needed"), ("assumed", r"needs a table \[assumed\]")],
)
def test_cross_sections_that_are_not_there_are_named(left_out: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_counted_card({key: value for key, value in CARD.items() if key != left_out})


@pytest.mark.parametrize("name", ["dune-four-leptons", "dune-lepton-systematics"])
def test_bundled_cards_survive_their_own_words(tmp_path: Path, name: str) -> None:
    card = load_counted_card(name)
    path = tmp_path / "card.toml"
    path.write_text(counted_toml(card))
    assert load_counted_card(path) == card


@pytest.fixture(scope="module")
def samples() -> LeptonSamples:
    """Samples of one beam, in few cells."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bayesxs.experiment.geometry.CELLS", (40, 24))
        return build_samples(load_counted_card(CARD, ONE_BEAM))


def test_nature_makes_the_data_and_the_assumed_cross_section_is_fitted(samples) -> None:
    card = load_counted_card(CARD, ONE_BEAM)
    truth, density = build_truth(card, samples)
    likelihood = build_likelihood(card, samples)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bayesxs.experiment.geometry.CELLS", (40, 24))
        changes = ONE_BEAM | {"configuration.cross_section": "truth"}
        right = build_samples(load_counted_card(CARD, changes))
    np.testing.assert_allclose(likelihood.counts, right.expected(truth, density), rtol=1e-6)
    fitted = np.asarray(likelihood.predict(truth, density=density)["numubar_dis"])
    made = np.asarray(likelihood.split(likelihood.counts)["numubar_dis"])
    assert np.abs(fitted / made - 1.0).max() > 0.01


def test_samples_are_shown_over_lepton_energy(samples) -> None:
    """Every analysed bin has its energy, whatever its angle."""
    for place, grid in enumerate(samples.grids):
        edges, shown = samples.shown(place)
        energies = np.repeat(grid.energy_centers, 4)[samples.inside[place]]
        assert np.all((edges[shown] < energies) & (energies < edges[shown + 1]))
        assert shown[0] == 0 and shown[-1] == len(edges) - 2


def test_responses_of_leptons_are_keys() -> None:
    """Left out they are the library's; each kind of lepton has its own."""
    own = load_counted_card(CARD).configuration
    assert {"mu": build_response(own.muons), "e": build_response(own.electrons)} == LEPTONS
    changed = load_counted_card(CARD, SEEN).configuration
    seen = build_response(changed.electrons)
    assert seen.resolutions.energy_resolution == 0.1
    assert seen.stochastic == 0.0
    assert seen.acceptance == LEPTONS["e"].acceptance
    assert build_response(changed.muons) == LEPTONS["mu"]
