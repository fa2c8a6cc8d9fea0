"""Flux tables: the embedded DUNE figures, interpolation, and refusal of bad tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesxs.errors import InputError, InputNotice
from bayesxs.inputs.flux import (
    NEUTRINOS,
    embedded_dune_flux,
    load_csv_flux,
    load_globes_flux,
    make_flux,
)

MODES = ("neutrino", "antineutrino")
DETECTORS = {"near": "ND", "far": "FD"}


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("mode", MODES)
def test_embedded_flux_is_the_dune_release(reference, mode, detector):
    # The release's file, read without the package (arXiv:2103.04797).
    file = f"flux_dune_{mode}_{DETECTORS[detector]}_globes.txt"
    release = np.loadtxt(reference / "flux" / file)
    flux = embedded_dune_flux(mode, detector)
    assert f"{detector}-detector" in flux.source
    np.testing.assert_array_equal(flux.energy, release[:, 0])
    np.testing.assert_array_equal(flux.values, release[:, 1:])


@pytest.mark.parametrize("mode", MODES)
def test_loader_reads_the_release(reference, mode):
    flux = load_globes_flux(reference / "flux" / f"flux_dune_{mode}_ND_globes.txt")
    np.testing.assert_array_equal(flux.values, embedded_dune_flux(mode).values)


def test_far_over_near_flux_rises_twofold_around_the_oscillation_maximum():
    # From the release's files, times L^2: 0.98 at 2.1 GeV, 2.2 at 4.4 GeV, the bins about both; and
    # two detectors 1297 km and about 0.5 km away
    near, far = (embedded_dune_flux("neutrino", d)(14, [2.125, 4.375]) for d in DETECTORS)
    low, high = far / near
    assert high / low == pytest.approx(2.2 / 0.98, rel=0.03)
    assert low == pytest.approx(0.98 * (0.5 / 1297.0) ** 2, rel=0.2)


@pytest.mark.parametrize(("mode", "pdg"), [("neutrino", 14), ("antineutrino", -14)])
def test_embedded_flux_is_mostly_the_beam_flavor_at_its_peak(mode, pdg):
    # DUNE's beam peaks near the first oscillation maximum, about 2.5 GeV (arXiv:2103.04797).
    flux = embedded_dune_flux(mode)
    energy = np.linspace(1.5, 3.5, 41)
    all_species = np.array([flux(other, energy) for other in NEUTRINOS])
    assert np.all(flux(pdg, energy) > 0.9 * all_species.sum(axis=0))
    assert 1.5 < energy[np.argmax(flux(pdg, energy))] < 3.5
    assert flux.support == (0.125, 125.125)


def test_unknown_mode():
    with pytest.raises(InputError, match="mode = muon: neutrino or antineutrino"):
        embedded_dune_flux("muon")


@settings(max_examples=50)
@given(t=st.floats(0, 1), row=st.integers(0, 499), pdg=st.sampled_from(NEUTRINOS))
def test_linear_between_bin_centers(t, row, pdg):
    flux = embedded_dune_flux("neutrino")
    column = flux.values[:, NEUTRINOS.index(pdg)]
    energy = (1 - t) * flux.energy[row] + t * flux.energy[row + 1]
    expected = (1 - t) * column[row] + t * column[row + 1]
    assert flux(pdg, energy) == pytest.approx(expected, rel=1e-9, abs=1e-20)


@pytest.mark.parametrize("pdg", NEUTRINOS)
def test_zero_outside(pdg):
    flux = embedded_dune_flux("neutrino")
    low, high = flux.support
    assert np.all(flux(pdg, [0.0, low * (1 - 1e-9), high * (1 + 1e-9), 1e3]) == 0)
    assert flux(pdg, np.ones((2, 3))).shape == (2, 3)


def test_unknown_species():
    with pytest.raises(InputError, match="pdg = 13: one of"):
        embedded_dune_flux("neutrino")(13, 1.0)


def test_csv_with_some_columns_in_any_order(tmp_path):
    file = tmp_path / "flux.csv"
    file.write_text("# a comment\nanti_nu_mu, energy, nu_mu\n1,0.5,10\n\n2,1.5,20\n")
    flux = load_csv_flux(file)
    assert flux(14, 1.0) == 15
    assert flux(-14, 1.0) == 1.5
    assert flux(12, 1.0) == 0
    assert flux.source == str(file)


def test_globes_comments_and_blank_lines(tmp_path):
    file = tmp_path / "flux.txt"
    file.write_text("# E e m t\n0.5 1 2 3 4 5 6 # first\n\n1.5\t1 2 3 4 5 6\n")
    np.testing.assert_array_equal(load_globes_flux(file).values, [[1, 2, 3, 4, 5, 6]] * 2)


BAD_CSV = {
    "energy,nu_mu\n0.5,1\n1.5,-1.2\n": "row 3: nu_mu = -1.2: a flux is finite and >= 0",
    "energy,nu_mu\n0.5,1\n1.5,nan\n": "row 3: nu_mu = nan: a flux is finite and >= 0",
    "energy,nu_mu\n0.5,1\n1.5,inf\n": "row 3: nu_mu = inf: a flux is finite and >= 0",
    "energy,nu_mu\n0.5,1\n1.5,\n": "row 3: nu_mu = (empty): a number",
    "energy,nu_mu\n0.5,1\n1.5,x\n": "row 3: nu_mu = x: a number",
    "energy,nu_mu\n0.5,1\n1.5\n": "row 3: columns = 1: 2: energy, nu_mu",
    "energy,nu_mu\n0.5,1\n0.5,1\n": "row 3: energy = 0.5: above the previous 0.5",
    "energy,nu_mu\n0.5,1\n1.5,1\n1,1\n": "row 4: energy = 1.0: above the previous 1.5",
    "energy,nu_mu\n0.5,1\n1.5,1e300\n": "row 3: nu_mu = 1e+300: a flux is finite",
    "energy,nu_mu\n125,1\n125000,1\n": "energies in GeV, up to 1000; if these are in MeV",
    "E [MeV],nu_mu\n125,1\n500,1\n": "column = E [MeV]: energies in GeV: divide them by 1000",
    "energy;nu_mu\n0,25;1,5\n0,5;1\n": "row 2: energy = 0,25: a decimal comma: write 0.25",
    "energy nu_mu\n0,25 1,5\n0,5 1\n": "row 2: energy = 0,25: a decimal comma: write 0.25",
    "energy,nu_mu\n0,25,1,5\n0,5,1,0\n": "2: energy, nu_mu; a decimal comma is written as a point",
    "energy,nu_mu\n0,1\n0.5,1\n1,1\n": 'low edges of bins or points? Write energies = "low_edges"',
    "e_low,e_high,nu_mu\n0,1,1\n1.5,2,1\n": "row 3: low edge = 1.5: where the bin before ends, 1.0",
    "e_low,e_high,nu_mu\n1,0,1\n1.5,2,1\n": "row 2: high edge = 0.0: above the low, 1.0",
    "e_low,nu_mu\n1,0\n1.5,2\n": "header = e_low,nu_mu: energy and any of",
    "energy,nu_mu\nnan,1\n0.5,1\n": "row 2: energy = nan: an energy in GeV is finite and >= 0",
    "energy,nu_mu\n-1,1\n0.5,1\n": "row 2: energy = -1.0: an energy in GeV is finite and >= 0",
    "energy,nu_mu\n0.5,0\n1.5,0\n": "the flux is zero everywhere",
    "energy,nu_mu\n0.5,1\n": "rows = 1: a flux table has at least two rows",
    "energy,nu_mu\n": "rows = 0: a flux table has at least two rows",
    "energy,nu_x\n0.5,1\n1.5,1\n": "column = nu_x: energy and any of nu_e, nu_mu",
    "nu_mu\n1\n1\n": "header = nu_mu: energy and any of",
    "energy,nu_mu,nu_mu\n0.5,1,1\n1.5,1,1\n": "header = energy,nu_mu,nu_mu: energy and any of",
    "energy\n0.5\n1.5\n": "header = energy: energy and any of",
    "": "empty",
}


@pytest.mark.parametrize("text", BAD_CSV)
def test_bad_csv_gives_one_line(tmp_path, text):
    file = tmp_path / "flux.csv"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        load_csv_flux(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert BAD_CSV[text] in message
    assert "\n" not in message


BAD_GLOBES = {
    "0.5 1 2 3 4 5 6\n1.5 1 2 3 4 5\n": "row 2: columns = 6: 7: energy, nu_e",
    "0.5 1 2 3 4 5 6\n# x\n1.5 1 2 3 4 5 -6\n": "row 3: anti_nu_tau = -6.0: a flux is finite",
    "0.5 1 2 3 4 5 6\n1.5 1 2 3 4 5 six\n": "row 2: anti_nu_tau = six: a number",
    "# nothing\n": "rows = 0: a flux table has at least two rows",
}


@pytest.mark.parametrize("text", BAD_GLOBES)
def test_bad_globes_file_gives_one_line(tmp_path, text):
    file = tmp_path / "flux.txt"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        load_globes_flux(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert BAD_GLOBES[text] in str(caught.value)


@pytest.mark.parametrize("load", [load_csv_flux, load_globes_flux])
def test_missing_or_binary_file(tmp_path, load):
    with pytest.raises(InputError, match=r"none\.txt: cannot be read: No such file"):
        load(tmp_path / "none.txt")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(InputError, match="not a text file"):
        load(tmp_path / "binary")


def test_shape_is_checked():
    with pytest.raises(InputError, match=r"own: shape = \(2,\) and \(2, 5\)"):
        make_flux([1, 2], np.ones((2, 5)), "own")


# Files as people have them


PLAIN = "energy,nu_mu,anti_nu_e\n0.25,12.5,1\n0.75,20,2\n1.25,5,3\n"
AS_PEOPLE_HAVE_THEM = {
    "names": PLAIN.replace("energy", "Energy").replace("nu_mu", "numu").replace("nu_e", "nue"),
    "units": PLAIN.replace("energy", "E_nu [GeV]").replace("anti_nu_e", "nue_bar"),
    "semicolons": PLAIN.replace(",", ";"),
    "tabs": PLAIN.replace(",", "\t"),
    "spaces": PLAIN.replace(",", "   "),
    "comments": "% made by hand\n! and kept\n" + PLAIN.replace("5\n", "5 ! last\n"),
    "latin-1": "# Größe\n" + PLAIN,
    "Fortran": PLAIN.replace("12.5", "1.25D+01").replace("0.75", "7.5d-1"),
    "decreasing": "\n".join([PLAIN.split("\n")[0], *PLAIN.split("\n")[3:0:-1]]),
    "carriage returns": PLAIN.replace("\n", "\r"),
    "spaces around": PLAIN.replace(",", " , "),
}


@pytest.mark.parametrize("case", AS_PEOPLE_HAVE_THEM)
def test_files_as_people_have_them(tmp_path, case):
    (tmp_path / "plain.csv").write_text(PLAIN)
    expected = load_csv_flux(tmp_path / "plain.csv")
    np.testing.assert_array_equal(expected.energy, [0.25, 0.75, 1.25])
    np.testing.assert_array_equal(expected(14, expected.energy), [12.5, 20, 5])
    file = tmp_path / "flux.dat"
    file.write_bytes(AS_PEOPLE_HAVE_THEM[case].encode("latin-1"))
    found = load_csv_flux(file)
    np.testing.assert_array_equal(found.energy, expected.energy)
    np.testing.assert_array_equal(found.values, expected.values)


def test_columns_of_errors_are_ignored_with_a_notice(tmp_path):
    file = tmp_path / "flux.csv"
    file.write_text("E,numu,numu_err,sigma_nue,nue\n0.25,2,x,1,3\n0.75,4,,1,5\n")
    with pytest.warns(InputNotice, match=r"flux\.csv: columns = numu_err, sigma_nue: errors"):
        flux = load_csv_flux(file)
    np.testing.assert_array_equal(flux.values[:, :2], [[3, 2], [5, 4]])


def test_a_globes_table_may_have_a_line_of_names(tmp_path):
    file = tmp_path / "flux.txt"
    file.write_text("E nue numu nutau anue anumu anutau\n0.25 1 2 3 4 5 6\n0.75 6 5 4 3 2 1D0\n")
    np.testing.assert_array_equal(
        load_globes_flux(file).values, [[1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]]
    )


EDGES, HEIGHTS = np.array([0.0, 0.5, 0.75, 2.0]), np.array([2.0, 8.0, 1.0])
BINNED = {
    "csv": "e_low,e_high,numu\n0,0.5,2\n0.5,0.75,8\n0.75,2,1\n",
    "names": "Emin;Emax;nu_mu\n0,0.5,2\n0.5,0.75,8\n0.75,2,1\n".replace(",", ";"),
    "globes": "0 .5 0 2 0 0 0 0\n.5 .75 0 8 0 0 0 0\n.75 2 0 1 0 0 0 0\n",
}


@pytest.mark.parametrize("case", BINNED)
def test_bins_keep_their_integrals(tmp_path, case):
    file = tmp_path / "flux.txt"
    file.write_text(BINNED[case])
    flux = (load_globes_flux if case == "globes" else load_csv_flux)(file)
    np.testing.assert_array_equal(flux.knots, EDGES)
    assert flux.support == (0.0, 2.0)
    nodes, weights = np.polynomial.legendre.leggauss(5)
    low, width = EDGES[:-1, None], np.diff(EDGES)[:, None]
    points = low + 0.5 * width * (nodes + 1.0)
    integrals = (flux(14, points) * weights * 0.5 * width).sum(axis=1)
    np.testing.assert_allclose(integrals, HEIGHTS * np.diff(EDGES), rtol=1e-14)
    np.testing.assert_array_equal(flux(14, [-1e-9, 0.5, 2.0, 2.0 + 1e-9]), [0, 8, 1, 0])


def test_one_energy_per_row_may_be_a_low_edge(tmp_path):
    file = tmp_path / "flux.csv"
    file.write_text("energy,numu\n0,2\n0.5,8\n1.0,1\n")
    bins = load_csv_flux(file, "low_edges")
    np.testing.assert_array_equal(bins.knots, [0.0, 0.5, 1.0, 1.5])
    np.testing.assert_array_equal(bins(14, [0.25, 0.75, 1.25]), [2, 8, 1])
    points = load_csv_flux(file, "centers")
    assert points.edges is None
    assert points(14, 0.25) == 5.0
    file.write_text("bin_center,numu\n0,2\n0.5,8\n1.0,1\n")
    np.testing.assert_array_equal(load_csv_flux(file).knots, [0.0, 0.5, 1.0])
