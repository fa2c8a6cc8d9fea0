"""DUNE's embedded configuration against the files of the publication."""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from bayesxs.errors import InputError
from bayesxs.inputs.globes import dune
from bayesxs.inputs.globes.configuration import Configuration

LETTERS = {"e": "e", "m": "mu", "t": "tau"}


@pytest.fixture(scope="module")
def embedded() -> Configuration:
    return dune.embedded_dune()


@pytest.fixture(scope="module")
def release(reference: Path) -> Path:
    folder = reference / "globes"
    if not folder.is_dir():
        pytest.skip("the published configuration is not there")
    return folder


@pytest.fixture(scope="module")
def published(release: Path) -> list[dict[str, str]]:
    with (release / "channels.csv").open() as stream:
        return list(csv.DictReader(stream))


def braces(file: Path) -> list[list[float]]:
    """Read the numbers between braces, with nothing of the package."""
    return [
        [float(x) for x in re.split(r"[,\s]+", row.strip(" ,\n"))]
        for row in re.findall(r"\{([^}]*)\}", file.read_text())
    ]


def test_channels_are_those_of_the_release(
    embedded: Configuration, published: list[dict[str, str]]
) -> None:
    assert len(embedded.channels) == len(published) == 32
    for channel, row in zip(embedded.channels, published, strict=True):
        assert channel.name == row["channel"]
        assert channel.sample == row["rule"]
        assert channel.signal == (row["kind"] == "signal")
        assert channel.beam == row["beam_mode"]
        assert channel.antineutrino == (row["helicity"] == "antineutrino")
        assert channel.flavor_in == LETTERS[row["flavour_in"]]
        assert channel.flavor_out == LETTERS[row["flavour_out"]]
        assert channel.oscillates == (row["oscillated"] == "yes")
        assert channel.cross_section == row["cross_section"]
        assert channel.matrix == Path(row["smearing"]).stem
        assert channel.errors == (row["normalisation_error"].removeprefix("err_"),)
        assert channel.weight == 1.0


def test_every_figure_is_that_of_the_release(
    embedded: Configuration, published: list[dict[str, str]], release: Path
) -> None:
    for channel, row in zip(embedded.channels, published, strict=True):
        rows = np.array(braces(release / row["smearing"]))
        assert rows.shape == (80, 101)
        np.testing.assert_array_equal(embedded.matrices[channel.matrix], rows[:, 2:])
        (efficiency,) = braces(release / row["efficiency"])
        np.testing.assert_array_equal(channel.post, efficiency)
        assert np.all(channel.pre == 1.0)
    for name, file in (("CC", "xsec_cc.dat"), ("NC", "xsec_nc.dat")):
        table = np.loadtxt(release / "xsec" / file)
        np.testing.assert_array_equal(embedded.cross_sections[name].log_energy, table[:, 0])
        np.testing.assert_array_equal(embedded.cross_sections[name].values, table[:, 1:])


def test_the_table_is_made_from_the_release(release: Path, tmp_path: Path) -> None:
    made = tmp_path / "made.npz"
    dune.regenerate(release, made)
    packaged = Path(str(sys.modules["bayesxs"].__file__)).parent / "data" / dune.FILE
    with np.load(made) as new, np.load(packaged) as old:
        assert set(new.files) == set(old.files)
        for name in new.files:
            np.testing.assert_array_equal(new[name], old[name])


def test_figures_that_six_decimals_do_not_hold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="more than six decimals"):
        dune._whole(tmp_path / "x.txt", np.array([0.1234567]))


def test_years_multiply_each_mode(embedded: Configuration) -> None:
    other = dune.embedded_dune(3.5, 13.0)
    assert other.exposure("FHC") / embedded.exposure("FHC") == pytest.approx(3.5 / 6.5)
    assert other.exposure("RHC") / embedded.exposure("RHC") == pytest.approx(2.0)
    with pytest.raises(InputError, match="years"):
        dune.embedded_dune(-1.0)
    # README of the release: 40 kt, 1.1e21 protons on target a year, 1.017718e17 = 6.022e10 1300^2
    nucleons = 40.0 * 1e9 * 6.022e23  # of 40 kt
    per_m2 = 1e-38 * 1e-4  # 1e-38 cm^2 in m^2
    plain = nucleons * per_m2 * 1.1e21 * 6.5
    assert embedded.exposure("FHC") / plain == pytest.approx((1300.0 / 1284.9) ** 2, rel=1e-4)
