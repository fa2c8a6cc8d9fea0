"""The stage between training and inference: what the near detector leaves open, as linear modes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from scipy import sparse

from bayesxs.cards.sections import (
    CertainCard,
    EnsembleCard,
    GaussianProcessCard,
    LaplaceCard,
    ModesFileCard,
)
from bayesxs.detector.density import Sample
from bayesxs.detector.expansion import free_parameters, taylor_terms
from bayesxs.detector.grid import Float
from bayesxs.detector.smearing import RecoGrid, smear
from bayesxs.errors import InputError
from bayesxs.experiment.experiment import Experiment
from bayesxs.experiment.geometry import Geometry, Target
from bayesxs.experiment.learn import NETWORK
from bayesxs.experiment.near import NearDetector
from bayesxs.experiment.weights import conditions, read_networks
from bayesxs.learning.gaussian_process import STEPS, fit_process
from bayesxs.learning.laplace import fit_laplace
from bayesxs.learning.linear_model import Conditioned, Spread, near_data, select_modes
from bayesxs.learning.network import Average
from bayesxs.progress import Reporter
from bayesxs.storage.netcdf import read_tree, write_netcdf
from bayesxs.storage.run_folder import RunFolder, Stage

CROSS_SECTION = "cross_section.nc"

# Random functions that span near data without fluctuations, and with them
RANK, FINITE_RANK = 400, 300

# Bins of the far density in (E_l, z) by whose uncertainty modes are ranked: statistics of one far
# detector resolve nothing finer
FAR_BINS = (20, 10)

# Bins that hold less than this fraction of the far events do not count in the ranking
FAR_FLOOR = 1e-6


@dataclass(frozen=True)
class Learned:
    """A learned cross section on the nodes, and how it may differ; unit near-detector rate.

    Attributes:
        mean: shape (n_nodes, 3).
        modes: change per unit of each cross-section nuisance, shape (K, n_nodes, 3).
        flux: how it follows each flux nuisance, shape (J, n_nodes, 3).
        response: how it follows each response parameter that the near detector shares, shape
            (R, n_nodes, 3).
    """

    mean: Float
    modes: Float
    flux: Float
    response: Float


def uncertainty_stage(
    experiment: Experiment, folder: RunFolder, stage: Stage, reporter: Reporter
) -> None:
    """Find mean and modes of every target's cross section, and how it follows flux and response."""
    card = experiment.card
    networks = read_networks(
        folder.path / NETWORK, [t.name for t in experiment.unique_targets], conditions(card)
    )
    sources = {}
    for target in experiment.unique_targets:
        with reporter.bar(f"cross-section modes, {target.name}", STEPS) as update:
            source = _source(experiment, target, networks[target.name], update)
        sources[target.name] = source
    groups: dict[str, xr.Dataset] = {}
    for name, source in sources.items():
        learned, nodes = source.learned, experiment.geometry(source.target).nodes
        groups[f"target/{name}"] = xr.Dataset(
            {
                "mean": (("node", "function"), learned.mean),
                "modes": (("mode", "node", "function"), learned.modes),
                "flux": (("flux_mode", "node", "function"), learned.flux),
                "response": (("response_mode", "node", "function"), learned.response),
                "sizes": (("direction",), source.sizes),
            },
            {"x": ("node", nodes.x), "q2": ("node", nodes.q2)},
            source.notes,
        )
        reporter.line(f"  {name}: {len(learned.modes)} modes, {source.notes['words']}")
    groups["flux"] = xr.Dataset(
        {"modes": (("flux_mode", "energy"), experiment.flux_modes)},
        {"energy": experiment.energies.points},
    )
    stage.notes["modes"] = {name: len(s.learned.modes) for name, s in sources.items()}
    stage.notes["effective_parameters"] = {
        n: s.notes["effective_parameters"]
        for n, s in sources.items()
        if "effective_parameters" in s.notes
    }
    stage.notes["negative_mass"] = {n: s.notes["negative_mass"] for n, s in sources.items()}
    tree = xr.DataTree.from_dict(groups)
    tree.attrs["source"] = card.uncertainty.type
    write_netcdf(stage.output(CROSS_SECTION), tree)


