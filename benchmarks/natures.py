"""An ensemble of natures that the Gaussian process's intervals are tried on.

Partons: both embedded tables, in both forms and for several nuclei, modifications drawn at random,
and partons of a simple shape of their own. Nuclei: the built-in one with other momenta, form
factors, axial masses, couplings and scaling functions. The priors of the Gaussian process were
chosen on some of them; those that are called held out had no part in that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammaln
from jax.typing import ArrayLike

from bayesxs.inputs.pdf import PDF, embedded_ct18nnlo, embedded_les_houches
from bayesxs.physics.delta_resonance import Delta
from bayesxs.physics.modification import Modification
from bayesxs.physics.nucleus import Nucleus
from bayesxs.physics.structure_functions import PARTONS, PartonFunctions, Positive


@dataclass(frozen=True)
class Shape:
    """Partons without evolution equations: powers of x and 1-x that drift with ln Q^2.

    x u_v = 2 x^a (1-x)^b/B(a, b+1), d_v alike, sea = S x^(-lambda L) (1-x)^eta, all times
    Q^2/(Q^2 + s); b and eta grow with ln Q^2, and so does the sea's rise.
    """

    up: tuple[float, float]
    down: tuple[float, float]
    sea: float
    rise: float
    fall: float
    drift: float
    scale: float
    strange: float
    name: str = "shape"
    q2_min: float = 0.0
    flavors: tuple[int, ...] = PARTONS

    @classmethod
    def drawn(cls, seed: int) -> Shape:
        """Draw one from flat ranges about what fits have."""
        u = np.random.default_rng(seed).uniform
        return cls(
            (u(0.5, 0.8), u(2.8, 3.8)),
            (u(0.6, 1.0), u(3.5, 5.0)),
            u(0.1, 0.25),
            u(0.0, 0.25),
            u(6.0, 9.0),
            u(0.3, 0.8),
            u(0.2, 0.8),
            u(0.2, 0.7),
        )

    def xf(self, x: ArrayLike, q2: ArrayLike, flavors: tuple[int, ...]) -> Array:
        """Return x f(x, Q^2), shape broadcast(x, q2) + (len(flavors),)."""
        x, q2 = jnp.broadcast_arrays(jnp.asarray(x, float), jnp.asarray(q2, float))
        log, rest = jnp.log((q2 + 0.5) / 2.5), jnp.maximum(1.0 - x, 1e-12)

        def valence(number: float, a: float, b: float) -> Array:
            power = b + self.drift * log
            beta = jnp.exp(gammaln(a) + gammaln(power + 1.0) - gammaln(a + power + 1.0))
            return number * x**a * rest**power / beta

        rising = self.rise * jnp.maximum(log + 1.5, 0.0) / 1.5
        sea = self.sea * x**-rising * rest ** (self.fall + self.drift * log)
        charm, strange = 0.02 * sea * jnp.maximum(log + 0.5, 0.0), self.strange * sea
        table = {-1: sea, -2: 0.8 * sea, 3: strange, -3: strange, 4: charm, -4: charm}
        table |= {1: valence(1.0, *self.down) + sea, 2: valence(2.0, *self.up) + sea}
        low = q2 / (q2 + self.scale)
        return jnp.stack([low * table[flavor] for flavor in flavors], axis=-1)


def drawn_modification(seed: int, nucleons: int) -> Modification:
    """Draw low-Q^2 suppression (0.05 to 1 GeV^2), xF3 (0.85 to 1) and the EMC effect (or none)."""
    rng = np.random.default_rng(seed)
    scale = float(np.exp(rng.uniform(np.log(0.05), 0.0)))
    return Modification(scale, rng.uniform(0.85, 1.0), nucleons if rng.uniform() < 0.5 else 0)


def natures(lepton_mass: float) -> dict[str, Callable[[], Positive]]:
    """Return the makers of all natures by name."""

    def make(pdf: Callable[[], PDF], protons: int, neutrons: int, **more: Any) -> Any:
        choice = {"form": "helicity"} | more
        return lambda: Positive(PartonFunctions(pdf(), protons, neutrons, lepton_mass, **choice))

    ct18, benchmark = embedded_ct18nnlo, embedded_les_houches
    return {
        "CT18, argon": make(ct18, 18, 22),
        "CT18, argon, collinear": make(ct18, 18, 22, form="collinear"),
        "Les Houches, argon": make(benchmark, 18, 22),
        "Les Houches, protons": make(benchmark, 1, 0),
        "CT18, argon, modified": make(ct18, 18, 22, modification=drawn_modification(1, 40)),
        "shape, argon": make(lambda: Shape.drawn(2), 18, 22),
        "Les Houches, CH, modified (held out)": make(
            benchmark, 7, 6, modification=drawn_modification(3, 13)
        ),
        "shape, iron (held out)": make(lambda: Shape.drawn(4), 26, 30),
    }


def nuclei(lepton_mass: float) -> dict[str, Callable[[], Any]]:
    """Return the makers of nuclei by name."""

    def make(pdf: Callable[[], PDF], protons: int, neutrons: int, **more: Any) -> Any:
        return lambda: Nucleus(pdf(), protons, neutrons, **more).structure_functions(lepton_mass)

    ct18, benchmark = embedded_ct18nnlo, embedded_les_houches
    light = {"fermi_momentum_GeV": 0.22, "energy_shift_GeV": 0.02, "axial_mass_GeV": 1.2}
    carbon = {"fermi_momentum_GeV": 0.228, "energy_shift_GeV": 0.02}
    heavy = {"fermi_momentum_GeV": 0.26, "axial_mass_GeV": 0.95}
    oxygen = {"fermi_momentum_GeV": 0.21, "axial_mass_GeV": 1.15, "delta": Delta(1.05, 1.05)}
    lead = {"quasi_elastic": "fermi_gas", "fermi_momentum_GeV": 0.265, "vector": "dipole"}
    weak = {"delta": Delta(0.9, 1.1), "transition_GeV": (1.4, 1.7)}
    return {
        "argon": make(ct18, 18, 22),
        "argon, Fermi gas": make(ct18, 18, 22, quasi_elastic="fermi_gas"),
        "argon, k_F 0.22, M_A 1.2": make(ct18, 18, 22, **light),
        "carbon, Les Houches": make(benchmark, 6, 6, **carbon),
        "argon, Les Houches, k_F 0.26, M_A 0.95": make(benchmark, 18, 22, **heavy),
        "argon, weak Delta, late partons": make(ct18, 18, 22, **weak),
        "oxygen, M_A 1.15 (held out)": make(ct18, 8, 8, **oxygen),
        "lead, Fermi gas, dipoles": make(benchmark, 82, 126, **lead),
    }
