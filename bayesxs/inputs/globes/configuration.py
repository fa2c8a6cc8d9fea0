"""A detector in reconstructed energy, as GLoBES describes one: tables, channels and their sums.

A channel counts, in bins i of reconstructed energy and with sums over bins j of true energy,

    N_i = post_i sum_j smr_ij pre_j flux(E_j) sigma(E_j) P(E_j) dE_j exposure
    exposure = norm power years mass / length^2

(GLoBES manual 3.2, section 11; flux and cross section at the centers of the true bins). A sample is
a sum of channels: GLoBES's rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike

from bayesxs.errors import InputError
from bayesxs.inputs.flux import NEUTRINOS, Flux
from bayesxs.types import Floats as Float

Flavor = Literal["e", "mu", "tau"]

PDG: Final[dict[str, int]] = {"e": 12, "mu": 14, "tau": 16}
MAX_BINS: Final = 2000
MAX_CHANNELS: Final = 500


@dataclass(frozen=True, eq=False)
class Beam:
    """A flux and what multiplies it.

    Attributes:
        flux: at a distance that `norm` knows; in DUNE's files per m^2 and proton on target, at the
            far detector.
        norm: factor of the file.
        power: such as 1e20 protons on target a year.
        years: of data taking.
    """

    flux: Flux
    norm: float
    power: float
    years: float


@dataclass(frozen=True, eq=False)
class CrossSections:
    """Cross sections of six neutrinos, over their energy.

    Attributes:
        log_energy: log10(E/GeV), (n,), increasing.
        values: sigma/E in 1e-38 cm^2/GeV, (n, 6), columns in the order of NEUTRINOS.
        source: named in messages.
    """

    log_energy: Float
    values: Float
    source: str

    def __call__(self, pdg: int, energy: ArrayLike) -> Float:
        """Return sigma in 1e-38 cm^2: sigma/E is linear in log E, and zero outside of the table.

        Args:
            pdg: PDG id of the neutrino, one of NEUTRINOS.
            energy: GeV, > 0, any shape.
        """
        energy = np.asarray(energy, float)
        column = self.values[:, NEUTRINOS.index(pdg)]
        found = np.interp(np.log10(energy), self.log_energy, column, left=0.0, right=0.0)
        return found * energy


def make_cross_sections(log_energy: ArrayLike, values: ArrayLike, source: str) -> CrossSections:
    """Check a table of cross sections and return it.

    Raises:
        InputError: unless all is finite, sigma/E is >= 0 and the energies increase, from one row
            to the next and within 1e-6 to 1e6 GeV.
    """
    log_energy, values = np.array(log_energy, float), np.array(values, float)
    if len(log_energy) < 2 or values.shape != (len(log_energy), len(NEUTRINOS)):
        allowed = "two rows or more of log10(E/GeV) and six cross sections"
        raise InputError.at(source, "shape", values.shape, allowed)
    for row in np.flatnonzero(~(np.abs(log_energy) <= 6.0))[:1]:
        allowed = "log10(E/GeV) from -6 to 6"
        raise InputError.at(source, f"row {row + 1}: log10(E)", log_energy[row], allowed)
    for row in np.flatnonzero(np.diff(log_energy) <= 0.0)[:1]:
        allowed = f"above the previous {log_energy[row]}"
        raise InputError.at(source, f"row {row + 2}: log10(E)", log_energy[row + 1], allowed)
    for row, column in np.argwhere(~((values >= 0.0) & (values < 1e6)))[:1]:
        key = f"row {row + 1}: column {column + 2}"
        raise InputError.at(source, key, values[row, column], "sigma/E is finite and >= 0")
    return CrossSections(log_energy, values, source)


@dataclass(frozen=True, eq=False)
class Channel:
    """One kind of event in one sample.

    Attributes:
        name: of the channel.
        sample: name of the sample that it adds to.
        signal: whether GLoBES calls it signal, rather than background.
        beam: key of `Configuration.beams`.
        antineutrino: whether of antineutrinos.
        flavor_in: flavor that leaves the source: "e", "mu" or "tau".
        flavor_out: flavor that interacts.
        oscillates: False where P = 1, as for neutral currents.
        cross_section: key of `Configuration.cross_sections`.
        matrix: key of `Configuration.matrices`.
        post: efficiency of each reconstructed bin.
        pre: efficiency of each true bin.
        weight: factor with which it is added.
        errors: keys of `Configuration.errors`: its normalisation is 1 + sum of sd x pull.
    """

    name: str
    sample: str
    signal: bool
    beam: str
    antineutrino: bool
    flavor_in: Flavor
    flavor_out: Flavor
    oscillates: bool
    cross_section: str
    matrix: str
    post: Float
    pre: Float
    weight: float = 1.0
    errors: tuple[str, ...] = ()

    @property
    def pdg_in(self) -> int:
        """PDG id of the neutrino that leaves the source."""
        return -PDG[self.flavor_in] if self.antineutrino else PDG[self.flavor_in]

    @property
    def pdg_out(self) -> int:
        """PDG id of the neutrino that interacts."""
        return -PDG[self.flavor_out] if self.antineutrino else PDG[self.flavor_out]


@dataclass(frozen=True, eq=False)
class Configuration:
    """All that gives the expected counts of a detector, but the oscillation parameters.

    Attributes:
        source: named in messages.
        reconstructed: edges of the bins of reconstructed energy, GeV.
        true: edges of the bins of true energy, GeV.
        length: km.
        density: g/cm^3.
        mass: kt.
        beams: by name.
        cross_sections: by name.
        matrices: by name; smr_ij, the part of the events of true bin j that is reconstructed in
            bin i, (reconstructed, true).
        channels: in the order of their samples.
        errors: standard deviation of each normalisation.
        windows: lower and upper end of what is analysed of each sample, GeV.

    Raises:
        InputError: a name that is not there, a table of another size, a number out of its range.
    """

    source: str
    reconstructed: Float
    true: Float
    length: float
    density: float
    mass: float
    beams: Mapping[str, Beam]
    cross_sections: Mapping[str, CrossSections]
    matrices: Mapping[str, Float]
    channels: tuple[Channel, ...]
    errors: Mapping[str, float]
    windows: Mapping[str, tuple[float, float]]

    def __post_init__(self) -> None:
        """Check what belongs together."""
        for key, edges in (("reconstructed", self.reconstructed), ("true", self.true)):
            _check_edges(self.source, f"{key} bins", edges)
        for key, value in (("length", self.length), ("mass", self.mass)):
            if not 0.0 < value < 1e9:
                raise InputError.at(self.source, key, value, "above 0")
        if not 0.0 <= self.density < 100.0:
            raise InputError.at(self.source, "density", self.density, "0 or above, in g/cm^3")
        for name, beam in self.beams.items():
            for key in ("norm", "power", "years"):
                if not 0.0 <= getattr(beam, key) < 1e100:
                    where = f"flux {name}: {key}"
                    raise InputError.at(self.source, where, getattr(beam, key), "0 or above")
        for name, matrix in self.matrices.items():
            self._check_matrix(name, matrix)
        for name, sd in self.errors.items():
            if not 0.0 <= sd <= 10.0:
                raise InputError.at(self.source, f"error {name}", sd, "from 0 to 10")
        if not 1 <= len(self.channels) <= MAX_CHANNELS:
            raise InputError.at(
                self.source, "channels", len(self.channels), f"from 1 to {MAX_CHANNELS}"
            )
        for channel in self.channels:
            self._check_channel(channel)

    @property
    def samples(self) -> tuple[str, ...]:
        """Names of the samples."""
        return tuple(dict.fromkeys(channel.sample for channel in self.channels))

    def exposure(self, beam: str) -> float:
        """Return the factor of flux times cross section for a beam."""
        held = self.beams[beam]
        return held.norm * held.power * held.years * self.mass / self.length**2

    def _check_matrix(self, name: str, matrix: Float) -> None:
        wanted = (len(self.reconstructed) - 1, len(self.true) - 1)
        if matrix.shape != wanted:
            allowed = f"{wanted[0]} reconstructed bins by {wanted[1]} true bins"
            raise InputError.at(self.source, f"energy {name}: shape", matrix.shape, allowed)
        for row, column in np.argwhere(~((matrix >= 0.0) & (matrix <= 1.0)))[:1]:
            key = f"energy {name}: row {row}, true bin {column}"
            raise InputError.at(self.source, key, matrix[row, column], "a part, from 0 to 1")

    def _check_channel(self, channel: Channel) -> None:
        where = f"channel {channel.name}"
        named = (
            ("flux", (channel.beam,), self.beams),
            ("cross section", (channel.cross_section,), self.cross_sections),
            ("energy", (channel.matrix,), self.matrices),
            ("error", channel.errors, self.errors),
            ("window", (channel.sample,), self.windows),
        )
        for key, names, held in named:
            for name in names:
                if name not in held:
                    allowed = f"one of {', '.join(held) or '(none)'}"
                    raise InputError.at(self.source, f"{where}: {key}", name, allowed)
        if not 0.0 <= channel.weight < 1e6:
            raise InputError.at(self.source, f"{where}: weight", channel.weight, "0 or above")
        for key, efficiency, edges in (
            ("post_smearing_efficiencies", channel.post, self.reconstructed),
            ("pre_smearing_efficiencies", channel.pre, self.true),
        ):
            if efficiency.shape != (len(edges) - 1,):
                allowed = f"{len(edges) - 1}, one for each bin"
                raise InputError.at(self.source, f"{where}: {key}", len(efficiency), allowed)
            for i in np.flatnonzero(~((efficiency >= 0.0) & (efficiency <= 1.0)))[:1]:
                allowed = "an efficiency, from 0 to 1"
                raise InputError.at(self.source, f"{where}: {key}, bin {i}", efficiency[i], allowed)


def _check_edges(source: str, key: str, edges: Float) -> None:
    if not 2 <= len(edges) <= MAX_BINS + 1:
        raise InputError.at(source, key, len(edges) - 1, f"from 1 to {MAX_BINS}")
    increasing = bool(np.all(np.diff(edges) > 0.0))
    if not (np.all(np.isfinite(edges)) and edges[0] >= 0.0 and increasing):
        shown = f"{edges[0]:g}, {edges[1]:g}, ..., {edges[-1]:g}"
        raise InputError.at(source, key, shown, "edges in GeV that increase from 0 or above")