def read_learned(experiment: Experiment, folder: RunFolder) -> tuple[dict[str, Learned], Float]:
    """Return every target's learned cross section, and the flux modes that it follows, (J, E)."""
    tree = read_tree(folder.path / CROSS_SECTION)
    out = {}
    for target in experiment.unique_targets:
        data = tree[f"target/{target.name}"].dataset
        out[target.name] = Learned(
            *(data[name].values for name in ("mean", "modes", "flux", "response"))
        )
    return out, tree["flux"].dataset["modes"].values


@dataclass(frozen=True)
class _Source:
    """What one target's source of modes found."""

    target: Target
    learned: Learned
    sizes: Float  # of all directions in the far density, over its statistical error
    notes: dict[str, Any]


def _source(experiment: Experiment, target: Target, networks: Average, update: Any) -> _Source:
    """Find mean, modes and responses of one target by the card's choice."""
    choice = experiment.card.uncertainty
    geometry, near = experiment.geometry(target), experiment.near(target)
    matrix = near.matrix
    values = [_unit_rate(geometry.node_values(n), matrix) for n in networks.networks]
    mean = np.mean(values, axis=0)
    empty = np.zeros((0, *mean.shape))
    count = len(experiment.flux_modes)
    if isinstance(choice, CertainCard):
        notes = {"words": "the learned cross section as it is", "negative_mass": 0.0, "kept": 1.0}
        return _Source(target, Learned(mean, empty, empty, empty), np.zeros(0), notes)
    if isinstance(choice, ModesFileCard):
        return _from_file(experiment, target, geometry, choice.path)
    directions = _directions(experiment, near, mean)
    data = near_data(
        matrix,
        near.observed,
        matrix @ mean.ravel(),
        geometry.nodes,
        events=near.events,
        discretization=choice.discretization,
        rank=FINITE_RANK if experiment.card.near.counted else RANK,
        directions=directions,
    )
    posterior: Conditioned | Spread
    follows: Conditioned
    if isinstance(choice, GaussianProcessCard):
        process = fit_process(data, geometry.nodes, choice.kernel, record=update)
        mean = np.asarray(process.mean).reshape(mean.shape)
        posterior = follows = process.posterior
        scales = ", ".join(f"{k} {np.exp(v):.2g}" for k, v in process.scales._asdict().items())
        words = f"Gaussian process: {scales}"
    else:
        first = networks.networks[0]
        rate = float((matrix @ geometry.node_values(first).ravel()).sum())
        laplace = fit_laplace(first, data, geometry.nodes, 1.0 / rate)
        follows = laplace.posterior
        if isinstance(choice, LaplaceCard):
            posterior, words = follows, f"Laplace: weights of prior sd {laplace.prior_sd:.2g}"
        else:
            assert isinstance(choice, EnsembleCard)
            posterior = Spread.of(np.stack([v.ravel() for v in values]))
            words = f"{len(values)} networks"
    far = far_directions(experiment, target, mean)
    cross = posterior.covariance(jnp.asarray(far.T))
    modes = select_modes(cross, far, choice.share, choice.modes)
    changes = data.whiten @ directions
    followed = -np.asarray(follows.regress(jnp.asarray(changes))).T.reshape(-1, *mean.shape)
    notes = {
        "words": f"{words}; {100.0 * modes.kept:.2f} % of the far variance kept",
        "kept": modes.kept,
        "effective_parameters": follows.effective_parameters,
        "negative_mass": _negative_mass(geometry, mean, modes.modes),
    }
    return _Source(
        target,
        Learned(mean, modes.modes.reshape(-1, *mean.shape), followed[:count], followed[count:]),
        modes.sizes,
        notes,
    )


def _unit_rate(values: Float, matrix: sparse.csr_array) -> Float:
    """Scale node values to a near density that sums to one."""
    return values / (matrix @ values.ravel()).sum()


