"""The uncertainty of a cross section that the near detector leaves, as linear modes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
import xarray as xr
from scipy import sparse

from bayesxs.detector.batched import negative_shares
from bayesxs.detector.density import Sample
from bayesxs.detector.expansion import free_parameters, taylor_terms
from bayesxs.detector.grid import LeptonGrid, NodeGrid
from bayesxs.detector.reco import RecoGrid
from bayesxs.detector.smearing import smear
from bayesxs.errors import InputError
from bayesxs.experiment.cross_section import LearnedTarget
from bayesxs.experiment.experiment import Experiment
from bayesxs.experiment.geometry import Geometry, Target
from bayesxs.experiment.near import NearDetector
from bayesxs.experiment.near_far import joint_target
from bayesxs.experiment.weights import lepton_of
from bayesxs.learning.gaussian_process import Kernel, fit_process
from bayesxs.learning.heads import Lepton
from bayesxs.learning.laplace import fit_laplace
from bayesxs.learning.linear_model import Conditioned, LinearData, Spread, near_data, select_modes
from bayesxs.learning.network import Average
from bayesxs.physics.oscillation import OscillationParameters
from bayesxs.storage.netcdf import read_tree
from bayesxs.types import Floats as Float

# Random functions that span near data without fluctuations, and with them
RANK, FINITE_RANK = 400, 300

# Bins of the far density in (E_l, z) by whose uncertainty modes are ranked: statistics of one far
# detector resolve nothing finer
FAR_BINS = (20, 10)

# Bins that hold less than this fraction of the far events do not count in the ranking
FAR_FLOOR = 1e-6


class NearFit(NamedTuple):
    """The input of sources of modes: near data of a target, and networks that fit them."""

    experiment: Experiment
    near: NearDetector
    networks: Average
    update: Callable[..., None]
    rates: bool = False  # whether far data count, in place of their shapes alone

    @property
    def target(self) -> Target:
        """The target that is learned."""
        return self.near.geometry.target

    @property
    def nodes(self) -> NodeGrid:
        """Nodes of its structure functions."""
        return self.near.geometry.nodes

    @property
    def lepton(self) -> Lepton:
        """Its lepton."""
        return lepton_of(self.target.name)

    @property
    def values(self) -> list[Float]:
        """Each network on the nodes, scaled to a near density that sums to one."""
        geometry, matrix = self.near.geometry, self.near.matrix
        return [_unit_rate(geometry.node_values(n), matrix) for n in self.networks.networks]


class Uncertainty(ABC):
    """A source of mean and modes of a learned cross section."""

    type: ClassVar[str]

    @abstractmethod
    def learned(self, fit: NearFit) -> LearnedTarget:
        """Return mean, modes, and how the cross section follows flux and response."""


@dataclass(frozen=True)
class Certain(Uncertainty):
    """The mean of the networks, as if it were certain.

    Example:
        >>> bayesxs.Certain().type
        'none'
    """

    type = "none"

    def learned(self, fit: NearFit) -> LearnedTarget:
        """Return the mean without modes."""
        return LearnedTarget(
            fit.nodes,
            np.mean(fit.values, axis=0),
            words="the learned cross section as it is",
        )


@dataclass(frozen=True)
class ModesFile(Uncertainty):
    """Mean and modes that a file of another analysis holds.

    Attributes:
        path: of a `cross_section.nc`.
    """

    path: str | Path

    type = "file"

    def learned(self, fit: NearFit) -> LearnedTarget:
        """Read mean and modes.

        Raises:
            InputError: the file does not fit.
        """
        return _from_file(fit.target, fit.nodes, str(self.path))


class Posterior(NamedTuple):
    """A distribution of structure functions on the nodes.

    Attributes:
        mean: shape (n_nodes, 3).
        spread: its covariance.
        follows: what a change of the data does.
        words: for people.
        prior_mean: the mean before the data; None where there is no prior apart from them.
    """

    mean: Float
    spread: Conditioned | Spread
    follows: Conditioned
    words: str
    prior_mean: Float | None = None


@dataclass(frozen=True)
class Inferred(Uncertainty):
    """The base of sources of modes by inference.

    Attributes:
        share: of the far-detector variance that the modes keep.
        modes: largest number of modes; None for no bound.
        discretization: relative error of a near bin from quadrature, interpolation and projection.
    """

    share: float = 0.999
    modes: int | None = None
    discretization: float = 2e-4

    @abstractmethod
    def posterior(self, fit: NearFit, data: LinearData, mean: Float) -> Posterior:
        """Return the distribution that the near data leave."""

    def learned(self, fit: NearFit) -> LearnedTarget:
        """Find the modes in the order of their size at the far detector."""
        experiment, near = fit.experiment, fit.near
        mean = np.mean(fit.values, axis=0)
        directions = near_directions(experiment, near, mean)
        data = linear_data(fit, mean, directions, self.discretization)
        found = self.posterior(fit, data, mean)
        rate = near_rate(near.geometry) if fit.rates else None
        far = far_directions(experiment, fit.target, found.mean, rate)
        cross = found.spread.covariance(jnp.asarray(far.T))
        modes = select_modes(cross, far, self.share, self.modes)
        changes = data.whiten @ directions
        followed = -np.asarray(found.follows.regress(jnp.asarray(changes))).T
        followed = followed.reshape(-1, *mean.shape)
        count = len(experiment.flux_modes)
        learned = LearnedTarget(
            fit.nodes,
            found.mean,
            modes.modes.reshape(-1, *mean.shape),
            followed[:count],
            followed[count:],
            modes.sizes,
            f"{found.words}; {100.0 * modes.kept:.2f} % of the far variance kept",
            float(modes.kept),
            negative_mass(near.geometry, found.mean, modes.modes),
            found.follows.effective_parameters,
            rates="near" if fit.rates else "",
        )
        return self.completed(fit, data, found, learned)

    def completed(
        self, fit: NearFit, data: LinearData, found: Posterior, learned: LearnedTarget
    ) -> LearnedTarget:
        """Return what was learned, with what else a source takes from the near data."""
        return learned


@dataclass(frozen=True)
class GaussianProcess(Inferred):
    """A Gaussian process conditioned on the near data, in closed form.

    Attributes:
        kernel: roughest first, "matern32", "matern52" or "squared_exponential".
        divergence: where leptons share networks, prior standard deviation of SS, the divergence of
            the current, over half of T+ + T- + 2 LL (`bayesxs.learning.five_functions`).
        joint: whether near and far data are one model: near data then inform on the flux too, and
            the cross section follows the flux to second order.

    Example:
        >>> smooth = bayesxs.GaussianProcess(kernel="matern52")  # for learn(uncertainty=smooth)
    """

    kernel: Kernel = "matern32"
    divergence: float = 0.5
    joint: bool = False

    type = "gaussian_process"

    def posterior(self, fit: NearFit, data: LinearData, mean: Float) -> Posterior:
        """Return the process."""
        process = fit_process(data, fit.nodes, self.kernel, lepton=fit.lepton, record=fit.update)
        mean = np.asarray(process.mean).reshape(mean.shape)
        prior_mean = np.asarray(process.prior_mean)
        words = f"Gaussian process: {process.scales.words}"
        return Posterior(mean, process.posterior, process.posterior, words, prior_mean)

    def completed(
        self, fit: NearFit, data: LinearData, found: Posterior, learned: LearnedTarget
    ) -> LearnedTarget:
        """Add the near data's likelihood of the flux to a joint model."""
        modes = fit.experiment.flux_modes
        if not self.joint or not len(modes):
            return learned
        assert found.prior_mean is not None
        joint, spread = joint_target(
            fit.near, modes, data, found.follows, found.prior_mean, learned
        )
        # What far data see of the spread at the flux that near data find
        far = far_directions(fit.experiment, fit.target, joint.mean)
        cross = spread.covariance(jnp.asarray(far.T))
        chosen = select_modes(cross, far, self.share, self.modes)
        return replace(
            joint,
            modes=chosen.modes.reshape(-1, *joint.mean.shape),
            sizes=chosen.sizes,
            kept=float(chosen.kept),
        )


