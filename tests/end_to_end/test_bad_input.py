"""Bad input through the command line: one line, exit code 2, nothing half-written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

FLUX = "energy,nu_mu\n" + "".join(f"{0.5 * i},{10.0 - i}\n" for i in range(1, 9))


@pytest.fixture
def refused(bayesxs, tmp_path: Path) -> Callable[..., str]:
    """Run a card that must be refused; return the line, in which HERE stands for the folder."""

    def refuse(text: str, *arguments: object) -> str:
        (tmp_path / "card.toml").write_text(text)
        before = sorted(tmp_path.iterdir())
        line = bayesxs.refused(
            "run", "card.toml", "--preset", "quick", "--out", "new", *arguments, cwd=tmp_path
        )
        assert sorted(tmp_path.iterdir()) == before, "something was left behind"
        return line.replace(str(tmp_path), "HERE")

    return refuse


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "[sampler]\nchians = 2",
            'card.toml: sampler.chians = 2: unknown key; did you mean "chains"?',
        ),
        (
            "[sampelr]\nchains = 2",
            'card.toml: sampelr = {"chains": 2}: unknown key; did you mean "sampler" or "sample"?',
        ),
        (
            "[far]\nevents = 6200.5",
            "card.toml: far.events = 6200.5: must be a valid integer",
        ),
        (
            "[oscillation]\ns2_23 = 1.5",
            "card.toml: oscillation.s2_23 = 1.5: must be less than or equal to 1",
        ),
        (
            "[oscillation]\ns2_13 = -0.1",
            "card.toml: oscillation.s2_13 = -0.1: must be greater than or equal to 0",
        ),
        (
            "[priors]\ns2_23 = { type = 'flat', low = 0.4, high = 1.5 }",
            "card.toml: priors.s2_23.high = 1.5: must lie between 0 and 1",
        ),
        (
            "[priors]\ndm31 = { type = 'flat', low = 3e-3, high = 2e-3 }",
            "card.toml: priors.dm31.low = 0.003: must be below high = 0.002",
        ),
        (
            "[priors]\ndm31 = { type = 'flat', low = 2.6e-3, high = 3e-3 }",
            "card.toml: priors.dm31 = [0.0026, 0.003]: must contain the true value 0.002513",
        ),
        (
            "[beam]\nenergy_max_GeV = 200.0",
            "card.toml: beam.energy_max_GeV = 200.0: must lie within the flux DUNE TDR "
            "near-detector flux, neutrino mode (arXiv:2103.04797, ancillary files): "
            "0.125 to 125.125 GeV",
        ),
        (
            "[beam]\nenergy_min_GeV = 5.0\nenergy_max_GeV = 2.0",
            "card.toml: beam.energy_min_GeV = 5.0: must be below energy_max_GeV = 2.0",
        ),
        (
            "[[sample]]\nflavor_out = 'tau'",
            "card.toml: sample.flavor_out = tau: DUNE TDR near-detector flux, neutrino mode "
            "(arXiv:2103.04797, ancillary files) has no near-detector flux to learn this cross "
            "section from",
        ),
    ],
)
def test_cards(text: str, line: str, refused) -> None:
    assert refused(text) == line


def test_an_option_is_named_where_the_card_is_right(refused) -> None:
    line = "--set: sampler.draws = 0: must be greater than or equal to 4"
    assert refused("seed = 1", "--set", "sampler.draws=0") == line


# --- flux ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flux", "line"),
    [
        (
            FLUX.replace("1.5,7.0", "1.5,-7.0"),
            "HERE/flux.csv: row 4: nu_mu = -7.0: a flux is finite and >= 0, <= 1e100",
        ),
        (
            FLUX.replace("1.5,7.0", "1.5,nan"),
            "HERE/flux.csv: row 4: nu_mu = nan: a flux is finite and >= 0, <= 1e100",
        ),
        (
            FLUX.replace("1.5,7.0", "0.75,7.0"),
            "HERE/flux.csv: row 4: energy = 0.75: above the previous 1.0",
        ),
        (
            FLUX.replace("1.5,7.0", "1.5,"),
            "HERE/flux.csv: row 4: nu_mu = (empty): a number",
        ),
        (
            FLUX.replace("1.5,7.0", "1.5"),
            "HERE/flux.csv: row 4: columns = 1: 2: energy, nu_mu",
        ),
        ("energy,nu_mu\n", "HERE/flux.csv: rows = 0: a flux table has at least two rows"),
        ("", "HERE/flux.csv: empty: a header line and at least two rows are needed"),
        (
            FLUX.replace("nu_mu", "nu_x"),
            "HERE/flux.csv: column = nu_x: energy and any of nu_e, nu_mu, nu_tau, anti_nu_e, "
            "anti_nu_mu, anti_nu_tau, once each",
        ),
        (None, "HERE/flux.csv: cannot be read: No such file or directory"),
        (
            FLUX,
            "card.toml: beam.energy_max_GeV = 10.0: must lie within the flux HERE/flux.csv: "
            "0.5 to 4 GeV",
        ),
    ],
)
def test_flux_files(flux: str | None, line: str, refused, tmp_path: Path) -> None:
    if flux is not None:
        (tmp_path / "flux.csv").write_text(flux)
    assert refused("[beam.flux]\ntype = 'csv'\npath = 'flux.csv'") == line


def test_a_flux_without_the_flavor_asked_for(refused, tmp_path: Path) -> None:
    (tmp_path / "flux.csv").write_text(FLUX)
    card = "[[sample]]\nflavor_out='e'\n[beam]\nenergy_max_GeV=3\nflux={type='csv',path='flux.csv'}"
    assert refused(card) == (
        "card.toml: sample.flavor_out = e: HERE/flux.csv has no near-detector flux to learn this "
        "cross section from"
    )


# --- PDF sets ------------------------------------------------------------------------------------


def write_pdf_set(folder: Path, flavors: str = "-4 -3 -2 -1 1 2 3 4 21", form: str = "lhagrid1"):
    """Write a small set of constant x f; return the lines of its member file."""
    folder.mkdir()
    (folder / f"{folder.name}.info").write_text(f"Format: {form}\nNumMembers: 1\n")
    values = [" ".join("1.0" for _ in flavors.split())] * 20
    lines = ["---", "1e-4 1e-3 1e-2 0.1 1", "1.3 2 4 8", flavors, *values, "---"]
    (folder / f"{folder.name}_0000.dat").write_text("\n".join(lines))
    return lines


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("missing", "PDF set HERE/Toy: no such folder (looked in HERE/Toy"),
        ("info", "HERE/Toy/Toy.info: missing: a PDF set holds NAME.info beside its .dat files"),
        ("member", "HERE/Toy/Toy_0000.dat: member = 0: missing; the set declares 1 members"),
        ("truncated", "HERE/Toy/Toy_0000.dat: truncated: the last line of a grid is '---'"),
        ("rows", "HERE/Toy/Toy_0000.dat: line 14: truncated: 10 rows of values"),
        ("format", "HERE/Toy/Toy_0000.dat: Format = hdf5: only lhagrid1 is supported"),
        ("binary", "HERE/Toy/Toy_0000.dat: no '---' line: expected LHAPDF's lhagrid1 format"),
        (
            "flavor",
            "PDF set Toy: flavor = 3, -3: the set holds -2, -1, 1, 2, 21, 4, -4, 5, -5, 6, -6",
        ),
    ],
)
def test_pdf_sets(fault: str, line: str, refused, tmp_path: Path) -> None:
    folder = tmp_path / "Toy"
    member = folder / "Toy_0000.dat"
    if fault == "flavor":
        write_pdf_set(folder, "-2 -1 1 2 21")
    elif fault != "missing":
        lines = write_pdf_set(folder, form="hdf5" if fault == "format" else "lhagrid1")
        if fault == "info":
            (folder / "Toy.info").unlink()
        elif fault == "member":
            member.unlink()
        elif fault == "truncated":
            member.write_text("\n".join(lines[:14]))
        elif fault == "rows":
            member.write_text("\n".join([*lines[:14], "---"]))
        elif fault == "binary":
            member.write_bytes(bytes(range(128, 256)))
    assert refused("[nature.pdf]\ntype = 'lhapdf'\nname = './Toy'").startswith(line)


# --- events and weights --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "line"),
    [
        ("", "HERE/events.csv: columns = : lepton_energy_GeV is missing"),
        ("lepton_energy_GeV,cos_theta\n", "HERE/events.csv: no events: at least one row is needed"),
        ("lepton_energy_GeV\n1.0\n", "HERE/events.csv: columns = lepton_energy_GeV: cos_theta is"),
        (
            "lepton_energy_GeV,cos_theta\n1.0,0.9\n0.05,0.9\n0.02,0.9\n",
            "HERE/events.csv: event 1: lepton_energy_GeV = 0.05: E_l must be above the lepton "
            "mass, 0.105658 GeV (and 1 more rows)",
        ),
        (
            "lepton_energy_GeV,cos_theta\n1.0,0.9\n2.0,1.01\n",
            "HERE/events.csv: event 1: cos_theta = 1.01: must lie between -1 and 1",
        ),
        (
            "lepton_energy_GeV,cos_theta\n1.0,nan\n",
            "HERE/events.csv: event 0: cos_theta = nan: must be finite",
        ),
        (
            "lepton_energy_GeV,cos_theta\n1.0,0.9\n1.0,much\n",
            "HERE/events.csv: event 1: cos_theta = much: must be a number",
        ),
        # The lowest energy that makes E_l = 3 GeV at 90 degrees is negative: it never happens
        (
            "lepton_energy_GeV,cos_theta\n1.0,1.0\n3.0,0.0\n9.99,0.98\n",
            "HERE/events.csv: event 1: lepton_energy_GeV, cos_theta = 3 GeV, 0: no neutrino up to "
            "10 GeV makes such a lepton with x < 1 (and 1 more rows); far.impossible = "
            '"drop" leaves it out',
        ),
        (None, "HERE/events.csv: cannot be read: No such file or directory"),
    ],
)
def test_events_files(events: str | None, line: str, refused, tmp_path: Path) -> None:
    if events is not None:
        (tmp_path / "events.csv").write_text(events)
    assert refused("[far]\nfile = 'events.csv'").startswith(line)


# A short name: messages cut values that are long, such as paths below the name of a test
def test_two_samples(refused, tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("lepton_energy_GeV,cos_theta\n1.0,1.0\n")
    card = "[far]\nfile = 'events.csv'\n[[sample]]\n[[sample]]\nflavor_out = 'e'"
    message = "HERE/events.csv: columns = lepton_energy_GeV,cos_theta: sample is missing"
    assert refused(card) == message


def test_weights_of_another_analysis(refused, finished: Path, card: Path, tmp_path: Path) -> None:
    weights = tmp_path / "network.safetensors"
    shutil.copy(finished / "network.safetensors", weights)
    pinned = f"{card.read_text()}[network]\nweights = '{weights.name}'\n".replace(
        "[network]\nlayers = 2\nwidth = 8\n", ""
    )
    assert refused(f"{pinned}[beam]\nenergy_max_GeV = 9.0") == (
        "HERE/network.safetensors: energy_max_GeV = 9.0: the weights were trained for 10.0"
    )
    assert refused(f"{pinned}[[sample]]\nflavor_out = 'e'") == (
        "HERE/network.safetensors: target = e: the file holds mu"
    )
    weights.write_bytes(weights.read_bytes()[:500])
    assert refused(pinned).startswith("HERE/network.safetensors: not a whole safetensors file: ")
    weights.unlink()
    assert refused(pinned) == ("HERE/network.safetensors: cannot read: No such file or directory")


# --- run folders ---------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_an_existing_run_without_resume(bayesxs, card: Path, copied: Path) -> None:
    before = contents(copied)
    line = bayesxs.refused("run", card, "--out", copied)
    assert line == (
        f"{copied}: already holds a run: --resume continues it, --out chooses another folder"
    )
    assert contents(copied) == before


def test_a_folder_of_something_else(bayesxs, card: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    line = bayesxs.refused("run", card, "--resume", "--out", tmp_path)
    assert line == f"{tmp_path}: not empty and no run folder: --out takes a new folder"
    assert contents(tmp_path) == {"thesis.tex": b"x"}


def test_a_run_of_another_version(bayesxs, card: Path, copied: Path) -> None:
    manifest = json.loads((copied / "manifest.json").read_text())
    (copied / "manifest.json").write_text(json.dumps(manifest | {"schema": 99, "package": "9.0"}))
    before = contents(copied)
    line = (
        f"{copied}/manifest.json: schema = 99: this version reads 1; the run was written by "
        "bayesxs 9.0: use that version, or choose another --out"
    )
    assert bayesxs.refused("run", card, "--resume", "--out", copied) == line
    assert bayesxs.refused("report", copied) == line
    assert contents(copied) == before


@pytest.mark.parametrize("name", ["network.safetensors", "events.nc", "chains.nc", "report.html"])
def test_a_changed_file(name: str, bayesxs, copied: Path) -> None:
    with (copied / name).open("ab") as file:
        file.write(b"!")
    before = contents(copied)
    line = bayesxs.refused("run", "--resume", "--out", copied, "--quiet")
    assert line.startswith(f"{copied / name}: changed since stage ")
    assert line.endswith("delete it and --resume makes it anew, or choose another --out")
    assert contents(copied) == before


def test_a_stage_before_its_time(bayesxs, card: Path, copied: Path) -> None:
    manifest = json.loads((copied / "manifest.json").read_text())
    del manifest["stages"]["simulate"], manifest["stages"]["bootstrap"]
    (copied / "manifest.json").write_text(json.dumps(manifest))
    line = bayesxs.refused("bootstrap", copied, "--quiet")
    assert line == f"{copied}: stage simulate is not finished: run it first"