def _directions(experiment: Experiment, near: NearDetector, mean: Float) -> Float:
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


def far_directions(experiment: Experiment, target: Target, mean: Float) -> Float:
    """Return how the far density moves with the node values, over its statistical error.

    Rows are bins in (E_l, z) of the samples that the cross section serves, oscillated with the
    true parameters, and normalised: shape (bins, 3 n_nodes).
    """
    geometry = experiment.geometry(target)
    rows = []
    samples: Sequence[Sample] = [
        s for s in experiment.samples if experiment.targets[s].name == target.name
    ]
    merge = _merge(geometry.bins.shape)
    for sample in samples:
        oscillation = experiment.oscillation(sample, experiment.energies.points)
        flux = experiment.source_flux(sample) * oscillation
        matrix = (merge @ geometry.operator.near_matrix(flux)).toarray()
        expected = matrix @ mean.ravel()
        total = expected.sum()
        density = expected / total
        slopes = (matrix - np.outer(density, matrix.sum(axis=0))) / total
        kept = density > FAR_FLOOR
        error = np.sqrt(density[kept] / experiment.card.far.events)
        rows.append(slopes[kept] / error[:, None])
    return np.concatenate(rows)


def _merge(shape: tuple[int, int]) -> sparse.csr_array:
    """Sum fine bins to the bins of FAR_BINS."""
    index = [np.arange(n) * min(wanted, n) // n for n, wanted in zip(shape, FAR_BINS, strict=True)]
    group = (index[0][:, None] * FAR_BINS[1] + index[1]).ravel()
    ones = np.ones(len(group))
    return sparse.csr_array(
        (ones, (group, np.arange(len(group)))), (FAR_BINS[0] * FAR_BINS[1], len(group))
    )


def _negative_mass(geometry: Geometry, mean: Float, modes: Float, draws: int = 20) -> float:
    """Return the mean fraction of the near rate that draws of the posterior make negative."""
    rng = np.random.default_rng(0)  # a fixed set of draws: a diagnostic, not a sample
    quadrature = geometry.quadrature
    flux = np.interp(quadrature.energy, geometry.energies.points, geometry.target.near_flux)
    fractions = []
    for eta in rng.standard_normal((draws, len(modes))):
        drawn = mean + (eta @ modes.reshape(len(modes), -1)).reshape(mean.shape)
        rate = quadrature.weights * flux * geometry.operator.cross_section(drawn)
        fractions.append(-np.minimum(rate, 0.0).sum() / np.abs(rate).sum())
    return float(np.mean(fractions))


def _from_file(experiment: Experiment, target: Target, geometry: Geometry, path: str) -> _Source:
    """Take mean and modes from the cross_section.nc of another run."""
    tree = read_tree(Path(path))
    if (
        f"target/{target.name}" not in tree.to_dict()
        and f"/target/{target.name}" not in tree.groups
    ):
        raise InputError.at(path, "target", target.name, "the file has no such cross section")
    data = tree[f"target/{target.name}"].dataset
    nodes = geometry.nodes
    _check_file(path, data)
    same = data.sizes["node"] == nodes.size and all(
        np.allclose(data[name].values, getattr(nodes, name), rtol=1e-9) for name in ("x", "q2")
    )
    if not same:
        allowed = "modes of another node grid: grid.nodes_x, grid.nodes_q2 and the beam must agree"
        raise InputError.at(path, "nodes", data.sizes["node"], allowed)
    mean, modes = data["mean"].values, data["modes"].values
    empty = np.zeros((0, *mean.shape))
    notes = {key: data.attrs[key] for key in ("words", "kept", "negative_mass")}
    return _Source(
        target,
        Learned(mean, modes, empty, empty),
        data["sizes"].values,
        notes,
    )


def _check_file(path: str, data: xr.Dataset) -> None:
    """Check that a dataset is what `uncertainty_stage` writes of a target.

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
