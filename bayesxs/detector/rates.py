"""Expected counts of samples as a pytree of arrays: what likelihoods and minimisers evaluate.

A sample is a sum of components c. Of a row i, such as a bin, with nuisances eta_k and b_m,

    n_i = sum_c (1 + sum_k w_ck eta_k) sum_j T_cij P_c(E_j) (1 + sum_m f_mj b_m)

where T is any response times flux and cross section, P the probability of the component, or one,
w the errors of its normalisations, and f the modes of the shape of its flux, which each flux has
for itself. The vector of nuisances is eta, then b of the first flux, of the second, and so on, then
those of the energy scale, which move events between the bins of a sample (`energy_scale`), then
those of modes of the cross section, which add to T (`count_modes`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray

from bayesxs.detector.count_modes import CountModes, positive, positive_slopes
from bayesxs.detector.energy_scale import EnergyScale
from bayesxs.physics.joint import probabilities_of_both
from bayesxs.physics.oscillation import Baseline, OscillationParameters
from bayesxs.types import Floats as Float

# Oscillation parameters and density in g/cm^3 of a point in coordinates of any kind
Point = Callable[[Array], tuple[OscillationParameters, ArrayLike]]


class Part(NamedTuple):
    """A component, beside its numbers.

    Attributes:
        sample: its place among the samples.
        fate: flavor that leaves the source, flavor that interacts, whether of antineutrinos; None
            where P = 1.
        flux: its place among the fluxes.
    """

    sample: int
    fate: tuple[str, str, bool] | None
    flux: int = 0


@partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "energy",
        "events",
        "folded",
        "widths",
        "modes",
        "scale",
        "rows",
        "baseline",
        "count_modes",
    ],
    meta_fields=["samples", "parts", "n_modes"],
)
@dataclass(frozen=True)
class Rates:
    """Expected counts of samples, made by `make_rates`; called as asimov's `Expected`.

    Attributes:
        energy: true energies in GeV, (e,).
        events: T, (components, bins, e).
        folded: the same by sample, (bins, components of the sample times e).
        widths: w, (components, k).
        modes: f, (fluxes, m, e).
        scale: how counts follow the energy scale; None where it is known.
        rows: which of all samples' bins are analysed; None for all.
        baseline: of the neutrinos.
        samples: their number.
        parts: of the components.
        count_modes: what modes of the cross section add to each component; None where it is known.
        n_modes: number of these modes.
    """

    energy: Array
    events: Array
    folded: tuple[Array, ...]
    widths: Array
    modes: Array
    scale: EnergyScale | None
    rows: Array | None
    baseline: Baseline
    samples: int
    parts: tuple[Part, ...]
    count_modes: tuple[CountModes | None, ...] = ()
    n_modes: int = 0

    @property
    def nuisances(self) -> int:
        """Number of nuisances."""
        return self._certain + self.n_modes

    @property
    def _certain(self) -> int:
        """Number of nuisances beside those of the cross section."""
        return self._unmoved + (0 if self.scale is None else len(self.scale.shifts))

    @property
    def _scales(self) -> slice:
        return slice(self._unmoved, self._certain)

    @property
    def _unmoved(self) -> int:
        """Number of nuisances of normalisations and fluxes."""
        return self.widths.shape[1] + self.modes.shape[0] * self.modes.shape[1]

    def with_modes(self, modes: Sequence[CountModes | None]) -> Rates:
        """Return counts of an uncertain cross section.

        Args:
            modes: what each component takes from modes of the cross section; None for nothing.
        """
        number = max((own.places.stop for own in modes if own is not None), default=0)
        return replace(self, count_modes=tuple(modes), n_modes=number)

    def __call__(
        self,
        params: OscillationParameters,
        density: ArrayLike | None = None,
        eta: ArrayLike | None = None,
    ) -> Array:
        """Return the expected counts of all analysed bins, one sample after the other.

        Args:
            params: scalars.
            density: of the matter in g/cm^3; that of `baseline` if not given.
            eta: nuisances in standard deviations; zero if not given.
        """
        return self._analysed(self.counts(params, density, eta))

    def counts(
        self,
        params: OscillationParameters,
        density: ArrayLike | None = None,
        eta: ArrayLike | None = None,
    ) -> Array:
        """Return the expected counts of all bins, (samples, bins); takes what a call takes."""
        spectra = self.spectra(params, density)
        if eta is not None:
            scale, shape = self._effects(jnp.asarray(eta))
            spectra = spectra * (scale[:, None] if shape is None else scale[:, None] * shape)
        counts = jnp.stack(
            [t @ spectra[own].ravel() for t, own in zip(self.folded, self._members, strict=True)]
        )
        if eta is not None and self.n_modes:
            counts = positive(counts, self._added(spectra, jnp.asarray(eta)[self._certain :]))
        if eta is None or self.scale is None:
            return counts
        return self.scale.moved(counts, jnp.asarray(eta)[self._scales])

    def by_component(
        self, params: OscillationParameters, density: ArrayLike | None = None
    ) -> Array:
        """Return the expected counts of each component, all bins, (components, bins)."""
        return self._fold(self.spectra(params, density))

    def spectra(self, params: OscillationParameters, density: ArrayLike | None = None) -> Array:
        """Return the probability of each component at the true energies, (components, e)."""
        return self._probabilities(params, density)[self._fates]

    def linearised(self, point: Point, x: Array, eta: Array) -> tuple[Array, Array, Array]:
        """Return the counts of a call, and their slopes in x and eta, (rows, each).

        As `jax.jacfwd` would, in a tenth of the time: what is linear is not derived.

        Args:
            point: parameters and density at x.
            x: coordinates, (d,).
            eta: nuisances, (nuisances,).
        """
        probabilities = self._probabilities(*point(x))
        slopes = jax.jacfwd(lambda x: self._probabilities(*point(x)))(x)
        scale, shape = self._effects(eta)
        spectra = probabilities[self._fates]
        shaped = spectra if shape is None else spectra * shape
        factor = scale[:, None] if shape is None else scale[:, None] * shape
        slopes = jnp.moveaxis(slopes, -1, 0)[:, self._fates] * factor
        parts = self._fold(shaped)
        of_sample = self._one_hot([p.sample for p in self.parts], self.samples)
        in_x = jnp.stack(
            [
                slopes[:, own].reshape(len(x), -1) @ t.T
                for t, own in zip(self.folded, self._members, strict=True)
            ],
            axis=1,
        )
        in_eta = jnp.einsum("sc,ck,cb->ksb", of_sample, self.widths, parts)
        if self.modes.size:
            modes = self.modes[self._fluxes]
            bent = jnp.einsum("cbe,cme->cmb", self.events, spectra[:, None] * modes)
            of_flux = self._one_hot(self._fluxes, len(self.modes))
            in_b = jnp.einsum("sc,fc,cmb->fmsb", of_sample, of_flux, bent * scale[:, None, None])
            in_eta = jnp.concatenate([in_eta, in_b.reshape(-1, *in_b.shape[2:])])
        counts = jnp.asarray(of_sample) @ (parts * scale[:, None])
        if self.n_modes:
            shapes = slopes, shaped, spectra
            added = self._added_linearised(shapes, scale, eta)
            in_both = jnp.concatenate([in_x, in_eta, jnp.zeros((self.n_modes, *counts.shape))])
            counts, in_both = positive_slopes(counts, added[0], in_both, added[1])
            in_x, in_eta = in_both[: len(x)], in_both[len(x) :]
        if self.scale is not None:
            moves, own = self.scale, eta[self._scales]
            in_scale = jax.jacfwd(moves.moved, argnums=1)(counts, own)
            _, following = jax.linearize(lambda counts: moves.moved(counts, own), counts)
            in_x, in_eta = jax.vmap(following)(in_x), jax.vmap(following)(in_eta)
            split = [in_eta[: self._unmoved], jnp.moveaxis(in_scale, -1, 0)]
            in_eta = jnp.concatenate([*split, in_eta[self._unmoved :]])
            counts = moves.moved(counts, own)
        return self._analysed(counts), self._analysed(in_x).T, self._analysed(in_eta).T

    @property
    def _fates(self) -> NDArray[np.int64]:
        """Row of `_probabilities` of each component."""
        pairs = self._pairs
        rows = [
            0 if p.fate is None else 1 + 2 * pairs.index(p.fate[:2]) + int(p.fate[2])
            for p in self.parts
        ]
        return np.array(rows)

    @property
    def _pairs(self) -> tuple[tuple[str, str], ...]:
        return tuple(dict.fromkeys(p.fate[:2] for p in self.parts if p.fate))

    @property
    def _fluxes(self) -> NDArray[np.int64]:
        return np.array([p.flux for p in self.parts])

    @property
    def _members(self) -> list[NDArray[np.int64]]:
        """Components of each sample."""
        return _members(self.parts, self.samples)

    def _one_hot(self, places: Sequence[int] | NDArray[np.int64], size: int) -> Float:
        return np.equal(places, np.arange(size)[:, None]).astype(float)

    def _probabilities(
        self, params: OscillationParameters, density: ArrayLike | None = None
    ) -> Array:
        """Return one, and the probability of each pair of flavors and both signs, (rows, e)."""
        baseline = self.baseline if density is None else self.baseline._replace(density=density)
        found = probabilities_of_both(self._pairs, params, self.energy, baseline)
        return jnp.concatenate([jnp.ones((1, len(self.energy))), *found])

    def _effects(self, eta: Array) -> tuple[Array, Array | None]:
        """Return the factors of the components, (c,), and of their spectra, (c, e)."""
        own = self.widths.shape[1]
        scale = 1.0 + self.widths @ eta[:own]
        if not self.modes.size:
            return scale, None
        bends = eta[own : self._unmoved].reshape(self.modes.shape[:2])
        return scale, (1.0 + jnp.einsum("fm,fme->fe", bends, self.modes))[self._fluxes]

    def _added(self, spectra: Array, xi: Array) -> Array:
        """Return what modes add to spectra of the components (..., c, e), (..., samples, bins)."""
        out = jnp.zeros((*spectra.shape[:-2], self.samples, self.events.shape[1]))
        for c, (part, own) in enumerate(zip(self.parts, self.count_modes, strict=True)):
            if own is not None:
                out = out.at[..., part.sample, :].add(own.added(spectra[..., c, :], xi))
        return out

    def _added_linearised(
        self, spectra: tuple[Array, Array, Array], scale: Array, eta: Array
    ) -> tuple[Array, Array]:
        """Return what modes add, (samples, bins), and its slopes, (x and nuisances, ...).

        Args:
            spectra: slopes in x, (d, c, e); with shapes of fluxes, (c, e); without, (c, e).
            scale: factors of the components, (c,).
            eta: nuisances.
        """
        in_x, shaped, plain = spectra
        xi = eta[self._certain :]
        total = self._added(shaped * scale[:, None], xi)
        rows = [self._added(in_x, xi)]
        # A unit of a normalisation is a spectrum of its own, and so is one of a mode of a flux
        rows.append(self._added(self.widths.T[:, :, None] * shaped, xi))
        if self.modes.size:
            of_flux = self._one_hot(self._fluxes, len(self.modes))
            bent = jnp.einsum("cme,ce->mce", self.modes[self._fluxes], plain * scale[:, None])
            own = jnp.einsum("fc,mce->fmce", of_flux, bent)
            rows.append(self._added(own.reshape(-1, *plain.shape), xi))
        slopes = jnp.zeros((self.n_modes, *total.shape))
        for c, (part, moves) in enumerate(zip(self.parts, self.count_modes, strict=True)):
            if moves is not None:
                found = moves.slopes(scale[c] * shaped[c])
                slopes = slopes.at[moves.places, part.sample].add(found)
        return total, jnp.concatenate([*rows, slopes])

    def _fold(self, spectra: Array) -> Array:
        return jnp.einsum("cbe,ce->cb", self.events, spectra)

    def _analysed(self, counts: Array) -> Array:
        """Return the analysed bins of counts, (..., samples, bins)."""
        flat = counts.reshape(*counts.shape[:-2], counts.shape[-2] * counts.shape[-1])
        return flat if self.rows is None else flat[..., self.rows]


def make_rates(
    energy: ArrayLike,
    events: Sequence[Float],
    parts: Sequence[Part],
    widths: ArrayLike,
    inside: NDArray[np.bool_],
    baseline: Baseline,
    modes: ArrayLike | None = None,
    scale: EnergyScale | None = None,
) -> Rates:
    """Return expected counts of components that share true energies and bins.

    Args:
        energy: true energies in GeV, (e,).
        events: T of each component without oscillation, (bins, e).
        parts: what each component is.
        widths: errors of their normalisations, (components, k).
        inside: which bins are analysed, (samples, bins).
        baseline: of the neutrinos.
        modes: relative, of each flux, (fluxes, m, e); none if not given.
        scale: of the reconstructed energy of all bins; known if not given.
    """
    stacked, samples = np.stack(events), len(inside)
    folded = tuple(
        jnp.asarray(np.concatenate(stacked[own], axis=1)) for own in _members(parts, samples)
    )
    energy = jnp.asarray(energy, dtype=float)
    bends = np.zeros((1 + max(p.flux for p in parts), 0, len(energy))) if modes is None else modes
    return Rates(
        energy,
        jnp.asarray(stacked),
        folded,
        jnp.asarray(widths, dtype=float),
        jnp.asarray(bends, dtype=float),
        scale,
        None if inside.all() else jnp.asarray(np.flatnonzero(inside)),
        Baseline(*(jnp.asarray(value, dtype=float) for value in baseline)),
        samples,
        tuple(parts),
    )


def _members(parts: Sequence[Part], samples: int) -> list[NDArray[np.int64]]:
    places = np.array([p.sample for p in parts])
    return [np.flatnonzero(places == sample) for sample in range(samples)]
