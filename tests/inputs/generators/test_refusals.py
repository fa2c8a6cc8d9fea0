"""Files that cannot be used end in one line that says what is wrong with which event."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from writers import simulate, write_flat, write_gst, write_nuhepmc, write_tree

from bayesxs.errors import InputError
from bayesxs.inputs.generators.events import Rules
from bayesxs.inputs.generators.read import read_events

EVENTS = simulate(20, 30)


def csv_of(header: str, *rows: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / "a.csv"
        path.write_text("\n".join([header, *rows]) + "\n")
        return path

    return write


NEEDED = "E_nu_GeV,E_l_GeV,cos_theta"


def two_trees(folder: Path) -> Path:
    path = write_tree(folder / "a.root", "events", {"x": np.ones(3)})
    return path


def without(branch: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        import uproot

        path = write_gst(folder / "a.root", EVENTS)
        with uproot.open(path) as root:
            columns = root["gst"].arrays(library="np")
        del columns[branch]
        return write_tree(path, "gst", columns)

    return write


def cut(name: str, share: float) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        writers: dict[str, Callable[..., Path]] = {
            "a.root": write_gst,
            "a.hepmc3": write_nuhepmc,
            "a.hepmc3.gz": write_nuhepmc,
        }
        path = writers[name](folder / name, EVENTS)
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        return path

    return write


def gst_with(**columns: Any) -> Callable[[Path], Path]:
    return lambda folder: write_gst(folder / "a.root", EVENTS, **columns)


def damaged(folder: Path) -> Path:
    path = write_nuhepmc(folder / "a.hepmc3", EVENTS)
    path.write_bytes(path.read_bytes().replace(b"\nP 4 ", b"\nP x ", 3))
    return path


def without_cross_section_unit(folder: Path) -> Path:
    return write_nuhepmc(folder / "a.hepmc3", EVENTS, estimates=np.ones(30))


def with_cross_section_unit(unit: str, scale: str) -> Callable[[Path], Path]:
    names = "NuHepMC.Units.CrossSection.Unit", "NuHepMC.Units.CrossSection.TargetScale"
    attributes = dict(zip(names, (unit, scale), strict=True))
    return lambda folder: write_nuhepmc(
        folder / "a.hepmc3", EVENTS, attributes=attributes, estimates=np.ones(30)
    )


def put_together(folder: Path) -> Path:
    scales = np.where(np.arange(30) < 15, 1e-41, 2e-41)
    return write_flat(folder / "a.root", EVENTS, 0.0, fScaleFactor=scales)


def all_neutral(folder: Path) -> Path:
    return write_gst(folder / "a.root", EVENTS.with_(pdg_l=EVENTS.pdg_nu))


def mev(folder: Path) -> Path:
    # A file that calls its MeV GeV: every momentum a thousand times too large
    path = write_nuhepmc(folder / "a.hepmc3", EVENTS)
    path.write_text(path.read_text().replace("U MEV", "U GEV"))
    return path


def slow_mev(folder: Path) -> Path:
    # Too low for its energies to tell; the lepton's mass does
    few = simulate(21, 30)
    few = few.with_(energy=few.energy * 0.012, lepton_energy=few.lepton_energy * 0.0 + 0.02)
    few = few.with_(pdg_nu=few.pdg_nu - 2, pdg_l=few.pdg_l - 2, energy=few.energy + 0.02)
    path = write_nuhepmc(folder / "a.hepmc3", few)
    path.write_text(path.read_text().replace("U MEV", "U GEV"))
    return path


CASES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no tree": (two_trees, "trees = events: one of gst, FlatTree_VARS"),
    "no branch": (without("cthl"), "gst: cthl = missing: has the branches neu, fspl, cc"),
    "no column": (csv_of("E_nu_GeV,cos_theta", "1,1"), "columns = .*E_l_GeV is missing"),
    "no number": (csv_of(NEEDED, "1,0.5,x"), "cannot be read as CSV: .*'x'"),
    "empty cell": (csv_of(NEEDED, "1,0.5,1", "1,,1"), "event 1: E_l_GeV = nan: finite"),
    "short row": (csv_of(NEEDED, "1,0.5,1", "1,0.5"), "cannot be read as CSV: .*Expected 3 col"),
    "column twice": (csv_of(f"{NEEDED},cos_theta", "1,0.5,1,1"), "cos_theta once"),
    "no rows": (csv_of(NEEDED), "cannot be read as CSV: Empty CSV file"),
    "negative weight": (
        csv_of(f"{NEEDED},weight", "1,0.5,1,1", "1,0.5,1,-2", "1,0.5,1,-3"),
        r"event 1: weight = -2: not below zero \(and 1 more\)",
    ),
    "no weight": (csv_of(f"{NEEDED},weight", "1,0.5,1,0"), "weight = all zero: some above zero"),
    "no id": (csv_of(f"{NEEDED},pdg_nu", "1,0.5,1,"), "pdg_nu = empty or not a number"),
    "no integer id": (csv_of(f"{NEEDED},pdg_nu", "1,0.5,1,14.5"), "pdg_nu = 14.5: .*an integer"),
    "MeV": (csv_of(NEEDED, "1200,500,1", "900,300,1"), "median = 1050: .*MeV, divide by 1000"),
    "MeV of the lepton": (csv_of(NEEDED, "1.2,500,1"), "E_l_GeV = 500: not above the neutrino's"),
    "below the mass": (csv_of(NEEDED, "1.2,0.05,1"), "E_l_GeV = 0.05: not below the lepton's mass"),
    "cosine": (csv_of(NEEDED, "1.2,0.5,-1.2"), "cos_theta = -1.2: -1 to 1"),
    "MeV called GeV": (mev, "median = .*MeV, divide by 1000"),
    "MeV called GeV, low": (slow_mev, "lepton mass = 0.51.*these momenta are in MeV"),
    "momentum": (
        gst_with(pzl=EVENTS.momentum * EVENTS.cos_theta + 0.1),
        r"lepton mass = .*: sqrt\(E_l\^2 - p_l\^2\) is the lepton's mass in GeV",
    ),
    "not finite": (gst_with(El=np.full(30, np.inf)), "event 0: E_l_GeV = inf: finite"),
    "jagged": (gst_with(Ev=np.ones((30, 2))), "gst: Ev = .*one number an event"),
    "neutral currents only": (all_neutral, r"= 0 of 30 \(30 of no charged current"),
    "truncated tree": (cut("a.root", 0.6), "cannot be read as a ROOT file"),
    "truncated events": (cut("a.hepmc3", 0.5), "damaged or truncated after event 1[0-9]"),
    "end cut off": (cut("a.hepmc3", 0.999), "damaged or truncated after event 29"),
    "truncated archive": (cut("a.hepmc3.gz", 0.9), "cannot be read as NuHepMC: EOFError"),
    "damaged events": (damaged, "damaged or truncated after event -1"),
    "no unit": (without_cross_section_unit, "Units.CrossSection.Unit = missing"),
    "unknown unit": (with_cross_section_unit("acre", "PerAtom"), "= acre: one of pb, fb"),
    "unknown scale": (with_cross_section_unit("pb", "PerShip"), "= PerShip: one of PerAtom"),
    "several scales": (put_together, "fScaleFactor = 1e-41, 2e-41: one value"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line_says_what_is_wrong(case: str, tmp_path: Path) -> None:
    write, message = CASES[case]
    path = write(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        read_events(path)
    assert str(caught.value).startswith(str(path)[:20])
    assert "\n" not in str(caught.value)


def test_too_few_events_and_wrong_words_are_refused(tmp_path: Path) -> None:
    path = write_gst(tmp_path / "a.root", EVENTS)
    with pytest.raises(InputError, match=r"charged-current events = 30 of 30.*at least 1000"):
        read_events(path, Rules(at_least=1000))
    with pytest.raises(InputError, match="neutrino = 13: one of"):
        read_events(path, Rules(neutrino=13))
    with pytest.raises(InputError, match="event 0: target = 1000180400: the nucleus 1000060120"):
        read_events(path, Rules(target=1000060120, unwanted="refuse"))
    for name in ("b.root", "."):
        with pytest.raises(InputError, match=r"cannot be read: no such file$") as caught:
            read_events(tmp_path / name)
        assert str(caught.value).count("cannot be read") == 1
    other = tmp_path / "a.txt"
    other.write_text("1")
    with pytest.raises(InputError, match=r"ending = .txt: one of .root, .parquet"):
        read_events(other)


@pytest.mark.parametrize("ending", ["root", "parquet", "npz", "hepmc3", "hepmc3.gz", "csv"])
@pytest.mark.parametrize(
    "content",
    [b"", b"\x00" * 50, b"root\x00 no file", gzip.compress(b"x", mtime=0)],
    ids=["empty", "zeros", "root", "gzip"],
)
def test_files_of_anything_else_are_refused(ending: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=str(path)[:20]):
        read_events(path)


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Change some bytes, cut off the end, take out a piece, or change some digits."""
    changed = bytearray(content)
    kind, place = rng.integers(4), int(rng.integers(len(changed)))
    if kind == 0:
        for at in rng.integers(len(changed), size=4):
            changed[at] = rng.integers(256)
    elif kind == 1:
        del changed[place:]
    elif kind == 2:
        del changed[place : place + int(rng.integers(1, 40))]
    else:
        for at in rng.integers(len(changed), size=40):
            if changed[at : at + 1].isdigit():
                changed[at] = ord("0") + rng.integers(10)
    return bytes(changed)