def _laplace(fit: NearFit, data: LinearData) -> tuple[Conditioned, float]:
    first, matrix = fit.networks.networks[0], fit.near.matrix
    rate = float((matrix @ fit.near.geometry.node_values(first).ravel()).sum())
    laplace = fit_laplace(first, data, fit.nodes, 1.0 / rate)
    return laplace.posterior, laplace.prior_sd


@dataclass(frozen=True)
class Laplace(Inferred):
    """Laplace's approximation around the trained network.

    Example:
        >>> bayesxs.Laplace().type  # what bayesxs.learn(near, uncertainty="laplace") takes
        'laplace'
    """

    type = "laplace"

    def posterior(self, fit: NearFit, data: LinearData, mean: Float) -> Posterior:
        """Return the network's linearisation, its weights by their curvature."""
        found, prior_sd = _laplace(fit, data)
        return Posterior(mean, found, found, f"Laplace: weights of prior sd {prior_sd:.2g}")


@dataclass(frozen=True)
class Ensemble(Inferred):
    """The spread of several networks: other initial weights, other replicas of the near data.

    Example:
        >>> bayesxs.Ensemble().type  # what bayesxs.learn(near, uncertainty="ensemble") takes
        'ensemble'
    """

    type = "ensemble"

    def posterior(self, fit: NearFit, data: LinearData, mean: Float) -> Posterior:
        """Return the covariance of the networks; the first one says what follows the flux."""
        values = fit.values
        spread = Spread.of(np.stack([v.ravel() for v in values]))
        return Posterior(mean, spread, _laplace(fit, data)[0], f"{len(values)} networks")


