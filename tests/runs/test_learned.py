"""The learned cross section of a card of samples: kept in its folder, and taken from another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bayesxs.cards.build_counted import build_samples
from bayesxs.cards.counted import CountedCard, load_counted_card
from bayesxs.cli.main import app
from bayesxs.detector.samples import CountedSamples
from bayesxs.errors import InputError
from bayesxs.progress import Reporter
from bayesxs.runs import learned
from bayesxs.runs.learned import card_samples, train_counted, upstream
from bayesxs.storage.run_folder import RunFolder

CARD = load_counted_card(
    {
        "configuration": {
            "type": "lepton",
            "gauss_newton_steps": 2,
            "lepton_energies": 5,
            "angles": 3,
        },
        "nature": {"type": "quark_parton"},
        "grid": {"energy_order": 1, "lepton_energies": 8, "z": 8, "nodes_x": 8, "nodes_q2": 8},
    }
)


@pytest.fixture(scope="module", autouse=True)
def few_cells():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bayesxs.experiment.geometry.CELLS", (16, 10))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("learned") / "run"
    assert train_counted(CARD, path, progress=False) == path / "network.safetensors"
    return path


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("trained once more")

    monkeypatch.setattr(learned, "train_stage", refuse)


def samples_in(card: CountedCard, folder: Path, resume: bool = False) -> CountedSamples:
    with RunFolder.create(folder, resume=resume) as opened:
        return card_samples(card, opened, Reporter(False))


def test_what_a_folder_holds_is_not_learned_again(folder: Path, untrained: None) -> None:
    """And it is what the library learns of the same card without a folder."""
    kept, wanted = samples_in(CARD, folder, resume=True), build_samples(CARD)
    for one, other in zip(kept.components, wanted.components, strict=True):
        assert one.errors == other.errors
        np.testing.assert_allclose(one.events, other.events, rtol=1e-9, atol=1e-12)


def test_networks_of_another_folder_serve_another_exposure(
    folder: Path, tmp_path: Path, untrained: None
) -> None:
    """Twice the years are twice the counts."""
    weights = {"configuration.weights": str(folder / "network.safetensors")}
    longer = load_counted_card(CARD, weights | {"configuration.neutrino_years": 13.0})
    taken, kept = samples_in(longer, tmp_path / "run"), samples_in(CARD, folder, resume=True)
    factors = {name: 2.0 if "bar" not in name else 1.0 for name in kept.names}
    for one, other in zip(taken.components, kept.components, strict=True):
        factor = factors[kept.names[other.sample]]
        np.testing.assert_allclose(one.events, factor * other.events, rtol=1e-9, atol=1e-12)


def test_networks_of_other_beams_are_refused(folder: Path, tmp_path: Path) -> None:
    weights = Path(__file__).parents[2] / "models" / "dune-toy.safetensors"
    card = load_counted_card(CARD, {"configuration.weights": str(weights)})
    with pytest.raises(InputError, match="beam = neutrino, antineutrino: the weights were trained"):
        samples_in(card, tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"configuration.neutrino_years": 1.0, "truth.dcp_deg": 90.0}, True),
        ({"seed": 1}, False),
        ({"nature.q2_suppression_GeV2": 0.3}, False),
        ({"configuration.gauss_newton_steps": 3}, False),
        ({"grid.nodes_x": 9}, False),
        ({"configuration.near_events": 1_000_000}, False),
        ({"uncertainty.type": "gaussian_process"}, False),
    ],
)
def test_only_what_matters_is_learned_anew(change: dict[str, object], same: bool) -> None:
    assert (upstream(load_counted_card(CARD, change)) == upstream(CARD)) == same


def test_a_card_that_learns_nothing_is_not_trained() -> None:
    outcome = CliRunner().invoke(app, ["train", "dune-four-samples"])
    assert outcome.exit_code == 2
    assert "configuration.type = dune" in outcome.output