@pytest.mark.parametrize("name", ["gst.root", "a.csv"])
def test_damaged_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "gst.root":
        write_gst(path, simulate(22, 10))
    else:
        path.write_text("E_nu_GeV,E_l_GeV,cos_theta\n" + "2.5,1.25,0.5\n1.75,0.5,-0.25\n" * 10)
    content, rng = path.read_bytes(), np.random.default_rng(23)
    refused = 0
    for _ in range(40):
        path.write_bytes(mutated(content, rng))
        try:
            read_events(path)
        except InputError:
            refused += 1
    assert 10 < refused < 40


def test_damage_in_an_archive_is_refused(tmp_path: Path) -> None:
    path = write_nuhepmc(tmp_path / "a.hepmc3.gz", EVENTS)
    content = bytearray(path.read_bytes())
    content[20:40] = bytes(20)  # the first block, of which nothing can be unpacked
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="cannot be read"):
        read_events(path)
    text = write_nuhepmc(tmp_path / "b.hepmc3", EVENTS, attributes={"name": "e"}).read_bytes()
    broken = tmp_path / "c.hepmc3"
    broken.write_bytes(text.replace(b"A name e", b"A name \xe9"))
    with pytest.raises(InputError, match="as NuHepMC: UnicodeDecodeError: damaged"):
        read_events(broken)
