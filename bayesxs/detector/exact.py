"""Cross sections at the points of a quadrature, without nodes: what nature makes data with."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import jax
import numpy as np

from bayesxs.detector.grid import EnergyGrid
from bayesxs.detector.operator import Quadrature, fold, padded
from bayesxs.physics.cross_section import differential_cross_section
from bayesxs.physics.kinematics import PhaseSpace
from bayesxs.physics.structure_functions import Positive, StructureFunctions
from bayesxs.types import Floats


def exact_cross_section(sf: StructureFunctions, quadrature: Quadrature) -> Floats:
    """Evaluate d2s/dE_l dz at every quadrature point, in 1e-38 cm^2/GeV, without nodes; shape (p,).

    The data that nature makes come from here, and tests compare the operator with it.
    """
    q = quadrature
    evaluate = _evaluator(sf, q.lepton_mass, q.space)
    cross_section = np.empty(len(q.row))
    for part, points in padded(q):
        cross_section[part] = np.asarray(evaluate(*points))[: len(q.row[part])]
    return cross_section


def _evaluator(
    sf: StructureFunctions, lepton_mass: float, space: PhaseSpace
) -> Callable[..., jax.Array]:
    """Return d2s/dE_l dz as a compiled function of E, E_l and z."""
    leaves = jax.tree.leaves(sf)
    if leaves and all(isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves):
        # Such as a network: with its weights in a program, another seed would compile it anew
        return partial(_of_arrays, sf, lepton_mass=lepton_mass, space=space)
    if isinstance(sf, Positive):  # the truth of a target, evaluated in many quadratures
        return _of_truth(_Same(sf), lepton_mass, space)
    return _of_function(sf, lepton_mass, space)


@partial(jax.jit, static_argnames=("lepton_mass", "space"))
def _of_arrays(
    sf: StructureFunctions,
    energy: jax.Array,
    lepton_energy: jax.Array,
    z: jax.Array,
    lepton_mass: float,
    space: PhaseSpace,
) -> jax.Array:
    return differential_cross_section(sf, energy, lepton_energy, z, lepton_mass, space)


def _of_function(
    sf: StructureFunctions, lepton_mass: float, space: PhaseSpace
) -> Callable[..., jax.Array]:
    @jax.jit
    def evaluate(energy: jax.Array, lepton_energy: jax.Array, z: jax.Array) -> jax.Array:
        return differential_cross_section(sf, energy, lepton_energy, z, lepton_mass, space)

    return evaluate


class _Same:
    """Structure functions as a key of a cache: they equal themselves alone."""

    def __init__(self, sf: StructureFunctions) -> None:
        self.sf = sf

    def __hash__(self) -> int:
        return id(self.sf)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.sf is self.sf


@lru_cache(maxsize=8)
def _of_truth(sf: _Same, lepton_mass: float, space: PhaseSpace) -> Callable[..., jax.Array]:
    return _of_function(sf.sf, lepton_mass, space)


def exact_response(sf: StructureFunctions, quadrature: Quadrature, energies: EnergyGrid) -> Floats:
    """Return T[row, E] of structure functions evaluated at every point, without nodes."""
    return fold(quadrature, energies, exact_cross_section(sf, quadrature))
