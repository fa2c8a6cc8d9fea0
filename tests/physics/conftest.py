"""Parton distributions in closed form, through the same protocol as tabulated ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax.numpy as jnp
import pytest
from jax import Array
from jax.typing import ArrayLike

type Distribution = Callable[[Array, Array], Array]


@dataclass(frozen=True, eq=False)
class AnalyticPDF:
    """Give x f(x, Q^2) of the named flavors by formula, and zero for all others."""

    distributions: Mapping[int, Distribution]
    name: str = "analytic"
    q2_min: float = 1e-3
    flavors: tuple[int, ...] = (-4, -3, -2, -1, 1, 2, 3, 4)

    def xf(self, x: ArrayLike, q2: ArrayLike, flavors: tuple[int, ...]) -> Array:
        """Return x f(x, Q^2), shape broadcast(x, q2) + (len(flavors),)."""
        x, q2 = jnp.broadcast_arrays(jnp.asarray(x), jnp.asarray(q2))
        zero = jnp.zeros_like(x)
        rows = [self.distributions[f](x, q2) if f in self.distributions else zero for f in flavors]
        return jnp.stack(rows, axis=-1)


@pytest.fixture(scope="session")
def analytic_pdf() -> Callable[[Mapping[int, Distribution]], AnalyticPDF]:
    """Build a PDF from formulas."""
    return AnalyticPDF


@pytest.fixture(scope="session")
def nucleon_pdf() -> AnalyticPDF:
    """A proton with every flavor different, and s, c unequal to their antiquarks."""
    powers = {
        1: (1.3, 0.7, 4.0),
        2: (2.1, 0.6, 3.0),
        3: (0.2, 0.1, 6.0),
        4: (0.1, 0.2, 8.0),
        -1: (0.35, 0.0, 7.0),
        -2: (0.25, 0.0, 8.0),
        -3: (0.15, 0.1, 9.0),
        -4: (0.05, 0.2, 7.0),
    }

    def distribution(a: float, b: float, c: float) -> Distribution:
        return lambda x, q2: a * x**b * (1.0 - x) ** c * q2 / (q2 + 0.5)

    return AnalyticPDF({pid: distribution(*abc) for pid, abc in powers.items()})
