"""Priors that cannot be: refused by name, wherever a user gives them."""

from __future__ import annotations

import numpy as np
import pytest

import bayesxs
from bayesxs.errors import InputError
from bayesxs.inference.modes import mode_posterior
from bayesxs.inference.priors import Flat, Gaussian, check_ordering, check_priors


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (Flat(0.0, np.inf), "priors.s2_13 = .0.0, inf.: finite ends, low < high"),
        (Flat(-np.inf, np.inf), "another prior cannot be normalised"),
        (Flat(0.03, 0.02), "low < high"),
        (Flat(0.02, 0.02), "low < high"),
        (Flat(np.nan, 0.1), "finite ends"),
        (Flat(-0.1, 0.1), "ends from 0 to 1"),
        (Gaussian(0.02, 0.0), "a standard deviation above 0 and finite"),
        (Gaussian(0.02, -0.1), "a standard deviation above 0 and finite"),
        (Gaussian(0.02, np.inf), "a standard deviation above 0 and finite"),
        (Gaussian(np.nan, 0.1), "a finite mean"),
        ((0.01, 0.02), r"Flat\(low, high\) or Gaussian\(mean, sd\)"),
        (None, "priors.s2_13 = None: Flat"),
    ],
)
def test_a_prior_that_cannot_be_is_one_line(prior: object, message: str) -> None:
    """Rates or not: with shapes alone an appearance sample leaves s2_13 to its prior."""
    samples = bayesxs.dune_samples(1.0)
    likelihood = bayesxs.counted_likelihood(samples, shape_only=True)
    with pytest.raises(InputError, match=message) as caught:
        mode_posterior(likelihood, {"s2_13": prior})
    assert "\n" not in str(caught.value)


def test_a_density_is_a_number_or_a_prior() -> None:
    likelihood = bayesxs.counted_likelihood(bayesxs.dune_samples(1.0))
    for wrong in (np.nan, -1.0, Flat(-1.0, 2.0), Gaussian(2.8, np.inf)):
        with pytest.raises(InputError, match=r"modes: .*density = "):
            mode_posterior(likelihood, {}, wrong)


def test_angles_and_splittings_have_their_own_ranges() -> None:
    check_priors("x", {"dcp": Flat(0.0, 2.0 * np.pi), "dm31": Flat(-3e-3, -2e-3)})
    with pytest.raises(InputError, match=r"x: priors.dcp = .*: one turn at most"):
        check_priors("x", {"dcp": Flat(-4.0, 4.0)})
    with pytest.raises(InputError, match=r"x: priors.dm21 = .*: ends from 0 to inf"):
        check_priors("x", {"dm21": Flat(-1e-5, 1e-4)})


@pytest.mark.parametrize(
    ("prior", "both"),
    [
        (Flat(-3e-3, 3e-3), True),
        (Flat(-3e-3, -2e-3), False),
        (Gaussian(2.5e-3, 1e-3), True),
        (Gaussian(-2.5e-3, 1e-4), False),
    ],
)
def test_chains_need_one_ordering(prior: Flat | Gaussian, both: bool) -> None:
    if not both:
        check_ordering("sample", {"dm31": prior})
        return
    with pytest.raises(InputError, match=r"sample: priors.dm31 = .*: values of one sign"):
        check_ordering("sample", {"dm31": prior})