def _unit_rate(values: Float, matrix: sparse.csr_array) -> Float:
    """Scale node values to a near density that sums to one."""
    return values / (matrix @ values.ravel()).sum()


def linear_data(fit: NearFit, mean: Float, directions: Float, discretization: float) -> LinearData:
    """Return the near data of a target as linear ones of its node values.

    Args:
        fit: the data.
        mean: node values about which they fluctuate, shape (n_nodes, 3).
        directions: changes of the near density to keep, shape (rows, k).
        discretization: relative error of a bin that statistics does not explain.
    """
    near, matrix = fit.near, fit.near.matrix
    return near_data(
        matrix,
        near.observed,
        matrix @ mean.ravel(),
        fit.nodes,
        events=near.events,
        discretization=discretization,
        rank=FINITE_RANK if near.source.counted else RANK,
        directions=directions,
    )


def near_directions(experiment: Experiment, near: NearDetector, mean: Float) -> Float:
    """Change of the near density per unit of each flux nuisance and shared response parameter."""
    nominal = near.spectrum.of_values(mean, clamp=True).rows
    geometry, flux = near.geometry, near.geometry.target.near_flux
    scale = 1.0 / (nominal @ flux).sum()
    columns = [scale * nominal @ (flux * mode) for mode in experiment.flux_modes]
    response = geometry.response
    if response is not None and response.correlated:
        terms = near.summed(response_terms(geometry, mean, near.grid))
        names = free_parameters(response.sds)
        columns += [scale * term @ flux for term in terms[1 : 1 + len(names)]]
    return np.stack(columns, axis=1) if columns else np.zeros((len(nominal), 0))


def response_terms(geometry: Geometry, values: Float, grid: RecoGrid | None = None) -> Float:
    """Expand reconstructed rows to second order in the response, shape (terms, bins, E).

    Args:
        geometry: of the target.
        values: structure functions on the nodes, shape (n_nodes, 3).
        grid: reconstructed bins; those of the geometry if None.
    """
    response = geometry.response
    assert response is not None
    cells = geometry.seen.operator.response(values, clamp=True)
    rows = jnp.asarray(geometry.cells.areas[:, None] * cells)
    return np.asarray(
        taylor_terms(
            lambda p: smear(p, rows, *response.arguments(grid)), response.parameters, response.sds
        )
    )


def near_rate(geometry: Geometry) -> Float:
    """Return the near rate as a functional of the node values, shape (3 n_nodes,)."""
    totals = geometry.total_operator.near_matrix(np.ones(len(geometry.energies.points)))
    rate = geometry.energies.weights * geometry.target.near_flux
    return np.asarray(totals.T @ rate)


def far_directions(
    experiment: Experiment, target: Target, mean: Float, rate: Float | None = None
) -> Float:
    """Return how the far density moves with the node values, over its statistical error.

    Rows are bins in (E_l, z) of the samples that the cross section serves, oscillated with the
    true parameters, and normalised: shape (bins, 3 n_nodes).

    Args:
        experiment: whose far detector it is.
        target: whose cross section it is.
        mean: node values about which it moves, shape (n_nodes, 3).
        rate: functional that is known, such as the near rate, to which counts are relative; zeros
            where none is. They are relative to their own sum if None: shapes alone. With it a bin
            has the error of one event at least.
    """
    rows = []
    for matrix in far_matrices(experiment, target):
        expected = matrix @ mean.ravel()
        total = expected.sum()
        density = expected / total
        least = 0.0
        if rate is None:
            known = matrix.sum(axis=0)
        else:
            least = 1.0 / experiment.far_events
            size = rate @ mean.ravel()
            known = rate * (total / size if size > 0.0 else 0.0)
        slopes = (matrix - np.outer(density, known)) / total
        kept = density > FAR_FLOOR
        error = np.sqrt(np.maximum(density[kept], least) / experiment.far_events)
        rows.append(slopes[kept] / error[:, None])
    return np.concatenate(rows)


