"""Far events from a file: what is dropped is counted, and what a run has made can be read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from bayesxs.cards.card import load_card
from bayesxs.cards.overrides import parse_overrides
from bayesxs.errors import InputError
from bayesxs.experiment.far import event_numbers
from bayesxs.experiment.observed import on_edges
from bayesxs.runs.pipeline import run

SMALL = [
    "preset=quick",
    "grid.energy_order=1",
    "grid.lepton_energies=12",
    "grid.z=12",
    "grid.nodes_x=12",
    "grid.nodes_q2=12",
]
HEADER = "lepton_energy_GeV,cos_theta\n"

# Backwards at 5 GeV: no neutrino below 10 GeV does that
IMPOSSIBLE = "5,-0.9\n"


def simulated(folder: Path, changes: list[str]) -> xr.Dataset:
    card = load_card(None, "quick", parse_overrides(SMALL[1:] + changes))
    run(card, folder, stages=("simulate",), progress=False)
    with xr.open_dataset(folder / "events.nc", engine="h5netcdf") as data:
        return data.load()


def written(folder: Path, text: str) -> str:
    (folder / "far.csv").write_text(text)
    return f'far.file="{folder / "far.csv"}"'


def test_impossible_events_are_refused_or_dropped_and_counted(tmp_path):
    file = written(tmp_path, f"{HEADER}2.5,0.95\n{IMPOSSIBLE}2.5,0.95\n2.6,0.95\n{IMPOSSIBLE}")
    with pytest.raises(InputError, match=r"event 1: .* \(and 1 more rows\); far.impossible"):
        simulated(tmp_path / "refused", [file])
    data = simulated(tmp_path / "dropped", [file, "far.impossible=drop"])
    np.testing.assert_array_equal(data["lepton_energy"], [2.5, 2.5, 2.6])
    assert (data.attrs["read"], data.attrs["impossible"], data.attrs["repeated"]) == (5, 2, 2)
    file = written(tmp_path, HEADER + IMPOSSIBLE)
    with pytest.raises(InputError, match="no events"):
        simulated(tmp_path / "none", [file, "far.impossible=drop"])


def test_events_above_x_one_are_possible_where_x_reaches_so_far(tmp_path):
    # At 10 GeV the second has x = 1.16, and more below
    file = written(tmp_path, HEADER + "2.5,0.95\n0.9,-0.1\n")
    with pytest.raises(InputError, match=r"event 1: .* with x < 1;"):
        simulated(tmp_path / "partons", [file])
    data = simulated(tmp_path / "nucleus", [file, "grid.x_max=3"])
    assert data.attrs["impossible"] == 0
    with pytest.raises(InputError, match=r"no neutrino up to 10 GeV .* with x < 3;"):
        simulated(tmp_path / "wrong", [written(tmp_path, HEADER + "5,-0.9\n"), "grid.x_max=3"])


def test_events_above_the_flux_are_impossible(tmp_path):
    """A flux that ends below beam.energy_max_GeV makes no lepton above its end."""
    table = "energy,nu_mu\n"
    flux = tmp_path / "flux.csv"
    points = [(0.25, 1), (4.0, 1), (4.5, 0), (12.0, 0)]
    flux.write_text(table + "".join(f"{e},{v}\n" for e, v in points))
    changes = [f'beam.flux={{type="csv",path="{flux}"}}', written(tmp_path, HEADER + "6,0.99\n")]
    with pytest.raises(
        InputError, match=r"no neutrino up to 4\.5 GeV makes such a lepton with x < 1;"
    ):
        simulated(tmp_path / "run", changes)


def test_a_run_reads_back_its_own_reconstructed_events(tmp_path):
    """Smearing takes some of them beyond what any neutrino makes; the bins take them all."""
    response = 'response={type="gaussian"}'
    first = simulated(tmp_path / "first", [response, "far.events=3000"])
    first.to_dataframe().to_csv(tmp_path / "far.csv")
    changes = [response, f'far.file="{tmp_path / "far.csv"}"']
    second = simulated(tmp_path / "second", changes)
    assert second.attrs["below_threshold"] == 0
    for name in ("reco_lepton_energy", "reco_angle", "sample"):
        np.testing.assert_allclose(second[name], first[name], rtol=0.0, atol=1e-9)


def test_samples_come_apart_again(tmp_path):
    samples = 'sample=[{flavor_out="mu"},{flavor_out="e"}]'
    text = "lepton_energy_GeV,cos_theta,sample\n2,0.9,1\n0.7,0.8,0\n3,0.95,1\n"
    data = simulated(tmp_path / "run", [samples, written(tmp_path, text)])
    np.testing.assert_array_equal(data["sample"], [0, 1, 1])
    np.testing.assert_array_equal(data["lepton_energy"], [0.7, 2.0, 3.0])
    data = simulated(tmp_path / "one", [samples, written(tmp_path, text.replace(",0\n", ",1\n"))])
    np.testing.assert_array_equal(data["sample"], [1, 1, 1])


def test_a_sample_may_stay_empty(tmp_path):
    samples = 'sample=[{flavor_out="mu"},{flavor_out="e"}]'
    data = simulated(tmp_path / "run", [samples, "far.events=1"])
    assert len(data.event) == 1


@given(st.integers(0, 10_000), st.lists(st.floats(0.0, 1.0), min_size=1, max_size=6))
def test_rounded_shares_add_up(total, weights):
    shares = np.array(weights) + 1e-3
    shares /= shares.sum()
    numbers = event_numbers(total, shares)
    assert sum(numbers) == total
    np.testing.assert_allclose(numbers, total * shares, atol=1.0)


def test_values_on_edges_are_counted():
    edges = np.array([0.0, 0.1, 0.3, 1.0])
    assert on_edges(np.array([0.1, 0.2, 0.1 + 0.2, 1.0, 5.0, -1.0]), edges) == 3
