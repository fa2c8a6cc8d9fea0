"""Cross sections of leptons that share five functions: common modes, and their ratios."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from bayesxs.detector.grid import NodeGrid
from bayesxs.errors import InputError
from bayesxs.experiment.cross_section import LearnedCrossSection, LearnedTarget
from bayesxs.experiment.experiment import Experiment
from bayesxs.experiment.learn import in_beam
from bayesxs.experiment.near import NearData
from bayesxs.experiment.uncertainty import (
    GaussianProcess,
    NearFit,
    Uncertainty,
    far_directions,
    linear_data,
    near_directions,
    near_rate,
    negative_mass,
)
from bayesxs.experiment.weights import lepton_of
from bayesxs.learning.five_functions import (
    NearSample,
    Tensors,
    fit_tensors,
    on_stack,
    seen_by,
    shape_only,
)
from bayesxs.learning.heads import Lepton
from bayesxs.learning.linear_model import LinearData, select_modes
from bayesxs.learning.network import Average
from bayesxs.types import Floats as Float

type Bar = Callable[[str], AbstractContextManager[Callable[..., None]]]

FAMILIES = {1: "neutrinos", -1: "antineutrinos"}


def learned_cross_section(
    near: NearData,
    networks: Mapping[str, Average],
    uncertainty: Uncertainty,
    bar: Bar | None = None,
    *,
    shared: bool = False,
) -> LearnedCrossSection:
    """Return mean and modes of every target's cross section.

    Args:
        near: data that it is learned from.
        networks: fitted to them, by target.
        uncertainty: source of the modes.
        bar: makes a progress bar of a target.
        shared: whether leptons share five functions, and so modes where the source is a Gaussian
            process.
    """
    return learned_cross_sections((near,), networks, uncertainty, bar, shared=shared)[0]


def learned_cross_sections(
    near: Sequence[NearData],
    networks: Mapping[str, Average],
    uncertainty: Uncertainty,
    bar: Bar | None = None,
    *,
    shared: bool = False,
    rates: bool = False,
) -> tuple[LearnedCrossSection, ...]:
    """Return the same of the near data of several beams, whose networks have names of `in_beam`.

    Shared modes are common to all of them. With `rates` modes are those of far counts, near rates
    being known, and not of the shapes of far spectra alone.

    Raises:
        InputError: shared modes of several beams with an uncertain flux, or in a joint model.
    """
    several = len(near) > 1
    together = shared and isinstance(uncertainty, GaussianProcess)
    if several and together and any(len(own.experiment.flux_modes) for own in near):
        allowed = "none where cross sections of several beams have modes in common"
        raise InputError.at("learn_together", "flux_uncertainty", "given", allowed)
    places = {
        in_beam(name, beam, several): (beam, name)
        for beam, own in enumerate(near)
        for name in own.detectors
    }
    targets: dict[str, LearnedTarget] = {}
    ratios: list[dict[str, xr.Dataset]] = [{} for _ in near]
    for names in _families(places, together):
        with nullcontext(_silent) if bar is None else bar("; ".join(names)) as update:
            fits, fitted = {}, []
            for name in names:
                beam, target = places[name]
                own = near[beam]
                detector = own.detectors[target]
                fits[name] = NearFit(own.experiment, detector, networks[name], update, rates)
                fitted += [name] if target in own.fitted else []
            if len(names) > 1 and isinstance(uncertainty, GaussianProcess):
                if uncertainty.joint:
                    allowed = "False where leptons share their uncertainty (share)"
                    raise InputError.at("learn", "uncertainty.joint", True, allowed)
                joint = Together(fits, tuple(fitted), uncertainty)
                targets |= joint.targets()
                for beam, found in enumerate(ratios):
                    found |= joint.ratios([n for n in names if places[n][0] == beam])
            else:
                targets |= {n: uncertainty.learned(fit) for n, fit in fits.items()}
    return tuple(
        LearnedCrossSection(
            {t: targets[in_beam(t, beam, several)] for t in own.detectors},
            own.experiment.flux_modes,
            own.experiment.energies.points,
            uncertainty.type,
            {t: networks[in_beam(t, beam, several)] for t in own.detectors},
            ratios[beam],
        )
        for beam, own in enumerate(near)
    )


def _families(places: Mapping[str, tuple[int, str]], shared: bool) -> list[list[str]]:
    """Return which targets are learned at once, by their names among those of all beams."""
    if not shared:
        return [[name] for name in places]
    signs = {name: lepton_of(target).sign for name, (_, target) in places.items()}
    found = [[n for n, own in signs.items() if own == sign] for sign in FAMILIES]
    return [names for names in found if names]


def _silent(*_: object) -> None:
    pass


class _Seen(NamedTuple):
    """What a lepton sees of the five functions on all nodes."""

    place: int
    matrix: Array  # of its own nodes, shape (n, 3, 5)
    rate: float  # of the mean in its near data, that of the first sample being one


@dataclass(frozen=True)
class _Data:
    """Near data of a target, as linear ones of node values of unit rate."""

    linear: LinearData
    changes: Float  # of y per unit of flux nuisances and shared response, shape (r, k)


class Together:
    """The joint posterior of several leptons' cross sections.

    Attributes:
        names: of the targets, first those with near data, of these first the one with most events.
        fitted: those with near data.
        tensors: the posterior of the five functions.
    """

    def __init__(
        self, fits: Mapping[str, NearFit], fitted: tuple[str, ...], process: GaussianProcess
    ) -> None:
        """Condition the process on the near data of all fitted targets."""
        self._process = process
        self.fitted = tuple(sorted(fitted, key=lambda n: -fits[n].near.events))
        self.names = (*self.fitted, *(n for n in fits if n not in fitted))
        self.fits = {name: fits[name] for name in self.names}
        self.grids: list[NodeGrid] = []
        self._places = {name: self._place(fit.nodes) for name, fit in self.fits.items()}
        data = [self._data(name) for name in self.fitted]
        self._changes = np.concatenate([own.changes for own in data])
        samples = [
            NearSample(
                self._places[name],
                self._lepton(name),
                own.linear,
                jnp.asarray(np.asarray(self.fits[name].near.matrix.sum(axis=0)).ravel()),
            )
            for name, own in zip(self.fitted, data, strict=True)
        ]
        update = next(iter(fits.values())).update
        self.tensors: Tensors = fit_tensors(
            samples, self.grids, process.kernel, process.divergence, record=update
        )
        self._seen = {name: self._see(name) for name in self.names}

    def _place(self, nodes: NodeGrid) -> int:
        """Return the place of nodes among all; the same for those of another beam."""
        for place, own in enumerate(self.grids):
            if np.array_equal(own.u, nodes.u) and np.array_equal(own.v, nodes.v):
                return place
        self.grids.append(nodes)
        return len(self.grids) - 1

    def _lepton(self, name: str) -> Lepton:
        return lepton_of(self.fits[name].target.name)

    def _data(self, name: str) -> _Data:
        fit = self.fits[name]
        mean = np.mean(fit.values, axis=0)
        directions = near_directions(fit.experiment, fit.near, mean)
        linear = linear_data(fit, mean, directions, self._process.discretization)
        seen = linear if name == self.fitted[0] else shape_only(linear)
        return _Data(linear, seen.whiten @ directions)

    def _see(self, name: str) -> _Seen:
        place = self._places[name]
        matrix = seen_by(self.grids[place], self._lepton(name))
        own = _Seen(place, matrix, 1.0)
        near = self.fits[name].near.matrix
        rate = float((near @ self._values(self.tensors.mean[:, None], own)[0].ravel()).sum())
        return own._replace(rate=rate)

    def _values(self, columns: Array, own: _Seen) -> Float:
        """Return what a lepton sees of stacked five functions, of unit rate, shape (k, n, 3)."""
        before = sum(5 * grid.size for grid in self.grids[: own.place])
        part = columns[before : before + 5 * len(own.matrix)].reshape(len(own.matrix), 5, -1)
        return np.asarray(jnp.einsum("nij,njk->kni", own.matrix, part)) / own.rate

    def _functionals(self, rows: Float, own: _Seen) -> Array:
        """Turn functionals of node values of unit rate to ones of the stacked five functions."""
        return on_stack(jnp.asarray(rows), own.matrix, own.place, self.grids) / own.rate

    def targets(self) -> dict[str, LearnedTarget]:
        """Return mean and common modes of every target.

        First come the directions that matter to the far data of the first target. Those that
        matter to another, these known, follow: they leave the first one's as they are. Where far
        data are counts, those of all muons are first, and those of all electrons follow.
        """
        posterior, process = self.tensors.posterior, self._process
        modes = np.zeros((len(self.tensors.mean), 0))
        counts, sizes = [], {}
        central = self.tensors.mean[:, None]
        means = {name: self._values(central, own)[0] for name, own in self._seen.items()}
        far = {name: self._far(name, mean) for name, mean in means.items()}
        for group in self._groups:
            rows = np.concatenate([far[name] for name in group])
            cross = np.asarray(posterior.covariance(jnp.asarray(rows.T)))
            for name, part in zip(group, _columns(cross, far, group), strict=True):
                sizes[name] = select_modes(part, far[name]).sizes
            left = cross - modes @ (modes.T @ rows.T)
            total = sum(np.sum(sizes[name] ** 2) for name in group)
            share = 1.0 - (1.0 - process.share) * total / max(np.trace(rows @ left), 1e-300)
            found = np.zeros((0, len(left)))
            if share > 0.0:
                found = select_modes(left, rows, share, process.modes).modes
            modes = np.column_stack([modes, found.T])
            counts.append(len(found))
        first = counts[0]
        followed = -posterior.regress(jnp.asarray(self._changes))
        count = len(self.fits[self.names[0]].experiment.flux_modes)
        sign = self._lepton(self.names[0]).sign
        out = {}
        for name, fit in self.fits.items():
            own = self._seen[name]
            values = self._values(jnp.asarray(modes), own)
            kept = np.sum((far[name] @ modes) ** 2) / max(np.sum(sizes[name] ** 2), 1e-300)
            follows = self._values(followed, own)
            out[name] = LearnedTarget(
                fit.nodes,
                means[name],
                values,
                follows[:count],
                follows[count:],
                sizes[name],
                f"{self._words}; {100.0 * kept:.2f} % of the far variance kept",
                float(kept),
                negative_mass(fit.near.geometry, means[name], values.reshape(len(values), -1)),
                posterior.effective_parameters,
                FAMILIES[sign],
                modes.shape[1] - first,
                own.rate,
                rates=("near" if name in self.fitted else "family") if fit.rates else "",
            )
        return out

    @property
    def _groups(self) -> list[list[str]]:
        """Targets whose modes are chosen together, by their names."""
        if not any(fit.rates for fit in self.fits.values()):
            return [[name] for name in self.names]
        muons = [n for n, fit in self.fits.items() if fit.target.sample.flavor_out == "mu"]
        return [group for group in (muons, [n for n in self.names if n not in muons]) if group]

    def _far(self, name: str, mean: Float) -> Float:
        """Return what far data see of the stacked five functions, as `far_directions`."""
        own, fit = self._seen[name], self.fits[name]
        rate = None
        if fit.rates:
            known = near_rate(fit.near.geometry)
            rate = known if name in self.fitted else np.zeros_like(known)
        rows = far_directions(fit.experiment, fit.target, mean, rate)
        return np.asarray(self._functionals(rows, own))

    @property
    def _words(self) -> str:
        seen = "; ".join(self.fitted)
        return (
            f"Gaussian process of five functions, near data of {seen}: {self.tensors.scales.words}"
        )

    def ratios(self, names: Sequence[str]) -> dict[str, xr.Dataset]:
        """Return the total cross sections of targets over that of the first of them.

        Names of ratios are such as "e_over_mu"; the standard deviation is that of the whole
        posterior.

        Args:
            names: of targets of one beam.
        """
        ordered = sorted(names, key=self.names.index)
        if len(ordered) < 2:
            return {}
        first, *others = ordered
        below, low = self._totals(first)
        energies = self.fits[first].experiment.energies.points
        out = {}
        for name in others:
            above, high = self._totals(name)
            kept = (below > 0.0) & (above > 0.0)
            value = above[kept] / below[kept]
            rows = high[kept] / above[kept, None] - low[kept] / below[kept, None]
            relative = jnp.sum(rows.T * self.tensors.posterior.covariance(rows.T), axis=0)
            top, bottom = (self.fits[n].target.name for n in (name, first))
            out[f"{top}_over_{bottom}"] = xr.Dataset(
                {
                    "ratio": ("energy", value),
                    "sd": ("energy", value * np.sqrt(np.maximum(relative, 0.0))),
                },
                {"energy": energies[kept]},
                {"numerator": top, "denominator": bottom, "near_data": "; ".join(self.fitted)},
            )
        return out

    def _totals(self, name: str) -> tuple[Float, Array]:
        """Return a total cross section at the shared energies, and its functionals, (E, 5 n)."""
        fit, own = self.fits[name], self._seen[name]
        operator = fit.near.geometry.total_operator
        matrix = operator.near_matrix(np.ones(operator.n_rows)).toarray()
        rows = own.rate * self._functionals(matrix, own)
        return np.asarray(rows @ self.tensors.mean), rows


def _columns(cross: Float, far: Mapping[str, Float], group: Sequence[str]) -> list[Float]:
    """Return the columns of each of some targets."""
    return np.split(cross, np.cumsum([len(far[name]) for name in group])[:-1], axis=1)


def with_truth(ratio: xr.Dataset, experiment: Experiment) -> xr.Dataset:
    """Add the true ratio, and the distance from it in standard deviations.

    Args:
        ratio: of `Together.ratios`.
        experiment: whose nature is the truth.
    """
    above, below = (
        experiment.geometries[ratio.attrs[side]].true_total for side in ("numerator", "denominator")
    )
    places = np.searchsorted(experiment.energies.points, ratio["energy"].values - 1e-9)
    truth = above[places] / below[places]
    pull = (ratio["ratio"].values - truth) / ratio["sd"].values
    return ratio.assign(truth=("energy", truth), pull=("energy", pull))
