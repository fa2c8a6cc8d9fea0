"""DUNE's published far detector in reconstructed energy (arXiv:2103.04797), embedded.

The tables of the release, decimal fractions of six digits, are kept as whole numbers: what is read
is the nearest double of every figure. `python -m bayesxs.inputs.globes.dune FOLDER OUT.npz` makes
the file from the ancillary files of the publication.
"""

from __future__ import annotations

import importlib.resources
import io
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from bayesxs.errors import InputError
from bayesxs.inputs.flux import embedded_dune_flux
from bayesxs.inputs.globes.configuration import (
    Beam,
    Channel,
    Configuration,
    Flavor,
    make_cross_sections,
)
from bayesxs.inputs.globes.tables import read_cross_sections, read_efficiency, read_matrix
from bayesxs.types import Floats as Float

DATA_VERSION: Final = 1
SOURCE: Final = "DUNE TDR far detector, GLoBES configuration (arXiv:2103.04797, ancillary files)"
FILE: Final = "dune_reconstructed.npz"

RECONSTRUCTED: Final = np.cumsum([0.0, *[0.125] * 64, *[1.0] * 2, *[2.0] * 5, *[10.0] * 9])
TRUE: Final = np.cumsum([0.0, *[0.125] * 80, *[1.0] * 10, *[10.0] * 9])
LENGTH: Final = 1284.9  # km
DENSITY: Final = 2.848  # g/cm^3
MASS: Final = 40.0  # kt, fiducial
WINDOW: Final = (0.5, 18.0)  # GeV
MEGAWATT: Final = 1.2  # of the beam
POWER: Final = 11.0  # 1e20 protons on target a year, at that power
# Nucleons of a kt times 1300^2 km^2 in the units of the files: GLoBES divides by length^2, so that
# rates are (1300/1284.9)^2 of flux times cross section times nucleons
NORM: Final = 1.017718e17
YEARS: Final = 6.5  # in each mode, as published: ten years staged, 624 kt MW yr
ERRORS: Final[dict[str, float]] = {
    "nue_sig": 0.02,
    "nue_sigbar": 0.02,
    "numu_sig": 0.05,
    "numu_sigbar": 0.05,
    "nue_bg": 0.05,
    "nue_bgbar": 0.05,
    "numu_bg": 0.05,
    "nutau_bg": 0.20,
    "nc_bgdis": 0.10,
}
SAMPLES: Final = ("nue_app", "nuebar_app", "numu_dis", "numubar_dis")

_DIGITS: Final = 1_000_000
# Name, flavors, matrix of neutrinos and antineutrinos, in the order of the file; the errors have
# another name in the antineutrino mode where it ends on a bar
_APPEARANCE: Final[tuple[tuple[str, Flavor, Flavor, str], ...]] = (
    ("sig", "mu", "e", "nue_sig"),
    ("bkg", "e", "e", "nue_bg"),
    ("bkg", "mu", "mu", "numu_bg"),
    ("bkg", "mu", "tau", "nutau_bg"),
)
_DISAPPEARANCE: Final[tuple[tuple[str, Flavor, Flavor, str], ...]] = (
    ("sig", "mu", "mu", "numu_sig"),
    ("bkg", "mu", "tau", "nutau_bg"),
)
_MATRICES: Final = (
    *("app_nue_sig", "app_nuebar_sig", "app_nue_bkg", "app_nuebar_bkg", "app_numu_bkg"),
    *("app_numubar_bkg", "app_nutau_bkg", "app_nutaubar_bkg", "app_NC_bkg", "app_aNC_bkg"),
    *("dis_numu_sig", "dis_numubar_sig", "dis_nutau_bkg", "dis_nutaubar_bkg"),
    *("dis_NC_bkg", "dis_aNC_bkg"),
)


def embedded_dune(years: float = YEARS, antineutrino_years: float | None = None) -> Configuration:
    """Return DUNE's published configuration: four samples, 32 channels, nine normalisations.

    Args:
        years: at 1.2 MW and 40 kt in neutrino mode: 6.5 as published, 3.5 for seven staged years.
        antineutrino_years: the same in antineutrino mode; as in neutrino mode if not given.

    Raises:
        InputError: years below zero.
    """
    matrices, efficiencies, cross_sections = _tables()
    other = years if antineutrino_years is None else antineutrino_years
    beams = {
        "FHC": Beam(embedded_dune_flux("neutrino", "far"), NORM, POWER, years),
        "RHC": Beam(embedded_dune_flux("antineutrino", "far"), NORM, POWER, other),
    }
    return Configuration(
        source=SOURCE,
        reconstructed=RECONSTRUCTED,
        true=TRUE,
        length=LENGTH,
        density=DENSITY,
        mass=MASS,
        beams=beams,
        cross_sections={
            name: make_cross_sections(table[:, 0], table[:, 1:], f"{SOURCE}: {name}")
            for name, table in cross_sections.items()
        },
        matrices=matrices,
        channels=tuple(_channels(efficiencies)),
        errors=ERRORS,
        windows=dict.fromkeys(SAMPLES, WINDOW),
    )


