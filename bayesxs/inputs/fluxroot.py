"""Fluxes from ROOT histograms, through uproot: FILE.root:HISTOGRAM."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from bayesxs.errors import InputError
from bayesxs.inputs.flux import Flux, make_flux
from bayesxs.inputs.fluxtable import SPECIES, species_of
from bayesxs.types import Floats

if TYPE_CHECKING:
    import uproot

# What the content of a bin is
Contents = Literal["per_GeV", "per_bin"]

MAX_BYTES: Final = 2_000_000_000  # of a file, which is not read whole
MAX_HISTOGRAM: Final = 16_000_000  # bytes unpacked
MAX_BINS: Final = 100_000
_HISTOGRAM: Final = re.compile(r"TH1[CSIFDL]")


def split_root_path(path: str) -> tuple[Path, dict[str, str]]:
    """Return the file, and the name of the histogram of each species, of FILE.root:HISTOGRAM.

    Several names are separated by commas; a name tells its species (numu_flux), or SPECIES=NAME
    does (nu_mu=h1).

    Raises:
        InputError: no histogram is named, or a species is not known or named twice.
    """
    file, mark, names = path.partition(".root:")
    if not mark or not names:
        raise InputError.at("beam.flux", "path", path, "written as FILE.root:HISTOGRAM")
    found: dict[str, str] = {}
    for part in names.split(","):
        word, equals, name = part.strip().partition("=")
        species = word if equals else species_of(re.sub(r";\d+$", "", word.split("/")[-1]))
        if species not in SPECIES or species in found:
            allowed = f"SPECIES=HISTOGRAM with one of {', '.join(SPECIES)}, once each"
            raise InputError.at(f"{file}.root", "histogram", part, allowed)
        found[species] = name if equals else word
    return Path(f"{file}.root"), found


def load_root_flux(path: str | Path, contents: Contents = "per_GeV") -> Flux:
    """Load a flux from one-dimensional ROOT histograms, which is constant in their bins.

    Args:
        path: FILE.root:HISTOGRAM, see `split_root_path`. Histograms of several species have the
            same bins, even or not, in GeV; a species without a histogram is zero.
        contents: whether bins hold the flux per GeV, or integrated over the bin.

    Raises:
        InputError: unreadable file, no such histogram (naming those there are), bins that differ,
            or a table that is no flux: see `make_flux`.
    """
    file, names = split_root_path(str(path))
    edges: Floats | None = None
    columns: dict[str, Floats] = {}
    for species, (bins, values) in _histograms(file, names).items():
        if edges is not None and not np.array_equal(edges, bins):
            raise InputError(f"{file}: {names[species]}: its bins differ from those of the first")
        edges, columns[species] = bins, values
    assert edges is not None
    widths = np.diff(edges) if contents == "per_bin" else np.ones(len(edges) - 1)
    table = np.zeros((len(widths), len(SPECIES)))
    with np.errstate(divide="ignore", invalid="ignore"):  # edges are checked below
        for species, values in columns.items():
            table[:, SPECIES.index(species)] = values / widths
    return make_flux(0.5 * (edges[:-1] + edges[1:]), table, str(path), edges=edges)


def _histograms(file: Path, names: dict[str, str]) -> dict[str, tuple[Floats, Floats]]:
    import uproot  # takes half a second

    try:
        if file.stat().st_size > MAX_BYTES:
            raise InputError(f"{file}: larger than {MAX_BYTES // 10**6} MB")
        with uproot.open(file) as root:
            return {species: _histogram(file, root, name) for species, name in names.items()}
    except (InputError, FileNotFoundError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file}: cannot be read: No such file or directory") from None
    except Exception as error:  # a damaged file fails anywhere in uproot
        reason = f"{type(error).__name__} in reading"
        raise InputError(f"{file}: cannot be read as a ROOT file: {reason}") from None


def _histogram(
    file: Path,
    root: uproot.ReadOnlyDirectory,
    name: str,
) -> tuple[Floats, Floats]:
    kinds = root.classnames(recursive=True)
    held = sorted({key.split(";")[0] for key, kind in kinds.items() if _HISTOGRAM.fullmatch(kind)})
    if name.split(";")[0] not in held:
        allowed = f"one of the histograms: {', '.join(held) or '(none)'}"
        raise InputError.at(file, "histogram", name, allowed)
    size = root.key(name).data_uncompressed_bytes
    if size > MAX_HISTOGRAM:
        raise InputError.at(file, name, f"{size} bytes", f"at most {MAX_HISTOGRAM}")
    histogram = root[name]
    edges = np.array(histogram.axis().edges(), float)
    values = np.array(histogram.values(), float)
    if len(values) > MAX_BINS or edges.shape != (len(values) + 1,):
        raise InputError.at(file, f"{name}: bins", len(values), f"at most {MAX_BINS}, with edges")
    return edges, values
