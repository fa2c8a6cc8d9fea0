"""The near detector of one target: what it observes, and the spectrum to compare that with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, cast

import jax
import numpy as np
from scipy import sparse

from bayesxs.detector.counting import Axis, CountedBins, CountedSpectrum
from bayesxs.detector.reco import EVEN, RecoGrid, blended_edges
from bayesxs.detector.smearing import smear_events
from bayesxs.detector.spectrum import Spectrum
from bayesxs.errors import InputError
from bayesxs.experiment.experiment import Experiment
from bayesxs.experiment.geometry import Geometry
from bayesxs.experiment.leptons import EDGE, Leptons
from bayesxs.inputs.counts import CountTable, has_edges, has_events, load_counts, load_table
from bayesxs.inputs.events import load_events
from bayesxs.keys import generator
from bayesxs.physics.kinematics import is_physical, z_from_cosine
from bayesxs.types import Floats as Float


@dataclass(frozen=True)
class NearSource:
    """Where the near-detector data of a target come from.

    Attributes:
        events: expected number, which fluctuates; infinite for the expected density.
        key: of the fluctuation.
        path: CSV file of counts, or of events one by one, in place of simulated ones.
        impossible: what becomes of counts in bins that no neutrino fills.
        source: what messages call the source.
        prefix: of the names that messages give to these fields.
        table: counts in arrays in place of a file.
        leptons: events one by one in their place, of which the package makes fine bins; with a
            key, a detector's resolution acts on them.
        draw: draws such events, in place of counts that fluctuate bin by bin.
        fluctuates: whether a finite number of events does; else counts are the expected ones.
    """

    events: float = np.inf
    key: jax.Array | None = None
    path: Path | None = None
    impossible: Literal["refuse", "drop"] = "refuse"
    source: str = "near data"
    prefix: str = ""
    table: CountTable | None = None
    leptons: Leptons | None = None
    draw: Callable[[], Leptons] | None = None
    fluctuates: bool = True

    @property
    def counted(self) -> bool:
        """Whether data are counts of so many events, and not the expected density."""
        return self.measured or bool(np.isfinite(self.events))

    @property
    def measured(self) -> bool:
        """Whether counts are given, not simulated."""
        return any(given is not None for given in (self.path, self.table, self.leptons))


class NearDetector:
    """Observed near-detector data of one target, and what a cross section predicts for them.

    Counts are compared with integrals over their bins. The expected density (near.events infinite)
    is compared with the density at the bins' centers. With a response, both are reconstructed.
    """

    def __init__(self, source: NearSource, geometry: Geometry) -> None:
        """Hold what is needed; files are read when first asked for."""
        self.geometry = geometry
        self.source = source

    @cached_property
    def table(self) -> CountTable | None:
        """Counts in bins of their own: from a file, from arrays, or of events one by one."""
        path, table = self.source.path, self.source.table
        if self.leptons is not None:
            made_here = self.geometry.response is not None
            return None if made_here else self._fine_table(self.possible_leptons)
        if table is None and (path is None or not has_edges(path)):
            return None
        if table is None:
            assert path is not None
            table = load_table(path)
        if self.geometry.response is not None and table.axis == "z":
            allowed = "cos_theta or angle_rad, for reconstructed bins (response)"
            raise InputError.at(self._called, "columns", "z_low,z_high", allowed)
        return table

    @cached_property
    def leptons(self) -> Leptons | None:
        """Events one by one, if there are such, of which fine bins are made."""
        path, detector = self.source.path, self.geometry.response
        if self.source.draw is not None:
            return self.source.draw()
        if self.source.leptons is not None or path is None or not has_events(path):
            return self.source.leptons
        energy, cosine, _ = load_events(
            path, [self.geometry.lepton_mass], reconstructed=detector is not None
        )
        return Leptons(energy, cosine, np.ones(len(energy)))

    @cached_property
    def possible_leptons(self) -> Leptons:
        """Those of the events one by one, as they were made, that some neutrino makes.

        Raises:
            InputError: there are others, which are not to be dropped.
        """
        assert self.leptons is not None
        geometry, source = self.geometry, self.source
        mass, highest = geometry.lepton_mass, float(geometry.energies.edges[-1])
        energy, cosine = self.leptons.lepton_energy, np.clip(self.leptons.cos_theta, -EDGE, EDGE)
        z = z_from_cosine(energy, cosine, mass)
        good = np.asarray(is_physical(highest, energy, z, mass, geometry.space))
        if not good.all() and source.impossible == "refuse" and source.draw is None:
            first, more = int(np.argmin(good)), int(np.count_nonzero(~good)) - 1
            where, value = f"event {first}: {energy[first]:g} GeV, cos_theta", f"{cosine[first]:g}"
            raise self._refusal(where, value, f" (and {more} more)" if more else "")
        return self.leptons._replace(cos_theta=cosine).part(good)

    def _refusal(self, where: str, value: str, more: str = "") -> InputError:
        """Return the error of what no neutrino makes."""
        mend = f'{self.source.prefix}impossible = "drop" leaves it out'
        x = self.geometry.space.x_max
        allowed = f"no neutrino of the beam makes such a lepton with x < {x:g}; {mend}{more}"
        return InputError.at(self._called, where, value, allowed)

    def _fine_table(self, leptons: Leptons) -> CountTable:
        """Count events in bins that are finer where more of them are.

        Weighted events count effectively: sums of weights, scaled to (sum w)^2/sum w^2 in all.
        """
        g, weight = self.geometry, leptons.weight
        energy = leptons.lepton_energy
        z = z_from_cosine(energy, leptons.cos_theta, g.lepton_mass)

        def edges(values: Float, even: Float) -> Float:
            low, high = float(even[0]), float(even[-1])
            return blended_edges(values, weight, len(even) - 1, low, high, EVEN)

        along_energy, along_z = edges(energy, g.bins.energy_edges), edges(z, g.bins.z_edges)
        bins = CountedBins.of_edges(along_energy, along_z, "z")
        counts, *_ = np.histogram2d(energy, z, (along_energy, along_z), weights=weight)
        return CountTable(bins.energy, bins.second, "z", leptons.scale * counts.ravel())

    def _reconstructed_counts(self, leptons: Leptons) -> Float:
        """Count events in the reconstructed bins of the analysis."""
        g, weight = self.geometry, leptons.weight
        energy, angle = leptons.lepton_energy, np.arccos(leptons.cos_theta)
        if self.source.leptons is not None and self.source.key is not None:  # as a generator's
            assert g.response is not None
            parameters, acceptance = g.response.parameters, g.response.acceptance
            seen = smear_events(
                self.source.key, energy, angle, parameters, acceptance, g.lepton_mass
            )
            energy, angle, weight = seen[0][seen[2]], seen[1][seen[2]], weight[seen[2]]
        place = g.grid.index(energy, angle)
        counts = np.bincount(place[place >= 0], weight[place >= 0], g.grid.size)
        return leptons.scale * counts

    @cached_property
    def bins(self) -> CountedBins:
        """The bins, in the order of the data."""
        if self.table is not None:
            return CountedBins(self.table.energy, self.table.second, cast(Axis, self.table.axis))
        energy, second = self.geometry.seen_axes.items()
        return CountedBins.of_edges(energy[1], second[1], cast(Axis, second[0]))

    @cached_property
    def _reconstructed(self) -> tuple[RecoGrid | None, sparse.csr_array | None]:
        """Grid that all edges of a file's bins span, and what sums it to the bins."""
        if self.table is None or self.geometry.response is None:
            return None, None
        return grid_of_bins(self.bins)

    @property
    def grid(self) -> RecoGrid | None:
        """Reconstructed bins that are summed to those of a file; None for the geometry's own."""
        return self._reconstructed[0]

    def summed(self, rows: Float) -> Float:
        """Sum reconstructed bins to those of a file, along the last but one axis."""
        matrix = self._reconstructed[1]
        if matrix is None:
            return rows
        return np.stack([matrix @ part for part in rows])

    @cached_property
    def spectrum(self) -> Spectrum | CountedSpectrum:
        """The map from a cross section to the bins."""
        g = self.geometry
        if g.response is None and self.source.counted:
            return CountedSpectrum(self.bins, g.energies, g.nodes, g.lepton_mass, space=g.space)
        grid, summed = self._reconstructed
        if g.response is not None and grid is not None:
            return g.response.spectrum_in(grid, summed)
        return g.seen

    @cached_property
    def matrix(self) -> sparse.csr_array:
        """The bins from values on the nodes, shape (bins, 3 n_nodes)."""
        return self.spectrum.matrix(self.geometry.target.near_flux)

    @property
    def events(self) -> float:
        """Number of events; infinite for the expected density."""
        return float(self.observed.sum()) if self.source.measured else self.source.events

    @property
    def observed(self) -> Float:
        """Observations in the bins: counts, or the expected density where events are infinite.

        Counts come from a file, or are drawn from Poisson distributions.

        Raises:
            InputError: the file is at fault, or holds what no neutrino can make.
        """
        return self._observed_and_dropped[0]

    @property
    def dropped(self) -> int:
        """Events that no neutrino of the beam makes, or in bins that none fills, left out."""
        return self._observed_and_dropped[1]

    @cached_property
    def _observed_and_dropped(self) -> tuple[Float, int]:
        if self.source.measured or self.source.draw is not None:
            return self._measured()
        expected, events = self._truth @ self.geometry.target.near_flux, self.source.events
        if not np.isfinite(events):
            return expected, 0
        if not self.source.fluctuates:
            return events * expected / expected.sum(), 0
        if self.source.key is None:
            raise InputError.at(self.source.source, "key", None, "counts that fluctuate need one")
        rng = generator(self.source.key)
        return rng.poisson(events * expected / expected.sum()).astype(float), 0

    @property
    def _truth(self) -> Float:
        """The true cross section in the bins, shape (bins, E)."""
        if isinstance(self.spectrum, CountedSpectrum):
            return self.spectrum.of_function(self.geometry.true_functions).rows
        return self.geometry.seen_truth.rows

    @property
    def _called(self) -> object:
        """Name of the counts in messages."""
        return self.source.source if self.source.path is None else self.source.path

    def _measured(self) -> tuple[Float, int]:
        table, path = self.table, self._called
        if table is None and self.leptons is not None:
            counts = self._reconstructed_counts(self.leptons)
        elif table is None:
            assert self.source.path is not None
            counts = load_counts(self.source.path, self.geometry.seen_axes)
        else:
            counts = table.counts
        if self.source.measured and self.source.events not in (np.inf, int(counts.sum())):
            allowed = f"{path} holds {counts.sum():.0f} events; leave the key out"
            raise InputError.at(
                self.source.source, f"{self.source.prefix}events", int(self.source.events), allowed
            )
        filled = np.asarray(abs(self.matrix).sum(axis=1)).ravel() > 0.0
        impossible = (counts > 0.0) & ~filled
        if impossible.any() and self.source.impossible == "refuse":
            first = int(np.argmax(impossible))
            (low, high), second = self.bins.energy[first], self.bins.second[first]
            where = f"bin {low:g} to {high:g} GeV, {self.bins.axis} {second[0]:g} to {second[1]:g}"
            raise self._refusal(where, f"{counts[first]:.0f}")
        dropped = int(counts[impossible].sum())
        if self.leptons is not None and self.geometry.response is None:
            dropped += len(self.leptons.weight) - len(self.possible_leptons.weight)
        return np.where(impossible, 0.0, counts), dropped


