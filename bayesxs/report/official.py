"""Posteriors in the form of official results: a ROOT file that numcmctools loads and re-weights.

The form is that of github.com/NuMCMCTools/NuMCMCTools: a TTree `mcmc` of six parameters, a TList
`priors` of TNamed, whose title is a distribution and what it is of, and a TObjString `citation`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from math import hypot
from typing import Final

import numpy as np
import uproot
import xarray as xr
from uproot.models.TNamed import Model_TNamed
from uproot.models.TObject import Model_TObject
from uproot.writing.identify import to_TList, to_TObjString

from bayesxs.errors import InputError
from bayesxs.inference.posterior import PUBLIC_NAMES
from bayesxs.inference.priors import Flat, Gaussian, Prior
from bayesxs.physics.oscillation import OscillationParameters
from bayesxs.types import Floats as Float

TREE: Final = "mcmc"

# Of each branch, what a prior of this package is flat or Gaussian in
_OF: Final = {
    "DeltaCP": ("dcp", "DeltaCP"),
    "Theta13": ("s2_13", "sin^2(Theta13)"),
    "Theta23": ("s2_23", "sin^2(Theta23)"),
    "Theta12": ("s2_12", "sin^2(Theta12)"),
    "Deltam2_32": ("dm31", "Deltam2_32"),
    "Deltam2_21": ("dm21", "Deltam2_21"),
}
_SQUARES: Final = ("s2_12", "s2_13", "s2_23")


def posterior_root(
    posterior: xr.DataTree,
    priors: Mapping[str, Prior],
    fixed: OscillationParameters,
    citation: str,
) -> bytes:
    """Return a ROOT file of a posterior, in the form of official results.

    Branches are DeltaCP in [-pi, pi), Theta13, Theta23, Theta12 in rad, Deltam2_32 = dm31 - dm21,
    negative in the inverted ordering, and Deltam2_21 in eV^2; one entry for each draw, chain after
    chain. A flat prior of dm31 is one of Deltam2_32; of a Gaussian one, the marginal is given.
    numcmctools re-weights priors that are uniform.

    Args:
        posterior: with the group posterior, over chain and draw: sin2_theta12, sin2_theta13,
            sin2_theta23, dcp, dm21 and dm31, those of them that are free.
        priors: of the free parameters, by their names in the model.
        fixed: values of the parameters that are not free.
        citation: of the work, for users to cite.

    Raises:
        InputError: a parameter has draws but no prior, or a prior but no draws, a draw lies outside
            of its range, or the citation is not ASCII.
    """
    drawn = posterior["posterior"].to_dataset()
    sizes = {name: drawn.sizes[name] for name in ("chain", "draw")}
    values: dict[str, Float] = {}
    for name, public in PUBLIC_NAMES.items():
        if (public in drawn) != (name in priors):
            allowed = "both or neither of draws and prior"
            raise InputError.at(
                "posterior", public, "draws" if public in drawn else "prior", allowed
            )
        if public in drawn:
            values[name] = np.asarray(drawn[public].transpose("chain", "draw"), float).ravel()
        else:
            values[name] = np.full(sizes["chain"] * sizes["draw"], float(getattr(fixed, name)))
        inside = (values[name] >= 0.0) & (values[name] <= 1.0)
        if not np.all(inside if name in _SQUARES else np.isfinite(values[name])):
            allowed = "from 0 to 1" if name in _SQUARES else "finite"
            raise InputError.at("posterior", public, "a draw beyond", allowed)
    if not citation.isascii():
        raise InputError.at("posterior", "citation", citation, "ASCII, for ROOT")
    angles = {name: np.arcsin(np.sqrt(values[name])) for name in _SQUARES}
    branches = {
        "DeltaCP": np.mod(values["dcp"] + np.pi, 2.0 * np.pi) - np.pi,
        "Theta13": angles["s2_13"],
        "Theta23": angles["s2_23"],
        "Theta12": angles["s2_12"],
        "Deltam2_32": values["dm31"] - values["dm21"],
        "Deltam2_21": values["dm21"],
    }
    titles = [_named(branch, _title(branch, priors, fixed)) for branch in branches]
    stream = io.BytesIO()
    with uproot.recreate(stream) as file:
        file.mktree(TREE, {name: column.dtype for name, column in branches.items()})
        file[TREE].extend(branches)
        file["priors"] = to_TList(titles, "priors")
        file["citation"] = to_TObjString(citation)
        return stream.getvalue()


def _title(branch: str, priors: Mapping[str, Prior], fixed: OscillationParameters) -> str:
    """Return the prior of a branch as numcmctools reads it; of a constant one it is uniform."""
    name, variable = _OF[branch]
    prior = priors.get(name, Flat(0.0, 0.0))
    if isinstance(prior, Flat):
        return f"Uniform:{variable}"
    mean, sd = prior.mean, prior.sd
    if name == "dm31":
        other = priors.get("dm21", Gaussian(float(np.asarray(fixed.dm21)), 0.0))
        if isinstance(other, Flat):
            allowed = "Gaussian too, or fixed, where dm31 has a Gaussian prior"
            raise InputError.at("posterior", "prior of dm21", "flat", allowed)
        mean, sd = mean - other.mean, hypot(sd, other.sd)
    return f"Gaussian({mean!r}, {sd!r}):{variable}"


def _named(name: str, title: str) -> Model_TNamed:
    """Return a TNamed."""
    named = Model_TNamed.empty()
    named._bases.append(Model_TObject.empty())
    named._members["fName"] = name
    named._members["fTitle"] = title
    named._deeply_writable = True
    return named