def far_matrices(
    experiment: Experiment, target: Target, parameters: OscillationParameters | None = None
) -> list[Float]:
    """Return the far spectra from values on the nodes, one matrix for each sample of the target.

    Args:
        experiment: whose far detector it is.
        target: whose cross section it is.
        parameters: of the oscillation; the true ones if None.

    Returns:
        Shape (bins, 3 n_nodes), bins those of FAR_BINS, over z fastest.
    """
    geometry = experiment.geometry(target)
    samples: Sequence[Sample] = [
        s for s in experiment.samples if experiment.targets[s].name == target.name
    ]
    merge = _merge(geometry.bins)
    found = []
    for sample in samples:
        oscillation = experiment.oscillation(sample, experiment.energies.points, parameters)
        flux = experiment.source_flux(sample) * oscillation
        found.append((merge @ geometry.operator.near_matrix(flux)).toarray())
    return found


def _merge(bins: LeptonGrid) -> sparse.csr_array:
    """Sum densities in fine bins, times the bins' sizes, to the bins of FAR_BINS."""
    pairs = zip(bins.shape, FAR_BINS, strict=True)
    index = [np.arange(n) * min(wanted, n) // n for n, wanted in pairs]
    group = (index[0][:, None] * FAR_BINS[1] + index[1]).ravel()
    return sparse.csr_array(
        (bins.sizes, (group, np.arange(len(group)))), (FAR_BINS[0] * FAR_BINS[1], len(group))
    )


def negative_mass(geometry: Geometry, mean: Float, modes: Float, draws: int = 20) -> float:
    """Return the mean fraction of the near rate that draws of the posterior make negative."""
    rng = np.random.default_rng(0)  # a fixed set of draws: a diagnostic, not a sample
    quadrature = geometry.quadrature
    flux = np.interp(quadrature.energy, geometry.energies.points, geometry.target.near_flux)
    eta = rng.standard_normal((draws, len(modes)))
    drawn = mean + (eta @ modes.reshape(len(modes), -1)).reshape(-1, *mean.shape)
    weights = geometry.bins.sizes[quadrature.row] * quadrature.weights
    shares = negative_shares(geometry.operator, drawn, weights * flux)
    return float(np.mean(shares))


def _from_file(target: Target, nodes: NodeGrid, path: str) -> LearnedTarget:
    """Take mean and modes from the cross_section.nc of another run."""
    tree = read_tree(Path(path))
    if (
        f"target/{target.name}" not in tree.to_dict()
        and f"/target/{target.name}" not in tree.groups
    ):
        raise InputError.at(path, "target", target.name, "the file has no such cross section")
    data = tree[f"target/{target.name}"].dataset
    _check_file(path, data)
    same = data.sizes["node"] == nodes.size and all(
        np.allclose(data[name].values, getattr(nodes, name), rtol=1e-9) for name in ("x", "q2")
    )
    if not same:
        allowed = "modes of another node grid: grid.nodes_x, grid.nodes_q2 and the beam must agree"
        raise InputError.at(path, "nodes", data.sizes["node"], allowed)
    mean, modes = data["mean"].values, data["modes"].values
    return LearnedTarget(
        nodes,
        mean,
        modes,
        sizes=data["sizes"].values,
        words=str(data.attrs["words"]),
        kept=float(data.attrs["kept"]),
        negative_mass=float(data.attrs["negative_mass"]),
    )


def _check_file(path: str, data: xr.Dataset) -> None:
    """Check that a dataset is that of a target in a `cross_section.nc`.

    Raises:
        InputError: a variable or an attribute is missing or of another kind.
    """
    dims = {
        "x": ("node",),
        "q2": ("node",),
        "mean": ("node", "function"),
        "modes": ("mode", "node", "function"),
        "sizes": ("direction",),
    }
    for name, expected in dims.items():
        if name not in data.variables or data[name].dims != expected:
            found = data[name].dims if name in data.variables else "(missing)"
            raise InputError.at(path, name, found, f"an array over {', '.join(expected)}")
        if data[name].dtype.kind != "f" or not np.isfinite(data[name].values).all():
            raise InputError.at(path, name, data[name].dtype, "finite numbers")
    if data.sizes["function"] != 3:
        raise InputError.at(path, "function", data.sizes["function"], "3 structure functions")
    kinds: dict[str, tuple[type, ...]] = {
        "words": (str,),
        "kept": (int, float, np.number),
        "negative_mass": (int, float, np.number),
    }
    for name, kind in kinds.items():
        if not isinstance(data.attrs.get(name), kind):
            raise InputError.at(path, name, data.attrs.get(name, "(missing)"), kind[0].__name__)