def _channels(efficiencies: dict[str, Float]) -> Iterator[Channel]:
    """Yield the 32 channels in the order of the published file."""
    pre = np.ones(len(TRUE) - 1)
    for sample in SAMPLES:
        mode = "RHC" if "bar" in sample else "FHC"
        kind = sample[-3:]
        kinds = _APPEARANCE if kind == "app" else _DISAPPEARANCE
        for role, flavor_in, flavor_out, error in kinds:
            if mode == "RHC" and error in ("nue_sig", "nue_bg", "numu_sig"):
                error += "bar"
            for bar in (False, True):
                nu = f"nu{flavor_out}{'bar' if bar else ''}"
                name = f"{mode}_{kind}_{'osc' if (role, kind) == ('sig', 'app') else role}_{nu}"
                matrix = f"{kind}_{nu}_{role}"
                post = efficiencies[f"{kind}_{mode}_{nu}_{role}"]
                yield Channel(
                    *(name, sample, role == "sig", mode, bar, flavor_in, flavor_out, True),
                    *("CC", matrix, post, pre, 1.0, (error,)),
                )
        for bar in (False, True):
            # The efficiency of disappearance is one for both; so is FHC's matrix of appearance
            own = "aNC" if bar else "NC"
            post = efficiencies[f"{kind}_{mode}_{own if kind == 'app' else 'NC'}_bkg"]
            matrix = f"{kind}_{'NC' if (mode, kind) == ('FHC', 'app') else own}_bkg"
            error = "numu_bg" if kind == "app" else "nc_bgdis"
            name = f"{mode}_{kind}_bkg_nu{'bar' if bar else ''}NC"
            yield Channel(
                *(name, sample, False, mode, bar, "mu", "mu", False),
                *("NC", matrix, post, pre, 1.0, (error,)),
            )


@cache
def _tables() -> tuple[dict[str, Float], dict[str, Float], dict[str, Float]]:
    """Return matrices, efficiencies and cross sections by name."""
    resource = importlib.resources.files("bayesxs.data") / FILE
    with np.load(io.BytesIO(resource.read_bytes()), allow_pickle=False) as held:
        matrices, efficiencies = (
            dict(zip(held[f"{kind}_names"].tolist(), held[f"{kind}_values"] / _DIGITS, strict=True))
            for kind in ("matrix", "efficiency")
        )
        return matrices, efficiencies, {name: held[name] for name in ("CC", "NC")}


def regenerate(folder: str | Path, path: str | Path) -> None:
    """Write the embedded table from a folder with the release's smr, eff and xsec.

    Args:
        folder: with smr/NAME.txt, eff/post_NAME.txt and xsec/xsec_{cc,nc}.dat.
        path: what is written.

    Raises:
        InputError: a file is missing, of another size, or has more than six decimals.
    """
    folder = Path(folder)
    sizes = len(RECONSTRUCTED) - 1, len(TRUE) - 1
    names = sorted(p.stem.removeprefix("post_") for p in (folder / "eff").glob("post_*.txt"))
    files = [folder / "smr" / f"{name}.txt" for name in _MATRICES]
    matrices = [_whole(file, read_matrix(file, *sizes)) for file in files]
    files = [folder / "eff" / f"post_{name}.txt" for name in names]
    efficiencies = [_whole(file, read_efficiency(file, sizes[0])) for file in files]
    tables = [read_cross_sections(folder / "xsec" / f"xsec_{kind}.dat") for kind in ("cc", "nc")]
    cc, nc = (np.column_stack([table.log_energy, table.values]) for table in tables)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        matrix_names=np.array(_MATRICES),
        matrix_values=np.array(matrices, np.uint32),
        efficiency_names=np.array(names),
        efficiency_values=np.array(efficiencies, np.uint32),
        data_version=np.array(DATA_VERSION),
        source=np.array(SOURCE),
        CC=cc,
        NC=nc,
    )
    Path(path).write_bytes(buffer.getvalue())


def _whole(file: Path, values: Float) -> Float:
    """Return figures of six decimals as whole numbers."""
    whole = np.rint(values * _DIGITS)
    if not np.array_equal(whole / _DIGITS, values):
        raise InputError(f"{file}: figures with more than six decimals")
    return whole


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m bayesxs.inputs.globes.dune FOLDER OUT.npz")
    regenerate(sys.argv[1], sys.argv[2])
