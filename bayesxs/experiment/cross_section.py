"""The learned cross section: structure functions on nodes, what is open of them, and its file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Final

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from jax.typing import ArrayLike

from bayesxs.detector.grid import NodeGrid
from bayesxs.errors import InputError
from bayesxs.learning.near_term import NearTerm
from bayesxs.learning.network import Average
from bayesxs.storage.netcdf import read_tree, write_netcdf
from bayesxs.types import Floats as Float


def _none() -> Float:
    return np.zeros((0, 0, 3))


@dataclass(frozen=True)
class LearnedTarget:
    """A learned cross section on the nodes, and how it may differ; unit near-detector rate.

    Attributes:
        nodes: x and Q^2 of the nodes.
        mean: structure functions (b0, b1, b2), shape (n_nodes, 3).
        modes: change per unit of each cross-section nuisance, shape (K, n_nodes, 3).
        flux: how it follows each flux nuisance, shape (J, n_nodes, 3).
        response: how it follows each response parameter that the near detector shares, shape
            (R, n_nodes, 3).
        sizes: of all directions in the far density, over its statistical error.
        words: about the source, for people.
        kept: part of the far variance that the modes hold.
        negative_mass: mean fraction of the near rate that draws of the modes make negative.
        effective_parameters: number that the fit takes from the near data; None where unknown.
        family: of targets that have their modes in common, "neutrinos" or "antineutrinos"; empty
            where modes are the target's own.
        ratio_modes: last modes of the family that leave the far spectra of its first target as
            they are, and change what other leptons see.
        rate: factor that gives values the size that they have beside those of the family's other
            targets.
        flux_pairs: how it follows each product of two flux nuisances (0 0, 0 1, ..., 1 1, ...),
            shape (J (J + 1)/2, n_nodes, 3); empty where it follows to first order.
        near: the likelihood of the flux nuisances that the near data leave, which a joint model
            with the far data takes; None where they inform on the cross section alone.
        rates: by what the size of the cross section is known to which modes change counts: "near",
            the target's own near rate; "family", those of others of its family; empty where modes
            are of the shapes of far spectra alone.
    """

    nodes: NodeGrid
    mean: Float
    modes: Float = field(default_factory=_none)
    flux: Float = field(default_factory=_none)
    response: Float = field(default_factory=_none)
    sizes: Float = field(default_factory=lambda: np.zeros(0))
    words: str = ""
    kept: float = 1.0
    negative_mass: float = 0.0
    effective_parameters: float | None = None
    family: str = ""
    ratio_modes: int = 0
    rate: float = 1.0
    flux_pairs: Float = field(default_factory=_none)
    near: NearTerm | None = None
    rates: str = ""

    def dataset(self) -> xr.Dataset:
        """Return what a file holds of it."""
        notes: dict[str, str | float] = {
            "words": self.words,
            "kept": self.kept,
            "negative_mass": self.negative_mass,
        }
        if self.effective_parameters is not None:
            notes["effective_parameters"] = self.effective_parameters
        if self.family:
            notes |= {"family": self.family, "ratio_modes": self.ratio_modes, "rate": self.rate}
        if self.rates:
            notes["rates"] = self.rates
        shape = self.mean.shape
        dims = {"modes": "mode", "flux": "flux_mode", "response": "response_mode"}
        if self.near is not None:
            dims["flux_pairs"] = "flux_pair"
        stacked = {
            name: ((dim, "node", "function"), getattr(self, name).reshape(-1, *shape))
            for name, dim in dims.items()
        }
        return xr.Dataset(
            {"mean": (("node", "function"), self.mean)}
            | stacked
            | {"sizes": (("direction",), self.sizes)}
            | _near_arrays(self.near),
            {"x": ("node", self.nodes.x), "q2": ("node", self.nodes.q2)},
            notes,
        )


@dataclass(frozen=True)
class LearnedCrossSection:
    """The cross section learned from near-detector data, of every target.

    Attributes:
        targets: by name: "mu", "anti_mu", "e", ...
        flux_modes: relative changes of the flux that the cross section follows, shape (J, E).
        energies: shared energies of these changes in GeV, shape (E,).
        source: of the modes, "none" without.
        networks: that were trained, by target; empty where it was read from a file.
        ratios: of total cross sections whose leptons share five functions, by names such as
            "e_over_mu"; see `bayesxs.cross_section_ratio`.

    Example:
        >>> list(xsec.targets)
        ['mu']
        >>> xsec.structure_functions("mu")(np.array([0.1, 0.3]), 2.0).shape
        (2, 3)
        >>> xsec.save("cross_section.nc")
    """

    targets: Mapping[str, LearnedTarget]
    flux_modes: Float
    energies: Float
    source: str = "none"
    networks: Mapping[str, Average] = field(default_factory=dict)
    ratios: Mapping[str, xr.Dataset] = field(default_factory=dict)

    def structure_functions(self, target: str = "") -> Callable[[ArrayLike, ArrayLike], Array]:
        """Return the mean as a callable of (x, Q^2 in GeV^2), values (b0, b1, b2), shape (..., 3).

        Args:
            target: name; may be left out where there is one.

        Raises:
            InputError: there is no such target.
        """
        name = target or next(iter(self.targets))
        if name not in self.targets or (not target and len(self.targets) > 1):
            allowed = f"one of {', '.join(self.targets)}"
            raise InputError.at("structure_functions", "target", target, allowed)
        if name in self.networks:
            return self.networks[name]
        own = self.targets[name]
        return lambda x, q2: jnp.asarray(own.nodes.interpolate(own.mean, x, q2))

    def save(self, path: str | PathLike[str]) -> None:
        """Write mean and modes to a netCDF file."""
        groups = {f"target/{name}": own.dataset() for name, own in self.targets.items()}
        groups["flux"] = xr.Dataset(
            {"modes": (("flux_mode", "energy"), self.flux_modes)}, {"energy": self.energies}
        )
        groups |= {f"ratio/{name}": own for name, own in self.ratios.items()}
        tree = xr.DataTree.from_dict(groups)
        tree.attrs["source"] = self.source
        write_netcdf(Path(path), tree)


# Dimensions of the arrays of a near term in a file
_NEAR: Final = {
    "center": ("flux_mode",),
    "whiten": ("width", "flux_mode"),
    "coefficients": ("monomial",),
    "error": (),
}


def _near_arrays(term: NearTerm | None) -> dict[str, tuple[tuple[str, ...], Float]]:
    if term is None:
        return {}
    return {f"near_{n}": (dims, np.asarray(getattr(term, n))) for n, dims in _NEAR.items()}


def _near_of(data: xr.Dataset) -> NearTerm | None:
    if "near_center" not in data:
        return None
    center, whiten, coefficients, error = (jnp.asarray(data[f"near_{n}"].values) for n in _NEAR)
    return NearTerm(center, whiten, coefficients, error)


def read_cross_section(
    path: Path, nodes: Mapping[str, NodeGrid], networks: Mapping[str, Average] | None = None
) -> LearnedCrossSection:
    """Read what `LearnedCrossSection.save` wrote.

    Args:
        path: the file.
        nodes: of each target that is wanted.
        networks: trained ones that belong to it.

    Raises:
        InputError: it is no such file, lacks a target, or its nodes are others.
    """
    tree = read_tree(path)
    targets = {}
    for name, own in nodes.items():
        if f"/target/{name}" not in tree.groups:
            raise InputError.at(path, "target", name, "the file has no such cross section")
        data = tree[f"target/{name}"].dataset
        same = data.sizes["node"] == own.size and np.allclose(data["x"].values, own.x, rtol=1e-9)
        if not same:
            allowed = f"{own.size} nodes: grid and energy range must be those it was learned with"
            raise InputError.at(path, "nodes", data.sizes["node"], allowed)
        notes = data.attrs
        effective = notes.get("effective_parameters")
        targets[name] = LearnedTarget(
            own,
            data["mean"].values,
            data["modes"].values,
            data["flux"].values,
            data["response"].values,
            data["sizes"].values,
            words=str(notes.get("words", "")),
            kept=float(notes.get("kept", 1.0)),
            negative_mass=float(notes.get("negative_mass", 0.0)),
            effective_parameters=None if effective is None else float(effective),
            family=str(notes.get("family", "")),
            ratio_modes=int(notes.get("ratio_modes", 0)),
            rate=float(notes.get("rate", 1.0)),
            flux_pairs=data["flux_pairs"].values if "flux_pairs" in data else _none(),
            near=_near_of(data),
            rates=str(notes.get("rates", "")),
        )
    flux = tree["flux"].dataset
    return LearnedCrossSection(
        targets,
        flux["modes"].values,
        flux["energy"].values,
        str(tree.attrs.get("source", "none")),
        networks or {},
        {str(name): own.dataset for name, own in tree["ratio"].children.items()}
        if "ratio" in tree.children
        else {},
    )
