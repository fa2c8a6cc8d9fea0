"""The JSON files of run folders, checked for all that figures and pages take of them.

A folder may come from somebody else, or from another version. What a file has beyond this stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NotRequired, TypedDict

from pydantic import Field, TypeAdapter, ValidationError

from bayesxs.cards.faults import dotted_key
from bayesxs.cards.section import MISSING
from bayesxs.cards.wording import show
from bayesxs.errors import InputError, words
from bayesxs.storage.atomic import read_json
from bayesxs.storage.run_folder import MANIFEST, RunFolder
from bayesxs.types import Json

type _Number = float | None  # null where it is not a number
type _Ends = Annotated[list[float], Field(min_length=2, max_length=2)]


class _Mode(TypedDict):
    """A mass ordering and octant."""

    ordering: Literal["normal", "inverted"]
    octant: Literal["lower", "upper"]
    probability: float
    probability_error: float
    log_probability: float
    log_evidence: float
    log_evidence_error: float
    divergences: int
    ess_bulk_least: _Number
    r_hat_largest: _Number


class _Factor(TypedDict):
    """Logarithm of a Bayes factor."""

    value: float
    error: float


class _Ratio(TypedDict):
    """Logarithm of a Bayes factor, null where its error is unknown."""

    value: _Number
    error: _Number


class _Factors(TypedDict):
    normal_over_inverted: _Factor
    upper_over_lower: NotRequired[_Factor]
    dcp_0: _Ratio
    dcp_pi: _Ratio


class _Jarlskog(TypedDict):
    mean: float
    interval68: _Ends
    interval95: _Ends
    ess: float


class _Regions(TypedDict):
    """Highest-density regions of a parameter."""

    mean: float
    sd: float
    hdi68: _Ends
    hdi95: _Ends
    hdi68_parts: NotRequired[list[_Ends]]
    hdi95_parts: NotRequired[list[_Ends]]


class _Nuisance(TypedDict):
    name: str
    group: str
    mean: float
    sd: float


class _Reweighted(TypedDict):
    normal: float
    upper: float
    dcp: _Regions
    ess: float


class _Error(TypedDict):
    sd: float
    contribution: float


class _Errors(TypedDict):
    name: str
    dcp: _Error
    sin2_theta23: _Error
    dm31: _Error


class _CountedSummary(TypedDict):
    """Results over orderings and octants (`inference.mode_summaries`)."""

    modes: Annotated[list[_Mode], Field(min_length=1)]
    log_bayes_factor: _Factors
    jarlskog: dict[Literal["flat_in_dcp", "flat_in_sin_dcp"], _Jarlskog]
    parameters: dict[str, _Regions]
    nuisances: list[_Nuisance]
    p_values: Annotated[dict[str, _Number], Field(min_length=1)]  # null of expected data
    ess_bulk_least: _Number
    other_priors: NotRequired[dict[Literal["flat_in_sin_dcp", "with_reactor"], _Reweighted]]
    budget: NotRequired[list[_Errors]]


class _Cost(TypedDict):
    """What a systematic costs a parameter."""

    mean: _Number
    sd: _Number
    contribution: _Number
    shift: _Number


class _CostRow(TypedDict):
    name: str
    label: str
    dm31: NotRequired[_Cost]
    sin2_2theta23: NotRequired[_Cost]
    dcp: NotRequired[_Cost]
    divergences: int
    ess_bulk: _Number
    seconds: float


class _Fitted(TypedDict):
    """A nuisance after the fit; in a joint model also given near or far data alone."""

    name: str
    group: str
    label: str
    mean: _Number
    sd: _Number
    correlation: dict[str, _Number]
    near_mean: NotRequired[float]
    near_sd: NotRequired[float]
    two_steps_mean: NotRequired[float]
    two_steps_sd: NotRequired[float]


class _Budget(TypedDict):
    rows: Annotated[list[_CostRow], Field(min_length=1)]
    nuisances: list[_Fitted]


class _BothWays(TypedDict):
    mean: float
    sd: float
    two_steps_mean: float
    two_steps_sd: float


class _Joint(TypedDict):
    """A joint model of near and far data."""

    nuisances: dict[str, _Fitted]
    parameters: dict[str, _BothWays]


class _Covered(TypedDict):
    point: dict[str, float]
    level: float
    interval: str
    fraction: float
    error: float
    low: float
    high: float
    pull: float
    length: float


class _Width(TypedDict):
    width: list[float]
    power: float


class _Estimate(TypedDict):
    mean: float
    sd: float
    interval68: _Ends
    interval90: _Ends
    mle: NotRequired[_Number]


class _Bin(TypedDict):
    low: float
    high: float
    number: int
    mean: _Number
    fraction: float
    error: float


class _Claimed(TypedDict):
    bins: list[_Bin]
    bias: _Number
    sharpness: _Number


class _Critical(TypedDict):
    sigma: float
    level: float
    critical: float
    low: float
    high: float
    wilks: float
    above_wilks: float
    above_error: float


class _Statistic(TypedDict):
    critical: list[_Critical]


class _Distance(TypedDict):
    median: float
    low: float
    high: float


class _Campaign(TypedDict, total=False):
    """Each kind of campaign has some of these."""

    intervals: dict[str, Annotated[list[_Covered], Field(min_length=1)]]
    exposures: list[float]
    events: list[_Number]
    widths: dict[str, _Width]
    estimates: dict[str, dict[str, _Estimate]]
    probabilities: dict[str, _Claimed]
    statistic: dict[str, _Statistic]
    distances: dict[str, _Distance]
    parameters: dict[str, dict[str, Any]]
    failed: dict[str, str]
    missing: list[str]


_COUNTED: Final = TypeAdapter(_CountedSummary)
_BUDGET: Final = TypeAdapter(_Budget)
_JOINT: Final = TypeAdapter(_Joint)
_CAMPAIGN: Final = TypeAdapter(_Campaign)


def read_counted_summary(path: Path) -> Json:
    """Return the results of a run of samples.

    Raises:
        InputError: the file cannot be read, or lacks something.
    """
    found = _checked(_COUNTED, path, read_json(path))
    if "dcp" not in found["parameters"]:
        raise _damaged(path, "parameters.dcp", MISSING)
    return found


def read_budget(path: Path) -> Json:
    """Return a budget of uncertainties.

    Raises:
        InputError: the file cannot be read, or lacks something.
    """
    return _checked(_BUDGET, path, read_json(path))


def read_campaign(path: Path) -> Json:
    """Return the results of a campaign.

    Raises:
        InputError: the file cannot be read, or lacks something.
    """
    found = _checked(_CAMPAIGN, path, read_json(path))
    widths = found.get("widths") or {}
    for key in ("exposures", "events") if widths else ():
        if key not in found:
            raise _damaged(path, key, MISSING)
    for name, own in widths.items():
        for key in ("exposures", "events"):
            if len(found[key]) != len(own["width"]):
                raise _damaged(path, f"widths.{name}.width", f"{len(own['width'])} numbers")
    return found


def joint_part(folder: RunFolder) -> Json | None:
    """Return what a run noted on a joint model of near and far data, None where it is none.

    Raises:
        InputError: the posterior is not finished, or the note lacks something.
    """
    found = folder.note("posterior", "summary").get("joint")
    place = ("stages", "posterior", "notes", "summary", "joint")
    return None if found is None else _checked(_JOINT, folder.path / MANIFEST, found, place)


def _checked(
    adapter: TypeAdapter[Any], path: Path, found: Any, place: tuple[str, ...] = ()
) -> Json:
    try:
        adapter.validate_python(found, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        steps = [*place, *(s for s in first["loc"] if s != "[key]")]
        value = MISSING if first["type"] == "missing" else show(first["input"])
        raise _damaged(path, dotted_key(steps) or "content", value) from None
    assert isinstance(found, Mapping)
    return found


def _damaged(path: Path, key: str, value: str) -> InputError:
    allowed = f"damaged, or of another version: choose another {words().out}"
    return InputError.at(path, key, value, allowed)
