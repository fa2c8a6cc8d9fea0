"""Total cross sections of generators on argon, and tables that are wrong by their difference.

GENIE's are DUNE's published table (version 2.12), NuWro's and Achilles's come with samples of their
events (`nuwro_ar40_*_sigma.csv`, `achilles_ar40_numu_qe_sigma.csv`), with Monte Carlo errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import bayesxs
from bayesxs.detector.reconstructed import CrossSection
from bayesxs.inputs.globes.dune import embedded_dune

type Ratio = Callable[[NDArray[np.float64]], NDArray[np.float64]]

NUWRO = {14: "nuwro_ar40_numu", 12: "nuwro_ar40_nue", -14: "nuwro_ar40_numubar"}
ACHILLES = "achilles_ar40_numu_qe"

# Energies in GeV between which ratios are fitted, and beyond which they stay what they are there
FITTED = (0.5, 20.0)
DEGREE = 4

# Scatter of the published table about a smooth curve, which is no difference of models
SCATTER = 0.02

# Energies in GeV over which near rates are taken
NEAR = np.linspace(0.5, 10.0, 400)


class Totals(NamedTuple):
    """Cross sections in bins of energy, 1e-38 cm^2 per nucleon, with Monte Carlo errors.

    Attributes:
        energy: centers in GeV.
        total: all channels that there are.
        error: of it.
        elastic: the quasi-elastic part.
    """

    energy: NDArray[np.float64]
    total: NDArray[np.float64]
    error: NDArray[np.float64]
    elastic: NDArray[np.float64]


def read_totals(folder: Path, name: str) -> Totals:
    """Read the totals of a sample of events."""
    table = np.genfromtxt(folder / f"{name}_sigma.csv", delimiter=",", names=True)
    names = table.dtype.names or ()
    total = np.sum([table[n] for n in names if n.endswith("per_nucleon")], axis=0)
    error = np.sqrt(np.sum([table[n] ** 2 for n in names if n.endswith("mc_error")], axis=0))
    energy = 0.5 * (table["E_low_GeV"] + table["E_high_GeV"])
    return Totals(energy, total, error, table[next(n for n in names if n.startswith("qe_1"))])


def smooth_ratio(energy: np.ndarray, ratio: np.ndarray, error: np.ndarray) -> Ratio:
    """Return the polynomial of `DEGREE` in ln E that fits a ratio, constant beyond `FITTED`."""
    used = (energy > FITTED[0]) & (energy < FITTED[1])
    fit = np.polynomial.Polynomial.fit(
        np.log(energy[used]), ratio[used], DEGREE, w=1.0 / error[used]
    )
    return lambda at: fit(np.log(np.clip(at, *FITTED)))


def nuwro_over_genie(folder: Path) -> dict[int, Ratio]:
    """Return NuWro's totals over GENIE's; anti-nu_e have the ratio of anti-nu_mu."""
    published = embedded_dune().cross_sections["CC"]
    ratios = {}
    for pdg, name in NUWRO.items():
        nuwro = read_totals(folder, name)
        genie = np.asarray(published(pdg, nuwro.energy))
        errors = np.hypot(nuwro.error / genie, SCATTER)
        ratios[pdg] = smooth_ratio(nuwro.energy, nuwro.total / genie, errors)
    return ratios | {-12: ratios[-14]}


def achilles_for_nuwro(folder: Path) -> dict[int, Ratio]:
    """Return NuWro's totals with Achilles's quasi-elastic part in place of its own, over its own.

    Achilles made muon neutrinos. The ratio of the quasi-elastic parts is taken to be the same for
    electrons and antineutrinos at the same energy, and shares are those of NuWro.
    """
    other, own = read_totals(folder, ACHILLES), read_totals(folder, NUWRO[14])
    elastic = other.elastic / own.elastic
    ratios = {}
    for pdg, name in NUWRO.items():
        nuwro = read_totals(folder, name)
        share = nuwro.elastic / nuwro.total
        errors = share * np.hypot(other.error / other.elastic, nuwro.error / nuwro.total) + 1e-3
        ratios[pdg] = smooth_ratio(nuwro.energy, 1.0 + share * (elastic - 1.0), errors)
    return ratios | {-12: ratios[-14]}


def table_of(ratios: Mapping[int, Ratio]) -> CrossSection:
    """Return the published totals times ratios, each with the near rate that the published one has.

    The near flux is that of the beam in which the neutrinos are the wanted ones.
    """
    published = embedded_dune().cross_sections["CC"]
    scales = {}
    for pdg, ratio in ratios.items():
        flux = bayesxs.dune_flux("neutrino" if pdg > 0 else "antineutrino")(pdg, NEAR)
        rate = flux * np.asarray(published(pdg, NEAR))
        scales[pdg] = rate.sum() / (rate @ ratio(NEAR))

    def total(pdg: int, at: np.ndarray) -> np.ndarray:
        found = np.asarray(published(pdg, at))
        return found * scales[pdg] * ratios[pdg](at) if pdg in ratios else found

    return total


def generator_tables(folder: Path) -> dict[str, CrossSection]:
    """Return tables that are wrong by a generator's difference, by name."""
    return {
        "NuWro for GENIE": table_of(nuwro_over_genie(folder)),
        "Achilles's quasi-elastic for NuWro's": table_of(achilles_for_nuwro(folder)),
    }
