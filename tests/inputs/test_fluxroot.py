"""Fluxes from ROOT histograms: bins and contents as they are, and one line for what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import uproot

from bayesxs.errors import InputError
from bayesxs.inputs.fluxroot import load_root_flux

EDGES = np.array([0.0, 0.5, 0.75, 2.0])
NUMU, NUEBAR = np.array([2.0, 8.0, 1.0]), np.array([0.0, 1.0, 3.0])


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("root") / "flux.root"
    with uproot.recreate(path) as root:
        root["numu_flux"] = (NUMU, EDGES)
        root["far/nuebar_flux"] = (NUEBAR, EDGES)
        root["h1"] = (NUMU, np.array([0.0, 0.5, 1.0, 1.5]))
        root["negative_numu"] = (-NUMU, EDGES)
        root["h2"] = (np.ones((2, 2)), np.arange(3.0), np.arange(3.0))
    return path


def test_bins_of_any_width_keep_their_contents(file: Path) -> None:
    flux = load_root_flux(f"{file}:numu_flux,far/nuebar_flux")
    np.testing.assert_array_equal(flux.knots, EDGES)
    middle = 0.5 * (EDGES[:-1] + EDGES[1:])
    np.testing.assert_array_equal(flux(14, middle), NUMU)
    np.testing.assert_array_equal(flux(-12, middle), NUEBAR)
    np.testing.assert_array_equal(flux(12, middle), 0.0)
    per_bin = load_root_flux(f"{file}:nu_mu=numu_flux;1", "per_bin")
    np.testing.assert_array_equal(per_bin(14, middle), NUMU / [0.5, 0.25, 1.25])
    other = load_root_flux(f"{file}:anti_nu_tau=h1")
    np.testing.assert_array_equal(other(-16, [0.25, 0.75, 1.25]), NUMU)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("numu", "histogram = numu: one of the histograms: far/nuebar_flux, h1, negative_numu, nu"),
        ("h1", "histogram = h1: SPECIES=HISTOGRAM with one of nu_e"),
        ("nu_mu=h2", "histogram = h2: one of the histograms"),
        ("numu_flux,nu_e=h1", "h1: its bins differ from those of the first"),
        ("numu_flux,nu_mu=h1", "once each"),
        ("nu_mu=negative_numu", "nu_mu = -2.0: a flux is finite and >= 0"),
        ("", "written as FILE.root:HISTOGRAM"),
    ],
)
def test_what_is_refused(file: Path, names: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_root_flux(f"{file}:{names}")
    assert message in str(caught.value).replace("\\n", "")


def test_files_that_are_damaged_or_absent(file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.root: cannot be read: No such file"):
        load_root_flux(f"{tmp_path}/none.root:numu")
    whole = file.read_bytes()
    rng = np.random.default_rng(1)
    damaged = tmp_path / "damaged.root"
    for _ in range(40):
        content = bytearray(whole)
        for place in rng.integers(0, len(whole), 8):
            content[place] = rng.integers(0, 256)
        damaged.write_bytes(content[: rng.integers(10, 2 * len(whole))])
        try:
            flux = load_root_flux(f"{damaged}:numu_flux")
        except InputError as error:
            assert str(error).startswith(f"{damaged}: ") or "numu_flux" in str(error)
        else:
            assert np.all(np.isfinite(flux.values))
