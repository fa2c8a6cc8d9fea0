"""Pseudo-experiments of counted samples: truths, counts, and posteriors over orderings and octants.

Every mode of every data set is a chain of its own, and chains are sampled together, as many as the
sampler's settings say. Modes that a fit excludes by far are not sampled. Random keys are folded
with the number of a pseudo-experiment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy.special import logsumexp

from bayesxs.inference.circle import about, mean_direction
from bayesxs.inference.evidence import Curvature, Evidence, bridge
from bayesxs.inference.intervals import hdi
from bayesxs.inference.mode_sampling import log_densities
from bayesxs.inference.mode_starts import (
    Starts,
    conditional_covariances,
    counted_mode_model,
    mode_starts,
    with_counts,
)
from bayesxs.inference.modes import MODES, Mode, ModePosterior, mirrored, wrapped
from bayesxs.inference.posterior import PUBLIC_NAMES
from bayesxs.inference.sampling import NutsSampler, Own, SamplerSettings
from bayesxs.keys import Purpose, derive_all, generator
from bayesxs.types import Floats as Float

# Fall of the log density at its highest point below the best mode's, beyond which one is left out
_EXCLUDED: Final = 10.0
_PHASES: Final = (-0.5 * np.pi, 0.5 * np.pi)
_PROPOSALS: Final = 1000  # of which the evidence of a chain of few draws is found


@dataclass(frozen=True)
class Truths:
    """True values of pseudo-experiments.

    Attributes:
        mode: place among `MODES`, (n,).
        z: standard normal numbers, (n, d).
        dcp: (n,).
    """

    mode: NDArray[np.int64]
    z: Float
    dcp: Float


@dataclass(frozen=True)
class ModeDraw:
    """Posterior of one pseudo-experiment.

    Attributes:
        modes: places among `MODES` of what was sampled.
        probabilities: of all `MODES`, (4,).
        evidences: of what was sampled.
        start: phase of the best fit.
        mode: place of each draw, (draws,).
        z: (draws, d).
        dcp: (draws,).
        diverging: divergent transitions.
        n_steps: mean number of steps.
    """

    modes: tuple[int, ...]
    probabilities: Float
    evidences: tuple[Evidence, ...]
    start: float
    mode: NDArray[np.int64]
    z: Float
    dcp: Float
    diverging: float
    n_steps: float


@dataclass(frozen=True)
class ModeExperiment:
    """An experiment of which pseudo-experiments are made.

    Attributes:
        posterior: of any counts; its parameters are the truth where priors are flat.
        settings: of the sampler; its chains are sampled together.
        batch: pseudo-experiments of a task.
        thin: one draw in `thin` is kept.
        seed: of the campaign.
    """

    posterior: ModePosterior
    settings: SamplerSettings
    batch: int
    thin: int
    seed: int

    def __getstate__(self) -> dict[str, object]:
        """Leave out compiled functions: they do not travel."""
        state = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return state | {"posterior": jax.tree.map(np.asarray, self.posterior)}

    def _generators(self, first: int, purpose: Purpose) -> list[np.random.Generator]:
        return [generator(key) for key in derive_all(self.seed, purpose, first, self.batch)]

    def truths(self, first: int) -> Truths:
        """Draw truths of a batch from the prior, over both orderings."""
        odds = np.exp([float(self.posterior.log_prior(mode)) for mode in MODES])
        if "s2_23" not in self.posterior.names:
            odds[[bool(mode.upper) for mode in MODES]] = 0.0
        rngs = self._generators(first, Purpose.TRUTH)
        return Truths(
            np.array([rng.choice(len(MODES), p=odds / odds.sum()) for rng in rngs]),
            np.array([rng.standard_normal(self.posterior.size) for rng in rngs]),
            np.array([rng.uniform(-np.pi, np.pi) for rng in rngs]),
        )

    def truths_at(self, first: int, dcp: float) -> Truths:
        """Return truths of a batch with a phase.

        What has a flat prior is as in the parameters; what has a Gaussian one, which is a
        measurement, and nuisances are drawn from it.
        """
        posterior, drawn = self.posterior, self.truths(first)
        params = posterior.likelihood.parameters
        values = {name: float(np.asarray(v)) for name, v in params._asdict().items()}
        signs = float(np.sign(values["dm31"])), float(values["s2_23"] > 0.5)
        mode = MODES.index(Mode(*signs))
        at = posterior.place(MODES[mode], values | {"density": 0.0})
        z = drawn.z.copy()
        for i, name in enumerate(posterior.names):
            # Of a truncated prior the octant is known, and a draw would change it
            if posterior.flat[i] or name == "s2_23":
                z[:, i] = at[i]
        return Truths(np.full(self.batch, mode), z, np.full(self.batch, dcp))

    def data(self, first: int, truths: Truths) -> Float:
        """Draw the counts of all bins at truths, (batch, bins)."""
        modes = Mode(*(jnp.asarray([MODES[m][i] for m in truths.mode]) for i in (0, 1)))
        mu = _expected(self.posterior, modes, jnp.asarray(truths.z), jnp.asarray(truths.dcp))
        rngs = self._generators(first, Purpose.DATA)
        return np.array([g.poisson(m) for g, m in zip(rngs, np.asarray(mu), strict=True)], float)

    @cached_property
    def _sampler(self) -> NutsSampler:
        own = Own(arguments=2, starts=True)
        return NutsSampler(counted_mode_model, self.settings, own=own, jump=mirrored)

    def posteriors(self, first: int, counts: Float) -> list[ModeDraw]:
        """Sample the posterior of each data set of a batch, (batch, bins)."""
        starts = mode_starts(self.posterior, MODES, counts, _PHASES)
        priors = np.array([float(self.posterior.log_prior(mode)) for mode in MODES])
        heights = starts.log_density + priors
        if "s2_23" not in self.posterior.names:
            heights[:, [bool(mode.upper) for mode in MODES]] = -np.inf
        alive = heights > heights.max(axis=1, keepdims=True) - _EXCLUDED
        lanes = [(int(n), int(m)) for n, m in zip(*np.nonzero(alive), strict=True)]
        keys = derive_all(self.seed, Purpose.CHAIN, first, len(counts))
        found: dict[tuple[int, int], tuple[Any, ...]] = {}
        together = self.settings.chains
        for begin in range(0, len(lanes), together):
            own = lanes[begin : begin + together]
            filled = own + own[-1:] * (together - len(own))
            found |= dict(zip(own, self._sampled(filled, counts, starts, keys), strict=False))
        return [
            self._mixed(
                first + n,
                {m: found[n, m] for m in range(len(MODES)) if (n, m) in found},
                priors,
                float(starts.dcp[n, np.argmax(heights[n])]),
            )
            for n in range(len(counts))
        ]

    def _sampled(
        self, lanes: Sequence[tuple[int, int]], counts: Float, starts: Starts, keys: Array
    ) -> list[tuple[Any, ...]]:
        """Sample chains together; return of each z, dcp, evidence and statistics."""
        rows, modes = np.array(lanes).T
        mode = Mode(*(jnp.asarray([MODES[m][i] for m in modes]) for i in (0, 1)))
        data = jnp.asarray(counts[rows])
        begin = {
            "z": jnp.asarray(starts.z[rows, modes]),
            "dcp_unwrapped": jnp.asarray(starts.dcp[rows, modes]),
        }
        own = jax.vmap(jax.random.fold_in)(keys[rows], jnp.asarray(modes))
        draws = self._sampler.run((mode, data, self.posterior), own, begin)
        covariances = np.asarray(conditional_covariances(self.posterior, mode, data, begin))
        dcp = wrapped(draws.sites["dcp_unwrapped"])
        out = []
        for lane, (row, m) in enumerate(lanes):
            seed = np.asarray(jax.random.key_data(own[lane])).tolist()
            fixed = with_counts(self.posterior, counts[row]), Mode(*map(jnp.asarray, MODES[m]))

            def density(z: Float, dcp: Float, fixed: tuple[ModePosterior, Mode] = fixed) -> Float:
                return np.asarray(log_densities(*fixed, jnp.asarray(z), jnp.asarray(dcp)))

            z = draws.sites["z"][lane]
            rng = np.random.default_rng(seed)
            one = z[None], dcp[lane][None]
            place = starts.z[row, m]
            curvature = Curvature(place, covariances[lane], len(self.posterior.names))
            evidence = bridge(density, *one, rng, curvature, _PROPOSALS)
            numbers = (draws.statistics[name][lane] for name in ("diverging", "n_steps"))
            diverging, n_steps = numbers
            out.append((z, dcp[lane], evidence, float(diverging.sum()), float(n_steps.mean())))
        return out

    def _mixed(
        self,
        number: int,
        found: Mapping[int, tuple[Any, ...]],
        log_priors: Float,
        start: float,
    ) -> ModeDraw:
        """Mix the draws of modes with their probabilities."""
        places = tuple(found)
        evidences = tuple(found[m][2] for m in places)
        log = np.array([e.log for e in evidences]) + log_priors[list(places)]
        weights = np.exp(log - logsumexp(log))
        probabilities = np.zeros(len(MODES))
        probabilities[list(places)] = weights
        rng = generator(derive_all(self.seed, Purpose.PSEUDO_OCTANT, number, 1)[0])
        kept = np.arange(self.thin - 1, self.settings.draws, self.thin)
        chosen = rng.choice(len(places), size=len(kept), p=weights)
        z = np.stack([found[m][0] for m in places])[chosen, kept]
        dcp = np.stack([found[m][1] for m in places])[chosen, kept]
        return ModeDraw(
            *(places, probabilities, evidences, start),
            *(np.array(places)[chosen], z, dcp),
            sum(found[m][3] for m in places),
            float(np.mean([found[m][4] for m in places])),
        )

    def values(self, mode: NDArray[np.int64], z: Float, dcp: Float) -> dict[str, Float]:
        """Return parameters by public names at points, (n,) and (n, d); nuisances, (n, q)."""
        modes = Mode(*(jnp.asarray([MODES[m][i] for m in mode]) for i in (0, 1)))
        values, eta = _values(self.posterior, modes, jnp.asarray(z))
        found = {PUBLIC_NAMES.get(n, n): np.asarray(v) for n, v in values.items()}
        return found | {"dcp": dcp, "nuisance": np.asarray(eta)}


@dataclass(frozen=True)
class CalibrationExperiment:
    """Pseudo-experiments whose truths are drawn from the prior."""

    experiment: ModeExperiment

    def run(self, first: int) -> dict[str, np.ndarray]:
        """Carry out a batch of pseudo-experiments, those numbered from `first`.

        Returns:
            By public names "truth/NAME" (batch,) and "draws/NAME" (batch, kept), dcp being the
            distance from the phase of the best fit, in [-pi, pi); "below/nuisance", how many draws
            are below the true one, (batch, q); "truth/ordering" (+1, -1), "truth/upper" (0, 1),
            "normal" and "upper", their probabilities, "error", of the logarithm of the largest
            evidence; "diverging", "n_steps", (batch,).
        """
        e = self.experiment
        truths = e.truths(first)
        counts = e.data(first, truths)
        true = e.values(truths.mode, truths.z, truths.dcp)
        signs = np.array([[float(m.ordering), float(m.upper)] for m in MODES])
        names = [PUBLIC_NAMES.get(n, n) for n in e.posterior.names]
        out: dict[str, list[Any]] = {}
        for n, drawn in enumerate(e.posteriors(first, counts)):
            draws = e.values(drawn.mode, drawn.z, drawn.dcp)
            row: dict[str, Any] = {f"truth/{name}": true[name][n] for name in names}
            row |= {f"draws/{name}": draws[name] for name in names}
            row["truth/dcp"] = wrapped(true["dcp"][n] - drawn.start)
            row["draws/dcp"] = wrapped(draws["dcp"] - drawn.start)
            row["below/nuisance"] = np.sum(draws["nuisance"] < true["nuisance"][n], axis=0)
            row["truth/ordering"], row["truth/upper"] = signs[truths.mode[n]]
            row["normal"] = drawn.probabilities @ (signs[:, 0] > 0.0)
            row["upper"] = drawn.probabilities @ signs[:, 1]
            best = int(np.argmax(drawn.probabilities[list(drawn.modes)]))
            row["error"] = drawn.evidences[best].error
            row |= {"modes": len(drawn.modes)}
            row |= {"diverging": drawn.diverging, "n_steps": drawn.n_steps}
            for name, value in row.items():
                out.setdefault(name, []).append(value)
        return {name: np.array(values, float) for name, values in out.items()}


@dataclass(frozen=True)
class PhaseExperiment:
    """Pseudo-experiments at true phases, and whether intervals of dcp hold them."""

    experiment: ModeExperiment
    phases: tuple[float, ...]
    levels: tuple[float, ...]

    def run(self, point: int, first: int) -> dict[str, np.ndarray]:
        """Carry out a batch at a phase, those numbered from `first` in the campaign.

        Returns:
            "interval/hdi/dcp" (batch, levels, 2), on the turn about the posterior's mean direction;
            "truth/dcp" there, "estimate/dcp", the mean direction, "sd/dcp", the circular one,
            "diverging", "n_steps", (batch,).
        """
        e = self.experiment
        truths = e.truths_at(first, self.phases[point])
        found = e.posteriors(first, e.data(first, truths))
        middle = np.array([mean_direction(d.dcp) for d in found])
        draws = about(np.stack([d.dcp for d in found]), middle[:, None])
        length = np.abs(np.mean(np.exp(1j * draws), axis=1))
        return {
            "interval/hdi/dcp": np.stack([hdi(draws, p) for p in self.levels], axis=1),
            "truth/dcp": about(truths.dcp, middle),
            "estimate/dcp": middle,
            "sd/dcp": np.sqrt(-2.0 * np.log(np.clip(length, 1e-12, 1.0))),
            "diverging": np.array([d.diverging for d in found]),
            "n_steps": np.array([d.n_steps for d in found]),
        }


@jax.jit
def _expected(posterior: ModePosterior, modes: Mode, z: Array, dcp: Array) -> Array:
    def one(point: tuple[Mode, Array, Array]) -> Array:
        return posterior.expected(*point)

    return jax.lax.map(one, (modes, z, dcp))


@jax.jit
def _values(posterior: ModePosterior, modes: Mode, z: Array) -> tuple[dict[str, Array], Array]:
    def one(mode: Mode, z: Array) -> tuple[dict[str, Array], Array]:
        values, eta = posterior.values(mode, z)
        return {name: jnp.broadcast_to(v, ()) for name, v in values.items()}, eta

    return jax.vmap(one)(modes, z)
