"""Calibration campaigns in words, tables and one self-contained page."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, SupportsFloat

from scipy.stats import norm

from bayesxs.inference.calibration import LEVEL, UNEVEN, Uniformity
from bayesxs.report.campaigns import found_tables
from bayesxs.report.captions import Caption, caption
from bayesxs.report.html import Picture, render_page
from bayesxs.report.numbers import MISSING, Row, Table, listed, number, signed
from bayesxs.report.style import QUANTITIES, ordered, quantity
from bayesxs.types import Json

HEADINGS: Final = {
    "sbc": "Simulation-based calibration",
    "coverage": "Coverage of intervals",
    "bootstrap": "Bootstrap of the data",
    "ensemble": "Ensemble of networks",
    "sensitivity": "Sensitivity against exposure",
    "cp_statistic": "The statistic of CP violation",
}

# What is said of a campaign in which nothing is to be looked at
SUCCESS: Final = {"sbc": "Calibrated.", "coverage": "Intervals cover."}

# What a shape of the ranks says about the posteriors
SHAPES: Final = {
    "too narrow": "too narrow: the true values lie in their tails too often",
    "too wide": "too wide: the true values lie in their middle too often",
    "shifted up": "shifted up: they lie above the true values too often",
    "shifted down": "shifted down: they lie below the true values too often",
    UNEVEN: "off in a way that is neither a shift nor a wrong width: look at the figure",
}

SECTION: Final = "Calibration"

# By the beginning of the stem of the figure's file, after an optional campaign_, in the order of
# the page
FIGURES: Final = {
    "ecdf": Caption(
        SECTION,
        "Ranks of the true values against uniform ones",
        "The rank of each true value among its posterior draws is uniform where posteriors are "
        "right. Shown is the part of the ranks below each value, less that value; a line that "
        "leaves the band anywhere does so by chance in one of twenty cases. A hump on the left "
        "with a trough on the right is a posterior too narrow, the reverse one too wide; a hump "
        "alone lies too high, a trough alone too low.",
    ),
    "rank": Caption(
        SECTION,
        "Histograms of the ranks",
        "The same ranks in bins. The band holds 99 % of each bin alone, so that one bin in a "
        "hundred is outside by chance.",
    ),
    "probabilities": Caption(
        SECTION,
        "Probabilities of ordering and octant",
        "Of the pseudo-experiments in which a posterior gives a probability to the normal "
        "ordering, or to the upper octant, the part in which it was true. Numbers are "
        "pseudo-experiments.",
    ),
    "statistic": Caption(
        SECTION,
        "Distribution of the statistic of CP violation",
        "Where CP is conserved, the part of the pseudo-experiments in which it seems to be "
        "violated by as much or more, beside what Wilks' theorem says.",
    ),
    "coverage": Caption(
        SECTION,
        "Coverage and length of intervals",
        "How often intervals of each kind held the true value, with binomial errors; the band is "
        "twice the error that the nominal level allows. Below, their lengths: of intervals that "
        "cover, the shorter are the better.",
    ),
    "bootstrap": Caption(
        SECTION,
        "Maximum-likelihood estimates of bootstrap samples",
        "Regions that hold 68 % and 95 % of the estimates, with their marginals; each sample draws "
        "as many events as there are, with replacement (Figs. 2 and A5 of arXiv:2412.16303). All "
        "cross sections see the same samples.",
    ),
    "ensemble": Caption(
        SECTION,
        "Far spectra of the networks",
        "Mean and standard deviation of the networks' normalised far spectra over the true one, "
        "and below their relative spread beside the statistical error of the far events.",
    ),
    "sensitivity": Caption(
        SECTION,
        "Posterior width against exposure",
        "The dashed line is what counting more events alone would give. A width that stays above "
        "it is held up by systematics.",
    ),
}

FACTS: Final = (
    ("points", "points of true values", "{:.0f}"),
    (
        "experiments",
        "pseudo-experiments (at each point or exposure, where there are several)",
        "{:.0f}",
    ),
    ("members", "networks", "{:.0f}"),
    ("replicas", "bootstrap samples", "{:.0f}"),
    ("draws", "draws of each posterior", "{:.0f}"),
    ("thin", "draws of which one is kept", "{:.0f}"),
    ("divergences", "divergent transitions", "{:.0f}"),
    ("converged", "part of the fits that converged", "{:.4f}"),
    ("seconds", "seconds, together", "{:.1f}"),
)
_SHOWN_NAMES: Final = 4  # in a sentence, beyond which parameters are counted
_SHOWN_MISSING: Final = 20  # names in a list
_CHANCE: Final = 0.01  # probability that coverage of a calibrated campaign is called out


class CampaignTables(NamedTuple):
    """A campaign as a page shows it.

    Attributes:
        verdict: the result in words.
        good: whether nothing is to be looked at.
        reasons: faults besides the ranks that the verdict names.
        tables: the results.
        facts: size and cost.
        failed: name and error of tasks that failed.
        missing: those that were not done, in words, empty where all were.
    """

    verdict: str
    good: bool
    reasons: list[str]
    tables: list[Table]
    facts: list[Row]
    failed: list[Row]
    missing: str


def verdict(uniformities: Mapping[str, Uniformity]) -> str:
    """Return in plain words whether the ranks of parameters are uniform, and the fault if not.

    Args:
        uniformities: by parameter, from `bayesxs.inference.calibration.uniformity`.
    """
    if not uniformities:
        return "No parameter has ranks to judge."
    sizes = [u.number for u in uniformities.values()]
    level = next(iter(uniformities.values())).level
    number = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
    band = f"the {100.0 * level:g} % simultaneous band"
    outside = {name: u for name, u in uniformities.items() if not u.inside}
    if not outside:
        subject = _subject(list(uniformities))
        return (
            f"Ranks of {subject} lie inside {band}: no sign of miscalibration in {number} "
            "pseudo-experiments."
        )
    text = [f"Ranks of {_subject(list(outside))} leave {band} in {number} pseudo-experiments."]
    by_shape: dict[str, list[str]] = {}
    for name, u in outside.items():
        by_shape.setdefault(u.shape, []).append(name)
    for shape, names in by_shape.items():
        text.append(f"Posteriors of {_subject(names)} are {shape_words(shape)}.")
    if len(outside) <= _SHOWN_NAMES:
        places = [f"{_place(u)} of {quantity(name).plain}" for name, u in outside.items()]
        text.append(
            f"In posterior widths the true values lie at {listed(places)}, where 0 ± 1 is right."
        )
    inside = len(uniformities) - len(outside)
    if inside:
        rest = [name for name in uniformities if name not in outside]
        text.append(f"Ranks of {_subject(rest)} stay inside.")
    if len(uniformities) > 1:
        chance = (1.0 - level) * len(uniformities)
        text.append(
            f"By chance alone {chance:.2g} of {len(uniformities)} parameters would be outside on "
            "average."
        )
    return " ".join(text)


def shape_words(shape: str) -> str:
    """Return the meaning of a shape of ranks for posteriors; an unknown one as it stands."""
    if shape in SHAPES:
        return SHAPES[shape]
    parts = shape.split(" and ")
    return listed([SHAPES.get(part, part) for part in parts], ", and ")


def campaign_tables(summary: Json) -> CampaignTables:
    """Return the words and tables of a campaign.

    Args:
        summary: kind, verdict, failed (errors by name), missing (names), what `FACTS` names, and
            what is found. Simulation-based calibration: parameters, by name inside, worst, p_value,
            shape, coverage (a pair of fraction and binomial error by level) and, where the name
            does not say it, label. Other kinds: see `bayesxs.report.campaigns`. What is lacking is
            left out.
    """
    failed = dict(summary.get("failed") or {})
    missing = [str(name) for name in summary.get("missing") or ()]
    parameters: Mapping[str, Json] = summary.get("parameters") or {}
    tables, reasons = found_tables(summary)
    if parameters:
        order = ordered(parameters)
        tables.insert(0, _rank_table(parameters, order))
        reasons += _off(parameters, order)
    if failed:
        reasons.append(f"{_batches(len(failed))} failed: named below")
    if missing:
        reasons.append(f"{_batches(len(missing))} missing: named below")
    return CampaignTables(
        verdict=str(summary.get("verdict") or ""),
        good=not reasons and all(p.get("inside") is not False for p in parameters.values()),
        reasons=reasons,
        tables=tables,
        facts=[
            Row(words, (number(summary[key], form),))
            for key, words, form in FACTS
            if summary.get(key) is not None
        ],
        failed=[Row(str(name), (str(error),)) for name, error in failed.items()],
        missing=_enumerated(missing),
    )


def _rank_table(parameters: Mapping[str, Json], order: Sequence[str]) -> Table:
    """Return the table of the ranks of every parameter."""
    levels = sorted({k for p in parameters.values() for k in (p.get("coverage") or {})}, key=float)
    covered = [f"{100.0 * float(level):g} % coverage" for level in levels]
    words = (
        "Worst is the largest departure of the ranks from uniform ones, in units of the band's "
        "half-width: above 1 it is outside."
    )
    if levels:
        words += (
            " Coverage, in percent, is how often the credible interval of that level held the true "
            "value; its error is binomial."
        )
    rows = [
        Row(str(parameters[n].get("label") or quantity(n).plain), _cells(parameters[n], levels))
        for n in order
    ]
    band = f"{100.0 * LEVEL:g} % band"
    return Table(("", band, "worst", "χ² p", *covered, "ranks"), rows, words)


def render_campaign(
    summary: Json,
    manifest: Json,
    config_text: str,
    images: Mapping[str, bytes],
    name: str = "",
) -> str:
    """Return a calibration campaign as one HTML page that fetches nothing.

    Args:
        summary: as `campaign_tables` takes it.
        manifest: content of manifest.json.
        config_text: the resolved card.
        images: PNG images by file stem; those that begin as `FIGURES` says know their words.
        name: of the campaign or its card.
    """
    kind = str(summary.get("kind", ""))
    return render_page(
        "campaign.html.j2",
        manifest,
        config_text,
        name,
        heading=HEADINGS.get(kind, "Calibration campaign"),
        success=SUCCESS.get(kind, "Done."),
        campaign=campaign_tables(summary),
        pictures=_pictures(images),
    )


def _place(u: Uniformity) -> str:
    """Return the places of true values in their posteriors, in words."""
    return f"{signed(u.offset, '{:.2f}')} ± {u.spread:.2f}"


def _subject(names: Sequence[str]) -> str:
    """Return parameters by name, or their number where they are many."""
    if len(names) <= _SHOWN_NAMES:
        return listed([quantity(name).plain for name in names])
    return f"{len(names)} parameters"


def _batches(count: int) -> str:
    return "1 batch" if count == 1 else f"{count} batches"


def _enumerated(names: Sequence[str]) -> str:
    """Return names in a row, the first of them where they are many."""
    if len(names) <= _SHOWN_MISSING:
        return ", ".join(names)
    return f"{', '.join(names[:_SHOWN_MISSING])} and {len(names) - _SHOWN_MISSING} more"


def _cells(entry: Json, levels: Sequence[str]) -> tuple[str, ...]:
    inside = entry.get("inside")
    covered = entry.get("coverage") or {}
    return (
        MISSING if inside is None else "inside" if inside else "outside",
        number(entry.get("worst"), "{:.2f}"),
        _probability(entry.get("p_value")),
        *(_percent(covered.get(level)) for level in levels),
        str(entry.get("shape") or MISSING),
    )


def _percent(pair: Sequence[float] | None) -> str:
    """Coverage and its error in percent."""
    if pair is None:
        return MISSING
    fraction, error = (number(100.0 * float(v), "{:.1f}") for v in pair)
    return f"{fraction} ± {error}"


def _probability(value: SupportsFloat | None) -> str:
    """Return a probability with two digits, one too small to matter as a bound."""
    if value is not None and 0.0 <= float(value) < 1e-4:
        return "< 0.0001"
    return number(value, "{:.2g}")


def _off(parameters: Mapping[str, Json], order: Sequence[str]) -> list[str]:
    """Coverage that is off by more than chance gives in one of a hundred campaigns, in words."""
    pairs = [
        (name, float(level), float(fraction), float(error))
        for name in order
        for level, (fraction, error) in (parameters[name].get("coverage") or {}).items()
    ]
    limit = float(norm.isf(0.5 * _CHANCE / max(len(pairs), 1)))
    words = []
    for name, level, fraction, error in pairs:
        pull = (fraction - level) / error if error > 0.0 else 0.0
        if abs(pull) > limit:
            side = "above" if pull > 0.0 else "below"
            words.append(
                f"{quantity(name).plain}: {100.0 * level:g} % intervals cover "
                f"{100.0 * fraction:.1f} %, {abs(pull):.1f} binomial σ {side}"
            )
    return words


def _pictures(images: Mapping[str, bytes]) -> list[Picture]:
    """Figures in the order of the page; those without words of their own last."""
    begins = list(FIGURES)
    place = {
        stem: next((i for i, b in enumerate(begins) if _short(stem).startswith(b)), len(begins))
        for stem in images
    }
    return [
        Picture(i, stem, _caption(stem, place[stem]), _source(images[stem]))
        for i, stem in enumerate(sorted(images, key=lambda stem: place[stem]), 1)
    ]


def _caption(stem: str, place: int) -> Caption:
    """Words of a figure; the rest of its stem may name a parameter."""
    if place == len(FIGURES):
        return caption(stem)
    begin, words = list(FIGURES.items())[place]
    rest = _short(stem).removeprefix(begin).strip("_")
    if rest in QUANTITIES:
        words = words._replace(title=f"{words.title}: {quantity(rest).plain}")
    return words


def _short(stem: str) -> str:
    return stem.removeprefix("campaign_")


def _source(image: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"
