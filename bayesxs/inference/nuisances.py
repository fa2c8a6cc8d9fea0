"""The registry of nuisances: parameters besides those of oscillation, and the groups they form.

A nuisance has a standard normal prior. What a unit of it changes is named by where it acts: on the
response (rows of a cross section) or on the flux. A group is a row of the budget of uncertainties.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from jax import Array

# Groups of nuisances and their words, in the order in which they stand
GROUPS: Final[dict[str, str]] = {
    "cross_section": "cross section",
    "lepton_ratio": "nu_e/nu_mu cross section",
    "flux": "flux shape",
    "response": "detector response",
    "normalisation": "normalisations",
}


@dataclass(frozen=True)
class Nuisance:
    """A parameter of unit prior width besides those of oscillation.

    Attributes:
        name: in files and of its NumPyro site, e.g. "flux_0".
        group: one of `GROUPS`; another is a group of its own.
    """

    name: str
    group: str

    @property
    def label(self) -> str:
        """Name in words."""
        return self.name.replace("_", " ")


def group_label(group: str) -> str:
    """Return a group in words; one that is not known keeps its name."""
    return GROUPS.get(group, group.replace("_", " "))


def of_groups(nuisances: Iterable[Nuisance], groups: Sequence[str]) -> tuple[Nuisance, ...]:
    """Return the nuisances of some groups, in their order."""
    return tuple(n for n in nuisances if n.group in groups)


class WithNuisances:
    """A likelihood whose nuisances a NumPyro model samples."""

    nuisances: tuple[Nuisance, ...]

    def sample_nuisances(self) -> dict[str, Array]:
        """Sample every nuisance from its standard normal prior, inside of a NumPyro model.

        Each is a site of its own name; the site's entry ``infer["group"]`` names its group.

        Returns:
            Values by name, as `log_prob` takes them; an entry may be replaced by another.
        """
        # Here, as processes that draw figures take labels from this module and do without JAX
        import numpyro
        from numpyro import distributions as dist

        return {
            n.name: numpyro.sample(n.name, dist.Normal(0.0, 1.0), infer={"group": n.group})
            for n in self.nuisances
        }
