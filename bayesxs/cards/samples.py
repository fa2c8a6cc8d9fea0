"""The sections `[[sample]]`, `[near]` and `[far]`: kinds of events, data of both detectors."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from bayesxs.cards.section import Count, Section, conflict


class SampleCard(Section):
    """One kind of counted event."""

    flavor_in: Literal["e", "mu"] = "mu"
    """Flavor of the neutrino that leaves the source."""
    flavor_out: Literal["e", "mu", "tau"] = "mu"
    """Flavor of the charged lepton that is counted."""
    antineutrino: bool = False
    """Whether antineutrinos are counted."""


def near_events(value: object) -> object:
    """Check a number of near events.

    Raises:
        PydanticCustomError: it is none.
    """
    # Python holds true to be 1
    number = isinstance(value, int) and not isinstance(value, bool)
    if value != "infinite" and not (number and 10_000 <= value <= 10**12):  # type: ignore[operator]
        shown = f'"{value}"' if isinstance(value, str) else value
        raise conflict("", shown, 'allowed: "infinite", or an integer from 10000 to 1e12')
    return value


class NearCard(Section):
    """The near-detector data that the cross section is learned from."""

    events: int | Literal["infinite"] = "infinite"
    """Near-detector events of each cross section.

    Their counts fluctuate; `infinite` stands for the expected density.
    """
    file: str = ""
    """CSV file of counts, in bins of its own or those of the analysis, or of events one by one
    (`lepton_energy_GeV`, `cos_theta`), which are counted in fine bins; empty for simulated ones.

    Where several cross sections are learned, the name holds `{target}`, which stands for `mu`,
    `anti_mu`, `e` and so on: one file for each. `events` need not be given: it is the file's sum.
    """
    impossible: Literal["refuse", "drop"] = "refuse"
    """Treatment of counts in bins that no neutrino of the beam can fill."""
    samples: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Cross sections, such as `mu`, to whose near data networks are fitted; all if empty.

    The others are predicted, by networks that leptons share (`network.share`).
    """

    @property
    def counted(self) -> bool:
        """Whether near data are counts, which fluctuate, and not the expected density."""
        return bool(self.file) or self.events != "infinite"

    @field_validator("events", mode="before")
    @classmethod
    def _count(cls, value: object) -> object:
        return near_events(value)


class FarCard(Section):
    """Far-detector events: simulated, or read from a file."""

    events: Count = 6200
    """Far-detector events of all samples together."""
    file: str = ""
    """CSV file of events; empty for simulated ones."""
    impossible: Literal["refuse", "drop"] = "refuse"
    """Treatment of events in `file` that no neutrino of the beam can make."""
    binned_above: Annotated[int, Field(ge=0)] = 50_000
    """Events of a sample above which they are counted in bins, not taken one by one."""
