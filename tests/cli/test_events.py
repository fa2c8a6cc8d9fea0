"""The commands that look into, convert and test files of generator's events."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from bayesxs.cli.main import app
from bayesxs.constants import MUON_MASS, NUCLEON_MASS
from bayesxs.detector.event_summary import summarize
from bayesxs.inference.decomposition import threshold
from bayesxs.inputs.flux import embedded_dune_flux
from bayesxs.inputs.generators.read import EventStream, read_events
from bayesxs.physics.kinematics import cosine_from_z

ARGON, CARBON = 1000180400, 1000060120


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def table_of(path: Path, columns: dict[str, np.ndarray]) -> Path:
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def flat_events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events whose density is the DUNE flux times a constant in (nu, Q^2): a quadratic in 1/E."""
    rng = np.random.default_rng(1)
    energy = rng.uniform(0.5, 10.0, 200_000)
    nu, q2 = rng.uniform(0.1, 1.5, energy.size), rng.uniform(0.1, 1.5, energy.size)
    flux = embedded_dune_flux("neutrino")(14, energy)
    kept = energy > threshold(nu, q2, MUON_MASS)
    kept &= rng.uniform(size=energy.size) < flux / flux.max()
    energy, nu, q2 = energy[kept], nu[kept], q2[kept]
    z = (q2 + MUON_MASS**2) / (2.0 * NUCLEON_MASS * energy)
    cosine = cosine_from_z(energy - nu, z, MUON_MASS)
    columns = {"E_nu_GeV": energy, "E_l_GeV": energy - nu, "cos_theta": cosine}
    return table_of(tmp_path_factory.mktemp("events") / "flat.csv", columns)


def small(path: Path) -> Path:
    """Write four events by hand, x = Q^2/(2 M nu) of two of them above one, and a neutral one."""
    energy, nu = np.array([2.0, 2.0, 4.0, 4.0, 3.0]), np.array([0.2, 0.5, 0.2, 2.0, 1.0])
    x = np.array([1.5, 0.5, 3.2, 0.1, 0.5])
    z = (2.0 * NUCLEON_MASS * nu * x + MUON_MASS**2) / (2.0 * NUCLEON_MASS * energy)
    columns = {
        "E_nu_GeV": energy,
        "E_l_GeV": energy - nu,
        "cos_theta": cosine_from_z(energy - nu, z, MUON_MASS),
        "weight": np.array([1.0, 2.0, 3.0, 2.0, 5.0]),
        "pdg_nu": np.full(5, 14),
        "pdg_l": np.array([13, 13, 13, 13, 14]),
        "channel": np.array(["qe", "qe", "mec", "dis", "nc"]),
        "target": np.array([ARGON, ARGON, CARBON, ARGON, ARGON]),
    }
    return table_of(path, columns)


def test_a_summary_counts_by_weight(tmp_path: Path) -> None:
    stream = EventStream(small(tmp_path / "a.csv"), several_targets=True)
    summary = summarize(stream)
    assert summary.counts == (5, 1, 0, 0)
    assert summary.weight == 8.0
    assert summary.effective == pytest.approx(64.0 / 18.0)
    assert summary.channels == {"qe": 3 / 8, "mec": 3 / 8, "dis": 2 / 8}
    assert summary.targets == {ARGON: 5 / 8, CARBON: 3 / 8}
    assert summary.above_one == pytest.approx(4 / 8)
    assert summary.beyond == pytest.approx(3 / 8)  # of all phase space
    assert (summary.no_transfer, summary.energies) == (0.0, (2.0, 4.0))
    # Three eighths of the weight lie at 2 GeV, the rest at 4 GeV
    np.testing.assert_allclose(summary.quantiles, [2.0, 4.0, 4.0], rtol=3e-3)


def test_info_says_what_is_in_a_file(tmp_path: Path) -> None:
    result = call("events", "info", small(tmp_path / "a.csv"))
    assert result.exit_code == 0
    for text in ("4 of 5", "14 100 %", f"{ARGON} 62.5 %", "qe 37.5 %", "50 %", "(not in the file)"):
        assert text in result.output
    one = call("events", "info", tmp_path / "a.csv", "--target", CARBON)
    assert "1 of 5" in one.output
    assert one.exit_code == 0


def test_words_of_a_file_are_shown_as_they_are(tmp_path: Path) -> None:
    """Neither a terminal's escapes nor what looks like Rich's markup."""
    path = tmp_path / "[red]a.csv"
    columns = "E_nu_GeV,E_l_GeV,cos_theta,channel"
    path.write_text(f"{columns}\n2.5,1.25,0.5,\x1b[31mqe\n2.5,1.25,0.5,[/b]\n")
    result = call("events", "info", path)
    assert result.exit_code == 0
    assert "\x1b[31m" not in result.output
    assert r"\x1b[31mqe 50 %, [/b] 50 %" in result.output
    assert "[red]a.csv" in result.output.replace("\n", "")


def test_convert_writes_what_was_read_or_nothing(tmp_path: Path) -> None:
    source, out = small(tmp_path / "a.csv"), tmp_path / "b.parquet"
    result = call("events", "convert", source, out)
    assert (result.exit_code, out.exists()) == (2, False)
    assert f"targets = {CARBON}, {ARGON}: one nucleus" in result.stderr
    result = call("events", "convert", source, out, "--target", ARGON)
    assert result.exit_code == 0
    assert "3 events; 2 left out" in result.output
    np.testing.assert_array_equal(read_events(out).weight, [1.0, 2.0, 2.0])
    assert sorted(tmp_path.iterdir()) == [source, out]
    assert call("events", "convert", source, tmp_path / "c.txt").exit_code == 2


def test_decompose_has_a_table_a_verdict_and_a_figure(flat_events: Path, tmp_path: Path) -> None:
    result = call("decompose", flat_events, "--out", tmp_path, "-q")
    assert result.exit_code == 0
    assert "flat.csv: decomposes into structure functions" in result.output
    assert (tmp_path / "flat.csv.png").read_bytes().startswith(b"\x89PNG")
    # Those of electron neutrinos have another flux
    other = call("decompose", flat_events, "--neutrino=12", "--out", tmp_path, "-q")
    assert "does not decompose, or was made in another flux" in other.output


def test_decompose_refuses_what_it_cannot_test(flat_events: Path, tmp_path: Path) -> None:
    assert "within that of the flux" in call("decompose", flat_events, "--low=5", "--high=5").stderr
    mixed = table_of(
        tmp_path / "mixed.csv",
        {
            "E_nu_GeV": np.full(4, 2.0),
            "E_l_GeV": np.ones(4),
            "cos_theta": np.ones(4),
            "pdg_nu": np.array([14, 14, 12, 12]),
        },
    )
    result = call("decompose", mixed)
    assert result.exit_code == 2
    assert "neutrinos = 12, 14: one of them: choose with --neutrino" in result.stderr
    few = call("decompose", mixed, "--neutrino=14", "--out", tmp_path / "none")
    assert "too few events for a test" in few.output
    assert not (tmp_path / "none").exists()
