"""Events come back from every format as they went in; what scales them is understood."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from writers import (
    ARGON,
    CARBON,
    Simulated,
    simulate,
    write_flat,
    write_gst,
    write_nuhepmc,
)

from bayesxs.errors import InputError
from bayesxs.inputs.generators import nuhepmc, rootfile, table
from bayesxs.inputs.generators.arrays import events_from_arrays
from bayesxs.inputs.generators.events import GeneratorEvents, Rules, nucleons
from bayesxs.inputs.generators.parquet import write_parquet
from bayesxs.inputs.generators.read import EventStream, read_events

PB = {
    "NuHepMC.Units.CrossSection.Unit": "pb",
    "NuHepMC.Units.CrossSection.TargetScale": "PerAtom",
}


def write_npz(path: Path, events: Simulated) -> Path:
    names, codes = np.unique(events.channel, return_inverse=True)
    np.savez(
        path,
        E_nu=events.energy,
        E_l=events.lepton_energy,
        cos_theta=events.cos_theta,
        weight=events.weight,
        pdg_nu=events.pdg_nu,
        pdg_l=events.pdg_l,
        target=events.target,
        channel=codes,
        channel_names=names,
    )
    return path


def write_csv(path: Path, events: Simulated) -> Path:
    names = "E_l_GeV,E_nu_GeV,channel,cos_theta,weight,pdg_nu,pdg_l,target,more"
    rows = zip(
        events.lepton_energy,
        events.energy,
        events.channel,
        events.cos_theta,
        events.weight,
        events.pdg_nu,
        events.pdg_l,
        events.target,
        strict=True,
    )
    lines = [",".join(str(v) for v in row) + ",text" for row in rows]
    path.write_text("\n".join([names, *lines]) + "\n")
    return path


WRITERS: dict[str, Callable[[Path, Simulated], Path]] = {
    "gst.root": write_gst,
    "flat.root": lambda path, events: write_flat(path, events, 1e-41),
    "mev.hepmc3": lambda path, events: write_nuhepmc(path, events),
    "gev.hepmc3.gz": lambda path, events: write_nuhepmc(path, events, unit="GEV"),
    "events.csv": write_csv,
    "events.npz": write_npz,
}


def agree(read: GeneratorEvents, events: Simulated, tolerance: float = 1e-14) -> None:
    for name in ("energy", "lepton_energy", "cos_theta", "weight"):
        np.testing.assert_allclose(
            getattr(read, name), getattr(events, name), rtol=tolerance, atol=tolerance
        )
    np.testing.assert_array_equal(read.pdg_nu, events.pdg_nu)
    np.testing.assert_array_equal(read.pdg_l, events.pdg_l)
    assert [read.channels[code] for code in read.channel] == list(events.channel)
    assert read.target == events.target[0]


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_back_what_was_written(name: str, tmp_path: Path) -> None:
    events = simulate(1, 60)
    path = WRITERS[name](tmp_path / name, events)
    agree(read_events(path), events, 1e-6 if "flat" in name else 1e-14)


@pytest.mark.parametrize("name", WRITERS)
def test_any_size_of_chunk_reads_the_same(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = WRITERS[name](tmp_path / name, simulate(2, 50))
    whole = read_events(path)
    for module in (nuhepmc, rootfile, table):
        monkeypatch.setattr(module, "STEP", 7)
    monkeypatch.setattr(table, "_BLOCK", 1000)
    seen: list[tuple[float, int]] = []
    pieces = read_events(path, progress=lambda share, events: seen.append((share, events)))
    for field in ("energy", "lepton_energy", "cos_theta", "weight", "pdg_nu", "channel"):
        np.testing.assert_array_equal(getattr(pieces, field), getattr(whole, field))
    assert len(seen) > 3
    assert seen == sorted(seen)
    assert seen[-1] == (1.0, 50)


def test_leptons_of_other_currents_and_flavors_are_counted_and_left_out(tmp_path: Path) -> None:
    events = simulate(3, 40)
    ids = np.array([14, 14, 12, -14] * 10)
    leptons = np.array([13, 14, 11, -13] * 10)  # the second is neutral-current
    events = events.with_(pdg_nu=ids, pdg_l=leptons)
    for name, writer in WRITERS.items():
        path = writer(tmp_path / name, events)
        every = read_events(path)
        np.testing.assert_array_equal(every.pdg_nu, ids[leptons != 14])
        one = read_events(path, Rules(neutrino=12))
        np.testing.assert_array_equal(one.pdg_l, np.full(10, 11))
        assert one.counts == (40, 10, 20, 0), name
        with pytest.raises(InputError, match=r"event 1: neutral-current or other = 14 -> 14"):
            read_events(path, Rules(unwanted="refuse"))


def test_one_of_several_targets_is_chosen(tmp_path: Path) -> None:
    events = simulate(4, 30).with_(target=np.array([ARGON, CARBON, CARBON] * 10))
    for name, writer in WRITERS.items():
        path = writer(tmp_path / name, events)
        with pytest.raises(InputError, match=rf"targets = {CARBON}, {ARGON}: one nucleus"):
            read_events(path)
        carbon = read_events(path, Rules(target=CARBON))
        assert (carbon.target, len(carbon), carbon.counts.other_target) == (CARBON, 20, 10)


# Cross sections


def test_weights_times_the_scale_factor_are_the_cross_section_of_a_flat_tree(
    tmp_path: Path,
) -> None:
    events = simulate(5, 100)
    path = write_flat(tmp_path / "flat.root", events, 3e-41)
    expected = 3e-41 * events.weight.sum() / 1e-38
    assert read_events(path).cross_section == pytest.approx(expected, rel=1e-6)


def test_neutral_currents_take_their_share_of_a_cross_section(tmp_path: Path) -> None:
    leptons = np.array([13, 14] * 20)
    events = simulate(6, 40).with_(pdg_l=leptons)
    share = events.weight[::2].sum() / events.weight.sum()
    total = {"NuHepMC.FluxAveragedTotalCrossSection": "0.8", **PB}
    path = write_nuhepmc(tmp_path / "a.hepmc3", events, attributes=total)
    # 0.8 pb per atom of 40 nucleons, 1 pb = 100 x 1e-38 cm^2
    assert read_events(path).cross_section == pytest.approx(0.8 * 100 / 40 * share, rel=1e-12)


@pytest.mark.parametrize(
    ("unit", "scale", "expected"),
    [
        ("pb", "PerAtom", 5.0),
        ("pb", "PerTargetNucleon", 200.0),
        ("10-38 cm2", "PerNucleon", 2.0),
        ("1e-38 cm2", "PerTargetAtom", 0.05),
        ("fb", "PerNucleon", 0.2),
    ],
)
def test_units_of_nuhepmc(tmp_path: Path, unit: str, scale: str, expected: float) -> None:
    attributes = dict(zip(PB, (unit, scale), strict=True))
    path = tmp_path / "a.hepmc3"
    # The last estimate counts (E.C.4)
    estimates = np.linspace(1.0, 2.0, 10)
    write_nuhepmc(path, simulate(7, 10), attributes=attributes, estimates=estimates)
    assert read_events(path).cross_section == pytest.approx(expected, rel=1e-6)


def test_parquet_keeps_events_names_and_cross_section(tmp_path: Path) -> None:
    events = simulate(8, 80).with_(pdg_l=np.array([13, 14] * 40))
    flat = write_flat(tmp_path / "flat.root", events, 2e-41)
    stream = EventStream(flat)
    path = tmp_path / "own.parquet"
    channels, section = (lambda: stream.channels), stream.cross_section
    assert write_parquet(path, iter(stream), channels, section) == 40
    before, after = read_events(flat), read_events(path)
    for field in ("energy", "lepton_energy", "cos_theta", "weight", "pdg_nu", "pdg_l"):
        np.testing.assert_array_equal(getattr(after, field), getattr(before, field))
    names = [[e.channels[code] for code in e.channel] for e in (before, after)]
    assert names[0] == names[1]
    assert after.target == ARGON
    assert before.cross_section is not None
    assert after.cross_section == pytest.approx(before.cross_section, rel=1e-12)


def test_a_table_without_more_than_kinematics_is_of_muon_neutrinos(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("E_nu_GeV,E_l_GeV,cos_theta\n2.0,1.0,0.5\n3.0,1.5,1.0000001\n")
    read = read_events(path)
    np.testing.assert_array_equal(read.pdg_l, [13, 13])
    np.testing.assert_array_equal(read.weight, 1.0)
    np.testing.assert_array_equal(read.cos_theta, [0.5, 1.0])
    assert (read.channels, read.target, read.cross_section) == ((), None, None)
    assert read.effective == 2.0


def test_arrays_are_events_as_files_are(tmp_path: Path) -> None:
    events = simulate(9, 30)
    path = write_npz(tmp_path / "a.npz", events)
    names, codes = np.unique(events.channel, return_inverse=True)
    made = events_from_arrays(
        events.energy,
        events.lepton_energy,
        events.cos_theta,
        weight=events.weight,
        channel=codes,
        channels=tuple(names),
        target=ARGON,
        cross_section=0.5,
    )
    read = read_events(path)
    for field in ("energy", "cos_theta", "weight", "pdg_nu", "pdg_l", "channel"):
        np.testing.assert_array_equal(getattr(made, field), getattr(read, field))
    half = made.weight < 1.0
    assert made.part(half).cross_section == 0.5
    share = made.weight[half].sum() / made.weight.sum()
    assert made.selected(half).cross_section == pytest.approx(0.5 * share)
    with pytest.raises(InputError, match=r"events: lepton_energy: shape = \(2,\): \(3,\)"):
        events_from_arrays(np.ones(3), np.ones(2), np.ones(3))


def test_nucleons_of_pdg_ids() -> None:
    assert nucleons(ARGON) == 40
    assert nucleons(CARBON) == 12
    assert nucleons(1000822080) == 208
    assert (nucleons(2212), nucleons(22), nucleons(13)) == (1, None, None)


# The neutrino's energy in a broad beam


def test_conservation_tells_which_neutrino_carries_the_energy(tmp_path: Path) -> None:
    events = simulate(10, 20)
    path = tmp_path / "a.hepmc3"
    constant = np.full(20, 0.02)
    for stated in ({"beam": constant, "inner": events.energy}, {"beam": constant}):
        write_nuhepmc(path, events, **stated)  # type: ignore[arg-type]
        agree(read_events(path), events, 1e-12)
    # A removal energy is not conserved at the vertex: the neutrinos' own energy is all there is
    write_nuhepmc(path, events, inner=events.energy, lost=0.03)
    agree(read_events(path), events)


def test_neutrinos_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    events = simulate(11, 5)
    path = tmp_path / "a.hepmc3"
    constant = np.full(5, 8.0)
    write_nuhepmc(path, events, beam=constant, inner=events.energy, lost=0.03)
    with pytest.raises(InputError, match=r"event 0: E_nu in GeV = status 4 8, at the vertex"):
        read_events(path)
    # Alone, but below its lepton
    write_nuhepmc(path, events, beam=np.full(5, 0.02), lost=0.03)
    with pytest.raises(InputError, match=r"at the vertex 0.02.*momentum is not conserved"):
        read_events(path)


def test_the_shared_sample_of_achilles_agrees_with_its_arrays(reference: Path) -> None:
    folder = reference / "generator"
    written = read_events(folder / "achilles_ar40_numu_duneND_qe_500.hepmc3")
    arrays = read_events(folder / "achilles_ar40_numu_duneND_qe.npz")
    for field in ("energy", "lepton_energy", "cos_theta"):
        own, other = getattr(written, field), getattr(arrays, field)[:500]
        np.testing.assert_allclose(own, other, rtol=1e-7)
    assert written.target == ARGON
    # 0.21239 pb per argon nucleus is in the file
    assert written.cross_section == pytest.approx(0.212393094 * 100 / 40, rel=1e-8)
