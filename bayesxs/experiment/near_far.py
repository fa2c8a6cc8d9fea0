"""Near and far data as one model: what near data add to the far likelihood."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from bayesxs.errors import InputError
from bayesxs.experiment.cross_section import LearnedTarget
from bayesxs.experiment.near import NearDetector
from bayesxs.learning.flux_evidence import bilinear, join_flux
from bayesxs.learning.linear_model import Conditioned, LinearData
from bayesxs.types import Floats as Float


def joint_target(
    near: NearDetector,
    flux_modes: Float,
    data: LinearData,
    conditioned: Conditioned,
    prior_mean: Float,
    learned: LearnedTarget,
) -> tuple[LearnedTarget, Conditioned]:
    """Return a learned cross section whose near data inform on the flux, too, and its spread.

    Args:
        near: the near detector.
        flux_modes: relative changes of the flux of unit prior width, shape (J, E).
        data: its data, whitened.
        conditioned: the Gaussian process conditioned on them.
        prior_mean: its mean before them, shape (3 n_nodes,).
        learned: the cross section at the nominal flux.

    Raises:
        InputError: both detectors share a response: near data are linear in it, as in the flux they
            are not.
    """
    response, flux = near.geometry.response, near.geometry.target.near_flux
    if response is not None and response.correlated:
        allowed = "False, or a response that the detectors do not share: correlated=False"
        raise InputError.at(near.geometry.target.name, "uncertainty.joint", True, allowed)
    mean, changes, rate = learned.mean.ravel(), [], []
    for matrix in near.spectrum.matrices([flux * mode for mode in flux_modes]):
        changes.append(jnp.asarray(data.whiten @ matrix))
        rate.append(float((matrix @ mean).sum()))
    prior = conditioned.prior
    bent = bilinear(data, prior, prior_mean, changes, np.array(rate))
    term, follow = join_flux(bent, prior, prior_mean)
    shape = learned.mean.shape
    joint = replace(
        learned,
        mean=follow.mean.reshape(shape),
        flux=follow.single.reshape(-1, *shape),
        flux_pairs=follow.double.reshape(-1, *shape),
        near=term,
        words=f"{learned.words}; near data inform on the flux (log L ± {float(term.error):.2g})",
    )
    return joint, follow.conditioned
