"""Samples in reconstructed energy as objects: DUNE's own, those of a GLoBES folder, likelihoods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from bayesxs.detector.reconstructed import (
    CrossSection,
    ReconstructedSamples,
    reconstructed_samples,
)
from bayesxs.detector.samples import CountedSamples
from bayesxs.inference.counted import CountedLikelihood
from bayesxs.inference.counted import counted_likelihood as likelihood_of
from bayesxs.inference.nuisances import Nuisance
from bayesxs.inputs.globes.dune import YEARS, embedded_dune
from bayesxs.inputs.globes.reader import read_globes
from bayesxs.physics.nufit import NUFIT_6_0
from bayesxs.physics.oscillation import OscillationParameters
from bayesxs.types import Floats as Float


def dune_samples(
    years: float = YEARS,
    antineutrino_years: float | None = None,
    *,
    cross_sections: Mapping[str, CrossSection] | None = None,
    flux_modes: Callable[[Float], Float] | None = None,
    scale_error: float = 0.0,
) -> ReconstructedSamples:
    """Return DUNE's published far detector (arXiv:2103.04797): four samples, nine normalisations.

    Args:
        years: at 1.2 MW and 40 kt in neutrino mode.
        antineutrino_years: the same in antineutrino mode; as in neutrino mode if not given.
        cross_sections: total ones in 1e-38 cm^2, of a PDG id and energies in GeV, in place of
            the tables "CC" and "NC".
        flux_modes: from energies in GeV, shape (e,), modes of the shape of each flux, shape (m, e).
        scale_error: relative, of each of three terms of the energy scale of a lepton's samples:
            a constant, a root and an inverse root of the energy, at 2.5 GeV.

    Raises:
        InputError: years below zero, or an unknown cross section.

    Example:
        >>> bayesxs.dune_samples(years=3.5).names
        ('nue_app', 'nuebar_app', 'numu_dis', 'numubar_dis')
    """
    configuration = embedded_dune(years, antineutrino_years)
    return reconstructed_samples(configuration, cross_sections, flux_modes, scale_error)


def globes_samples(
    path: str | Path,
    *,
    cross_sections: Mapping[str, CrossSection] | None = None,
    flux_modes: Callable[[Float], Float] | None = None,
    scale_error: float = 0.0,
) -> ReconstructedSamples:
    """Return the samples of a GLoBES experiment: an AEDL file and the files that it names.

    Takes the path, and for the rest what `dune_samples` takes.

    Raises:
        InputError: naming file, line and key of what is wrong, or of what is not understood.

    Example:
        >>> bayesxs.globes_samples("none.glb")
        Traceback (most recent call last):
            ...
        bayesxs.errors.InputError: ...
    """
    return reconstructed_samples(read_globes(path), cross_sections, flux_modes, scale_error)


def counted_likelihood(
    samples: CountedSamples,
    counts: ArrayLike | None = None,
    *,
    parameters: OscillationParameters = NUFIT_6_0,
    key: jax.Array | None = None,
    shape_only: bool = False,
) -> CountedLikelihood:
    """Return the likelihood of counts in all analysed bins of samples.

    Args:
        samples: such as `dune_samples`.
        counts: one sample after the other, shape (bins,). If not given, what the parameters expect
            of nature, or with a key a draw of it.
        parameters: true ones of simulated counts, and those that are not given to the likelihood.
        key: random key of simulated counts.
        shape_only: whether given the total of each sample, where rates are not known.

    Raises:
        InputError: double precision is off, or counts of another number, negative or not finite.

    Example:
        >>> likelihood = bayesxs.counted_likelihood(bayesxs.dune_samples())
        >>> eta = {"nue_sig": 1.0}
        >>> bool(likelihood.log_prob({}, eta) < likelihood.log_prob({}))
        True
    """
    rates = samples.rates()
    if counts is None:
        counts = samples.of_nature()(parameters)
        if key is not None:
            counts = jax.random.poisson(key, jnp.asarray(counts)).astype(float)
    return likelihood_of(
        rates,
        counts,
        parameters,
        [Nuisance(*pair) for pair in zip(samples.nuisances, samples.groups, strict=True)],
        dict(zip(samples.names, samples.inside.sum(axis=1).tolist(), strict=True)),
        shape_only,
    )