@dataclass(frozen=True, eq=False)
class NearData:
    """Near-detector data of every target of an experiment; made once, when first asked for.

    Attributes:
        experiment: whose near detector it is.
        sources: where the data of each target come from, by its name.
        samples: targets whose data networks are fitted to; empty for all. The others are
            predicted, by networks that leptons share.

    Raises:
        InputError: a sample that is no target.
    """

    experiment: Experiment
    sources: Mapping[str, NearSource]
    samples: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the names of samples."""
        if not set(self.samples) <= set(self.sources):
            raise self.at_fault(f"among {', '.join(self.sources)}")

    def at_fault(self, allowed: str) -> InputError:
        """Return the error of a choice of samples, with what is allowed."""
        first = next(iter(self.sources.values()))
        given = ", ".join(self.samples)
        return InputError.at(first.source, f"{first.prefix}samples", given, allowed)

    def require_all_samples(self) -> None:
        """Refuse a choice of samples where networks are not shared.

        Raises:
            InputError: there is one.
        """
        if set(self.fitted) != set(self.sources):
            raise self.at_fault("all, where leptons do not share networks")

    @property
    def fitted(self) -> tuple[str, ...]:
        """Targets whose data networks are fitted to."""
        return self.samples or tuple(self.sources)

    @cached_property
    def detectors(self) -> Mapping[str, NearDetector]:
        """The detector of each target, by name."""
        e = self.experiment
        return {t.name: NearDetector(self.sources[t.name], e.geometry(t)) for t in e.unique_targets}

    @property
    def counted(self) -> bool:
        """Whether data are counts, which fluctuate, and not the expected density."""
        return any(source.counted for source in self.sources.values())

    def expected(self) -> NearData:
        """Return the expected counts of as many events, without fluctuations."""
        sources = {name: replace(own, fluctuates=False) for name, own in self.sources.items()}
        return replace(self, sources=sources)

    @property
    def files(self) -> tuple[Path, ...]:
        """Files of counts."""
        return tuple(s.path for s in self.sources.values() if s.path is not None)


def grid_of_bins(bins: CountedBins) -> tuple[RecoGrid, sparse.csr_array]:
    """Return the reconstructed bins that all edges span, and what sums them, (bins, grid).

    One more bin collects what lies above the largest energy.

    Args:
        bins: in cos(theta) or angle.
    """
    angles = bins.second
    if bins.axis == "cos_theta":
        angles = np.arccos(bins.second[:, ::-1])
    energy = np.unique(np.round(bins.energy, 9))
    theta = np.unique(np.round(angles, 9))
    theta = theta[(theta > 1e-8) & (theta < np.pi - 1e-8)]
    grid = RecoGrid(np.append(energy, 2.0 * energy[-1]), np.array([0.0, *theta, np.pi]))
    rows, columns = [], []
    for number, (own_e, own_a) in enumerate(zip(bins.energy, angles, strict=True)):
        inside_e = (grid.energy_centers > own_e[0]) & (grid.energy_centers < own_e[1])
        inside_a = (grid.angle_centers > own_a[0]) & (grid.angle_centers < own_a[1])
        inside_e[-1] = False
        found = np.flatnonzero(np.outer(inside_e, inside_a).ravel())
        rows.append(np.full(len(found), number))
        columns.append(found)
    row, column = np.concatenate(rows), np.concatenate(columns)
    return grid, sparse.csr_array((np.ones(len(row)), (row, column)), (bins.size, grid.size))
