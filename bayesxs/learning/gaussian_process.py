"""A Gaussian process for the structure functions, conditioned on near-detector data.

b_i(x, Q^2) = sum_k B_ik(x, Q^2) [1 + g(x, Q^2) + h_k(x, Q^2)], i, k = 0, 1, 2. The basis B has
about the size that structure functions have: for partons it carries current conservation and the
fall towards x = 1, for a nucleus the threshold of the quasi-elastic ridge and the fall of form
factors. For partons B is diagonal. For a nucleus its columns are what the lepton sees of T+, T- and
LL (`bayesxs.physics.helicity`): how the cross section depends on y at fixed (x, Q^2), hence on the
neutrino's energy, is a matter of kinematics where one of them dominates, and near data alone tell
little of it. The relative deviation g, common to the three functions, takes steep falls, ridges and
kinks, which all three share; h_k are their own. Kernels are products over the node coordinates
(u, v) of `charts`, in which the ridges of a nucleus run straight, so that the covariance of
3 n_nodes values is applied as small matrices. All scales are found by maximising the evidence times
priors of theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import solve_triangular
from scipy.optimize import minimize
from scipy.special import expit

from bayesxs.constants import NUCLEON_MASS
from bayesxs.detector.charts import CubeRoot
from bayesxs.detector.grid import NodeGrid
from bayesxs.learning.heads import MUON, Lepton
from bayesxs.learning.linear_model import Conditioned, Covariance, LinearData, condition
from bayesxs.learning.near_problem import nuclear_size
from bayesxs.physics.helicity import bernstein_coefficients, momentum_over_energy
from bayesxs.types import Floats

type Kernel = Literal["matern32", "matern52", "squared_exponential"]

# Steps of the evidence's optimiser
STEPS = 80


class Scales(NamedTuple):
    """Logarithms of what the prior leaves open.

    Attributes:
        size: overall size of the mean.
        fall: power of (1 - x), or of (1 - x') of a nucleus.
        q2: scale in GeV^2 below which current conservation acts, or where form factors fall.
        common: standard deviation of g.
        common_u: its correlation length in u.
        common_v: its correlation length in v.
        own: standard deviation of the h_k over that of g.
        own_u: their correlation length in u.
        own_v: their correlation length in v.
        continuum: size of a nucleus beyond the quasi-elastic ridge, over that where channels add up
            to a smooth continuum.
    """

    size: Array | float
    fall: Array | float
    q2: Array | float
    common: Array | float
    common_u: Array | float
    common_v: Array | float
    own: Array | float
    own_u: Array | float
    own_v: Array | float
    continuum: Array | float = 0.0

    @property
    def words(self) -> str:
        """The scales by name; the continuum where it is another one."""
        shown = self._asdict() if self.continuum else dict(zip(FITTED, self, strict=False))
        return ", ".join(f"{name} {np.exp(value):.2g}" for name, value in shown.items())


# Scales that the evidence chooses on a continuous range
FITTED = Scales._fields[:-1]

# Sizes of the continuum among which it chooses. A channel alone may have none: where it is expected
# all the same, what near data leave open is taken for it. There is none between, which natures with
# a sharp ridge would prefer
CONTINUA = (1.0, 0.01)

# Energy beyond elastic scattering over |q| where the ridge gives way to the continuum, and the
# inverse of the range over which it does
RIDGE_END, RIDGE_SLOPE = 0.35, 16.0


# Medians of the log-normal priors of the scales, and widths of their logarithms, for partons and
# nuclei. Lengths, and own over common parts, relate what data see to what they do not. There the
# evidence is nearly flat, and its maximum claims to know what the data never saw: intervals of
# far-detector functionals then hold the truth half as often as they should. They are therefore held
# near values that were chosen over an ensemble of natures (benchmarks/natures.py). So is the fall
# of a nucleus, to which the far detector is sensitive and the evidence is not. How large the
# deviations of a nucleus are, the data see, and the evidence decides. That of partons is held, too.
# What has no width is held exactly: millions of events move even what is held to a few per cent.
PARTONS = Scales(0.0, *(float(np.log(v)) for v in (3.0, 0.7, 1.8, 0.33, 0.65, 2 / 3, 0.27, 0.81)))
NUCLEI = Scales(0.0, *(float(np.log(v)) for v in (2.5, 1.0, 0.2, 0.7, 0.9, 3.0, 1.5, 1.5)))
PARTON_WIDTHS = Scales(10.0, 1.0, 1.0, *[0.03] * 6)
NUCLEAR_WIDTHS = Scales(10.0, 0.0, 0.0, 1.0, *[0.0] * 5)

# Deviations of a nucleus over those that the evidence finds. It finds them where events are many,
# at the ridge and the Delta, and the far detector asks what near data do not see. Chosen on four
# nuclei (docs/calibration.md): spectra would take more, total cross sections less
UNSEEN = 1.05

# T- and 2 LL of a nucleus over T+ where Q^2 is large, about what partons and nucleons have (sea
# quarks and F_L), how much larger the own deviations of T- are, and Q^2 in GeV^2 below which x T+
# and x T- fall with Q^2, as photoabsorption is finite, while x LL does not (Adler, PCAC)
MINUS, LONGITUDINAL = 0.03, 0.35
OWN_WEIGHTS = (1.0, 3.0, 1.0)
PHOTON_Q2 = 0.02


def scale_priors(nodes: NodeGrid) -> tuple[Scales, Scales]:
    """Return medians and widths: of partons, or of a nucleus where nodes follow ridges."""
    if isinstance(nodes.chart, CubeRoot):
        return PARTONS, PARTON_WIDTHS
    return NUCLEI, NUCLEAR_WIDTHS


class Process(NamedTuple):
    """A fitted Gaussian process.

    Attributes:
        mean: posterior mean of w on the nodes, shape (3 n_nodes,).
        prior_mean: the same before the data.
        posterior: the prior conditioned on the data.
        scales: the maximum of evidence times prior, with deviations of a nucleus `UNSEEN` larger.
        evidence: log evidence there.
    """

    mean: Array
    prior_mean: Array
    posterior: Conditioned
    scales: Scales
    evidence: float


def kernel_matrix(points: Array, length: Array | float, kernel: Kernel) -> Array:
    """Return the correlations of points on a line (Rasmussen and Williams, Eqs. 4.9 and 4.17)."""
    r = jnp.abs(points[:, None] - points) / length
    if kernel == "matern32":
        return (1.0 + np.sqrt(3.0) * r) * jnp.exp(-np.sqrt(3.0) * r)
    if kernel == "matern52":
        return (1.0 + np.sqrt(5.0) * r + 5.0 / 3.0 * r**2) * jnp.exp(-np.sqrt(5.0) * r)
    return jnp.exp(-0.5 * r**2)


def prior_size(nodes: NodeGrid, scales: Scales) -> Array:
    """Return about the size of structure functions on the nodes, shape (n_nodes,).

    For partons m = size [(1-x)^fall + 0.003] Q^2/(Q^2 + q2). The small constant keeps deviations
    near x = 1 possible, where relative ones would vanish. For a nucleus

        m = size n (1 - x')^fall,    x' = Q^2/(Q^2 + max(W^2 - M^2, 0) + q2),

    with n of `nuclear_size`: a form factor's fall at the quasi-elastic ridge, none at large W
    (Bloom and Gilman, Phys. Rev. Lett. 25, 1140), and no fall towards Q^2 = 0. Beyond the ridge it
    is times the size of the continuum.
    """
    x, q2 = jnp.asarray(nodes.x), jnp.asarray(nodes.q2)
    if not isinstance(nodes.chart, CubeRoot):
        scale = jnp.maximum(q2 * (1.0 / x - 1.0), 0.0) + jnp.exp(scales.q2)
        left = (scale / (q2 + scale)) ** jnp.exp(scales.fall)
        size = nuclear_size(nodes.x, nodes.q2)
        if scales.continuum:
            size = size * (1.0 + (np.exp(scales.continuum) - 1.0) * beyond_ridge(nodes))
        return jnp.exp(scales.size) * size * left
    shape = jnp.maximum(1.0 - x, 1e-12) ** jnp.exp(scales.fall) + 3e-3
    return jnp.exp(scales.size) * shape * q2 / (q2 + jnp.exp(scales.q2))


def beyond_ridge(nodes: NodeGrid) -> Floats:
    """Return one beyond the quasi-elastic ridge and zero at it, shape (n_nodes,)."""
    nu = nodes.q2 / (2.0 * NUCLEON_MASS * nodes.x)
    away = (nu - nodes.q2 / (2.0 * NUCLEON_MASS)) / np.sqrt(nu**2 + nodes.q2)
    end: Floats = expit(RIDGE_SLOPE * (away - RIDGE_END))
    return end


def prior_basis(nodes: NodeGrid, scales: Scales, lepton: Lepton) -> Array:
    """Return B on the nodes, shape (n_nodes, 3, 3): b_i = sum_k B_ik where nothing deviates.

    With m of `prior_size`, B_ik = m delta_ik for partons. For a nucleus the columns are what the
    lepton sees of the tensors with

        x (T+, T-, 2 LL) = m (1+r)^2/4 (f, 0.03 f, 0.35),    f = Q^2/(Q^2 + 0.02 GeV^2),

    so that b2 is about m where T+ dominates, as it does in backward scattering.
    """
    size = prior_size(nodes, scales)
    if isinstance(nodes.chart, CubeRoot):
        return size[:, None, None] * jnp.eye(3)
    x, q2 = nodes.x, nodes.q2
    seen = bernstein_coefficients(x, q2, lepton.mass, lepton.sign)
    columns = jnp.stack([seen.plus, seen.minus, 0.5 * jnp.asarray(seen.ll)], axis=-1)
    transverse = q2 / (q2 + PHOTON_Q2)
    parts = np.stack([transverse, MINUS * transverse, np.full_like(q2, LONGITUDINAL)], axis=-1)
    scale = size / x * (0.5 * (1.0 + momentum_over_energy(x, q2))) ** 2
    return scale[:, None, None] * columns * parts[:, None, :]


def prior_mean(nodes: NodeGrid, scales: Scales, lepton: Lepton) -> Array:
    """Return the prior mean of w on the nodes, shape (3 n_nodes,)."""
    return prior_basis(nodes, scales, lepton).sum(axis=-1).ravel()


def prior_covariance(nodes: NodeGrid, scales: Scales, kernel: Kernel, lepton: Lepton) -> Covariance:
    """Return the map that applies the prior covariance of w to columns, shape (3 n_nodes, k)."""
    u, v = jnp.asarray(nodes.u), jnp.asarray(nodes.v)
    basis = prior_basis(nodes, scales, lepton).reshape(len(u), len(v), 3, 3)
    own_weights = np.ones(3) if isinstance(nodes.chart, CubeRoot) else np.square(OWN_WEIGHTS)

    def pair(size: Array | float, length_u: Array | float, length_v: Array | float) -> Covariance:
        along_u = jnp.exp(2.0 * size) * kernel_matrix(u, jnp.exp(length_u), kernel)
        along_v = kernel_matrix(v, jnp.exp(length_v), kernel)
        return lambda t: jnp.einsum("ab,cd,bdik->acik", along_u, along_v, t, optimize="optimal")

    common = pair(scales.common, scales.common_u, scales.common_v)
    own = pair(scales.common + scales.own, scales.own_u, scales.own_v)

    def apply(columns: Array) -> Array:
        table = jnp.einsum(
            "uvik,uvic->uvkc", basis, columns.reshape(len(u), len(v), 3, -1), optimize="optimal"
        )
        shared = common(table.sum(axis=2, keepdims=True))
        deviation = shared + own_weights[:, None] * own(table)
        return jnp.einsum("uvik,uvkc->uvic", basis, deviation).reshape(columns.shape)

    return apply


def log_evidence(
    data: LinearData,
    nodes: NodeGrid,
    scales: Scales,
    kernel: Kernel = "matern32",
    lepton: Lepton = MUON,
) -> Array:
    """Return log N(y; A m, A C A^T + 1) (Rasmussen and Williams, Eq. 2.30)."""
    design = data.design
    outer = design @ prior_covariance(nodes, scales, kernel, lepton)(design.T)
    root = jnp.linalg.cholesky(outer + jnp.eye(len(outer)))
    z = solve_triangular(
        root, data.observed - design @ prior_mean(nodes, scales, lepton), lower=True
    )
    constant = 0.5 * len(design) * np.log(2.0 * np.pi)
    return -0.5 * z @ z - jnp.log(jnp.diag(root)).sum() - constant


def fit_process(
    data: LinearData,
    nodes: NodeGrid,
    kernel: Kernel = "matern32",
    scales: Scales | None = None,
    lepton: Lepton = MUON,
    record: Callable[[int], None] | None = None,
) -> Process:
    """Condition the process on near-detector data, its scales at the evidence's maximum.

    Args:
        data: whitened near-detector data.
        nodes: the nodes.
        kernel: Matern 3/2 allows the kinks that parton distributions have; the others are smoother.
        scales: use these instead of maximising.
        lepton: what sees the structure functions.
        record: called as record(evaluations) after each evaluation of the evidence.
    """
    if scales is None:
        scales = _maximize(data, nodes, kernel, lepton, record)
    posterior = condition(prior_covariance(nodes, scales, kernel, lepton), data.design)
    start = prior_mean(nodes, scales, lepton)
    mean = start + posterior.regress(data.observed - data.design @ start)
    evidence = log_evidence(data, nodes, scales, kernel, lepton)
    return Process(mean, start, posterior, scales, float(evidence))


def _maximize(
    data: LinearData,
    nodes: NodeGrid,
    kernel: Kernel,
    lepton: Lepton,
    record: Callable[[int], None] | None,
) -> Scales:
    """Maximise evidence times prior over the scales by L-BFGS; deviations of a nucleus widened."""
    middle, (_, widths) = first_scales(data, nodes, kernel, lepton), scale_priors(nodes)
    free = [name for name in FITTED if getattr(widths, name)]
    start, width = (np.array([getattr(own, name) for name in free]) for own in (middle, widths))

    @jax.jit
    def objective(values: Array, data: LinearData) -> tuple[Array, Array]:
        def cost(values: Array) -> Array:
            away = (values - start) / width
            scales = middle._replace(**dict(zip(free, values, strict=True)))
            return 0.5 * away @ away - log_evidence(data, nodes, scales, kernel, lepton)

        return jax.value_and_grad(cost)(values)

    count = 0

    def evaluate(values: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal count
        count += 1
        value, gradient = objective(jnp.asarray(values), data)
        if record is not None:
            record(count)
        if not np.isfinite(value):  # the covariance was singular to rounding: step back
            return 1e300, np.zeros_like(values)
        return float(value), np.asarray(gradient)

    bounds = [(v - 4.0, v + 4.0) for v in start]
    options = {"maxiter": STEPS, "ftol": 1e-7}
    best = minimize(evaluate, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    found = middle._replace(**dict(zip(free, map(float, best), strict=True)))
    if isinstance(nodes.chart, CubeRoot):
        return found
    return found._replace(common=found.common + float(np.log(UNSEEN)))


def first_scales(
    data: LinearData, nodes: NodeGrid, kernel: Kernel = "matern32", lepton: Lepton = MUON
) -> Scales:
    """Return the medians, with the size of the data, and of a nucleus with their continuum.

    That is the one of `CONTINUA` with the largest evidence.
    """
    medians, _ = scale_priors(nodes)

    def sized(scales: Scales) -> Scales:
        image = np.asarray(data.design @ prior_mean(nodes, scales, lepton))
        size = np.log(abs(image @ np.asarray(data.observed)) / (image @ image))
        return scales._replace(size=float(size))

    if isinstance(nodes.chart, CubeRoot):
        return sized(medians)
    starts = [sized(medians._replace(continuum=float(np.log(size)))) for size in CONTINUA]
    return max(starts, key=lambda own: float(log_evidence(data, nodes, own, kernel, lepton)))
