"""Natures: structure functions of a nucleus for every neutrino and lepton."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from jax import Array
from jax.typing import ArrayLike

from bayesxs.inputs.pdf import PDF
from bayesxs.physics.modification import Modification
from bayesxs.physics.structure_functions import (
    PARTONS,
    Form,
    PartonFunctions,
    Positive,
    StructureFunctions,
)


class Nature(Protocol):
    """Anything that gives structure functions for a lepton mass and a sign of the neutrino.

    One whose cross section does not end at x = 1 says where it does in an attribute `x_max`.
    """

    def structure_functions(self, lepton_mass: float, antineutrino: bool) -> StructureFunctions:
        """Return a callable of (x, Q^2 in GeV^2) with values (b0, b1, b2); lepton mass in GeV."""


def x_max(nature: object) -> float:
    """Return the x at which a nature's cross section ends: its `x_max` if it has one, else 1."""
    return float(getattr(nature, "x_max", 1.0))


@dataclass(frozen=True)
class OwnPDF:
    """Parton distributions from a callable.

    Attributes:
        function: of x, Q^2 in GeV^2 and a tuple of PDG ids; returns x f(x, Q^2) of shape
            broadcast(x, q2) + (len(ids),), in operations of JAX.
        name: shown in messages.
    """

    function: Callable[[ArrayLike, ArrayLike, tuple[int, ...]], Array]
    name: str = "own PDF"
    q2_min: float = 0.0
    flavors: tuple[int, ...] = PARTONS

    def xf(self, x: ArrayLike, q2: ArrayLike, flavors: tuple[int, ...]) -> Array:
        """Return x f(x, Q^2), shape broadcast(x, q2) + (len(flavors),)."""
        return self.function(x, q2, flavors)


type XF = Callable[[ArrayLike, ArrayLike, tuple[int, ...]], Array]


def as_pdf(pdf: PDF | XF) -> PDF:
    """Return an object with `xf`; a callable xf(x, Q^2, ids) becomes an `OwnPDF`."""
    return OwnPDF(pdf) if callable(pdf) else pdf


@dataclass(frozen=True)
class QuarkParton:
    """Leading-order quark-parton model of a nucleus, projected onto non-negative cross sections.

    F2^p = 2x (d + s + ubar + cbar), x F3^p = 2x (d + s - ubar - cbar), the neutron by isospin,
    antineutrinos by charge conjugation (Bjorken-Paschos 1969; per nucleon as in Ruiz et al.,
    arXiv:2301.07715). Structure functions are per nucleus.

    Attributes:
        pdf: parton distributions: an object with `xf`, such as `bayesxs.ct18nnlo()`, or a callable
            xf(x, q2, ids) of PDG ids.
        protons: Z.
        neutrons: N.
        form: "helicity", quarks are T+ and antiquarks T-; or "collinear", 2x F1 = F2
            (arXiv:2412.16303).
        modification: how nature departs from this.

    Example:
        >>> carbon = bayesxs.QuarkParton(bayesxs.ct18nnlo(), protons=6, neutrons=6)
        >>> carbon.structure_functions(0.1057, antineutrino=False)(0.3, 4.0).shape
        (3,)
    """

    pdf: PDF | XF
    protons: float = 18
    neutrons: float = 22
    form: Form = "helicity"
    modification: Modification | None = None

    def structure_functions(self, lepton_mass: float, antineutrino: bool) -> Positive:
        """Return a callable of (x, Q^2 in GeV^2) with values (b0, b1, b2); lepton mass in GeV."""
        return Positive(
            PartonFunctions(
                as_pdf(self.pdf),
                self.protons,
                self.neutrons,
                lepton_mass,
                antineutrino,
                self.modification,
                self.form,
            )
        )
