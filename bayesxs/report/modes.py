"""The page of a posterior over orderings and octants."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Final

from bayesxs.inference.nuisances import GROUPS
from bayesxs.report.captions import Caption
from bayesxs.report.html import ESS_LIMIT, R_HAT_LIMIT, Picture, render_page
from bayesxs.report.numbers import (
    Row,
    Table,
    deviation,
    exponential,
    listed,
    number,
    probability,
    region,
    scaled,
)
from bayesxs.report.style import Quantity, quantity
from bayesxs.types import Json

_SECTION: Final = "Posterior"
_CHAINS: Final = "Chains"
FIGURES: Final = {
    "triangle": Caption(
        _SECTION,
        "Posterior by ordering",
        "68 % and 95 % regions, and marginals, given each mass ordering, however improbable.",
    ),
    "contours": Caption(
        _SECTION,
        "Contours by ordering",
        "The CP phase against reactor mixing, atmospheric mixing against mass splitting, given "
        "each mass ordering. Points of the lines are in contours_*.csv, and in hepdata.zip.",
    ),
    "phase": Caption(
        _SECTION,
        "Density of the CP phase",
        "Averaged over conditional densities of the draws; the parts of the orderings and octants, "
        "with their probabilities, are stacked.",
    ),
    "biprobability": Caption(
        _SECTION,
        "Electron samples",
        "Electron-like counts in both beam modes: ellipses over the CP phase for each ordering and "
        "octant, other parameters being those of the card's truth or their mirror images, and the "
        "data with their statistical errors.",
    ),
    "spectra": Caption(
        _SECTION,
        "Predictive spectra",
        "Data up to 10 GeV, mean and central 68 % of counts that draws of the posterior predict; p "
        "is the share of predicted spectra at least as far from the mean as the data.",
    ),
    "nuisances": Caption(
        _SECTION,
        "Nuisances",
        "Mean and standard deviation in units of the prior's width, whose 68 % is shaded. Modes of "
        "a cross section are one row, with root mean squares. Those of a flux are numbered, the "
        "largest first.",
    ),
    "trace": Caption(
        _CHAINS,
        "Marginals and traces of each chain",
        "Chains should be indistinguishable noise without drift; ticks at the bottom mark "
        "divergences.",
    ),
    "rank": Caption(
        _CHAINS,
        "Ranks of each chain",
        "Departure of each chain's ranks from uniform. Chains that sample the same posterior stay "
        "close to zero; dots mark ranks that a test finds suspicious.",
    ),
    "energy": Caption(
        _CHAINS,
        "Energies",
        "Where changes from draw to draw are much narrower than the energies (E-BFMI below 0.3), "
        "chains do not reach the tails.",
    ),
}
_ASIMOV: Final = (
    "Expected data, without fluctuations (Asimov data), up to 10 GeV; mean and central 68 % of "
    "counts that draws of the posterior predict. Such data are no test of the model: p-values are "
    "of real or simulated counts."
)
_OF_MODE: Final = "-"  # between a stem and the ordering and octant that its figure shows


def _caption(stem: str, p_values: Mapping[str, float | None]) -> Caption:
    """Return the words on a figure; of chains, with their ordering and octant."""
    kind, _, mode = stem.partition(_OF_MODE)
    own = FIGURES[kind]
    if kind == "spectra" and None in p_values.values():
        return own._replace(text=_ASIMOV)
    if not mode:
        return own
    ordering, _, octant = mode.partition("_")
    return own._replace(title=f"{own.title}: {ordering} ordering, {octant} octant")


def render_modes(
    summary: Json,
    manifest: Json,
    config_text: str,
    images: Mapping[str, bytes],
    name: str = "",
) -> str:
    """Return the posterior over orderings and octants as one HTML page that fetches nothing.

    Args:
        summary: from `inference.mode_summaries.summarise_modes`, and predictive p-values.
        manifest: content of manifest.json.
        config_text: the resolved card.
        images: PNG images by file stem, those in FIGURES.
        name: of the run or its card.
    """
    order = list(FIGURES)
    stems = sorted(images, key=lambda stem: order.index(stem.partition(_OF_MODE)[0]))
    pictures = [
        Picture(
            number,
            stem,
            _caption(stem, summary.get("p_values", {})),
            f"data:image/png;base64,{base64.b64encode(images[stem]).decode()}",
        )
        for number, stem in enumerate(stems, start=1)
    ]
    return render_page(
        "modes.html.j2",
        manifest,
        config_text,
        name,
        reasons=_reasons(summary),
        sound=f"At least {number(summary['ess_bulk_least'], '{:.0f}')} effective draws of every "
        "number.",
        excluded=excluded(summary),
        tables=_tables(summary),
        pictures=[p for p in pictures if p.words.section == _SECTION],
        chains=[p for p in pictures if p.words.section == _CHAINS],
    )


def _reasons(summary: Json) -> list[str]:
    found = []
    for mode in summary["modes"]:
        words = f"{mode['ordering']} ordering, {mode['octant']} octant"
        if mode["divergences"]:
            found.append(f"{words}: {mode['divergences']} divergent steps; {_MEND[0]}")
        effective, r_hat = mode["ess_bulk_least"], mode["r_hat_largest"]
        if effective is None or r_hat is None:
            found.append(f"{words}: a chain did not move; {_MEND[2]}")
            continue
        if effective < ESS_LIMIT:
            found.append(f"{words}: {effective:.0f} effective draws; {_MEND[1]}")
        if r_hat > R_HAT_LIMIT:
            found.append(f"{words}: R-hat {r_hat:.3f}; {_MEND[2]}")
    return found


_MEND: Final = (
    "raise sampler.target_accept",
    "raise sampler.draws",
    "raise sampler.warmup and sampler.draws",
)


def _factor(found: Json) -> tuple[str, str]:
    """Return the logarithm of a Bayes factor with its error, and the factor."""
    if found["value"] is None:
        return "not found: the error of its evidence is unknown", ""
    error = number(found["error"], "{:.2f}")
    return f"{found['value']:.2f} ± {error}", exponential(found["value"])


def _tables(summary: Json) -> list[Table]:
    modes = [
        Row(
            f"{m['ordering']} ordering, {m['octant']} octant",
            (
                probability(m["probability"], m["probability_error"] or 0.0, m["log_probability"]),
                f"{m['log_evidence']:.2f} ± {m['log_evidence_error']:.2f}",
                str(m["divergences"]),
                number(m["ess_bulk_least"], "{:.0f}"),
                number(m["r_hat_largest"], "{:.3f}"),
            ),
        )
        for m in summary["modes"]
    ]
    words = {
        "normal_over_inverted": "normal over inverted ordering",
        "upper_over_lower": "upper over lower octant",
        "dcp_0": "δ_CP = 0 over a free phase",
        "dcp_pi": "δ_CP = π over a free phase",
    }
    factors = [Row(words[key], _factor(v)) for key, v in summary["log_bayes_factor"].items()]
    parameters = [
        _parameter(_DENSITY if key == "density" else quantity(key), v)
        for key, v in summary["parameters"].items()
    ]
    jarlskog = [
        Row(
            _PHASE_PRIORS[key],
            (
                f"{100 * v['mean']:#.2g}",
                *(f"{100 * v[i][0]:#.2g} to {100 * v[i][1]:#.2g}" for i in _INTERVALS),
                f"{v['ess']:.0f}",
            ),
        )
        for key, v in summary["jarlskog"].items()
    ]
    others = [
        Row(
            _OTHER_PRIORS[key],
            (
                probability(v["normal"], 0.0),
                probability(v["upper"], 0.0),
                *(region(v["dcp"], i, quantity("dcp").scale) for i in ("hdi68", "hdi95")),
                f"{v['ess']:.0f}",
            ),
        )
        for key, v in summary.get("other_priors", {}).items()
    ]
    columns = ("", "log Bayes factor", "Bayes factor")
    return [
        Table(("", "probability", "log evidence", "divergences", "ESS", "R-hat"), modes, _MODES),
        Table(columns, factors, _FACTORS),
        Table(("", "mean", "sd", "68 %", "95 %"), parameters, _REGIONS),
        Table(("Jarlskog invariant [10⁻²]", "mean", "68 %", "95 %", "ESS"), jarlskog, _JARLSKOG),
        Table(_OTHER_COLUMNS, others, "Draws of all modes with new weights."),
        *_budget(summary.get("budget", [])),
    ]


def _budget(rows: Sequence[Json]) -> list[Table]:
    """Return what each group of nuisances adds to the errors, as a table."""
    if not rows:
        return []
    words = {"statistics": "statistics", "all": "all together"} | GROUPS
    shown = [quantity(name) for name in _ERRORS]
    lines = [
        Row(
            words.get(str(row["name"]), str(row["name"])),
            tuple(
                f"{q.scale * row[name]['sd']:#.4g}{_added(row, name, q.scale)}"
                for name, q in zip(_ERRORS, shown, strict=True)
            ),
        )
        for row in rows
    ]
    heads = [f"{q.plain} [{q.plain_unit}]" if q.plain_unit else q.plain for q in shown]
    return [Table(("standard error", *heads), lines, _BUDGET)]


def _added(row: Json, name: str, scale: float) -> str:
    """Return what a row adds to statistics, in parentheses: to two digits, without a bare point."""
    if row["name"] == "statistics":
        return ""
    return f" ({scale * row[name]['contribution']:#.2g}".rstrip(".") + ")"


_PHASE_PRIORS: Final = {
    "flat_in_dcp": "prior flat in δ_CP",
    "flat_in_sin_dcp": "prior flat in sin δ_CP",
}
_ERRORS: Final = ("dcp", "sin2_theta23", "dm31")
_BUDGET: Final = (
    "From the curvature at the true parameters: statistics with each group of nuisances alone, and "
    "in parentheses what the group adds, in quadrature."
)
_MODES: Final = "The least effective number of draws, and the largest R-hat, of every number."
_FACTORS: Final = (
    "By bridge sampling; of δ_CP = 0 and π the evidence at that phase, by importance sampling, "
    "over the one with a free phase."
)
_REGIONS: Final = "Highest-density regions over both orderings and octants."
_INTERVALS: Final = ("interval68", "interval95")
_JARLSKOG: Final = "s₁₂c₁₂ s₂₃c₂₃ s₁₃c₁₃² sin δ_CP; ESS: effective number of draws under the prior."
_OTHER_COLUMNS: Final = (
    *("other prior", "normal ordering", "upper octant", "δ_CP, 68 % [degrees]"),
    *("δ_CP, 95 % [degrees]", "ESS"),
)
_OTHER_PRIORS: Final = {
    "flat_in_sin_dcp": "flat in sin δ_CP",
    "with_reactor": "with the reactor constraint on θ₁₃",
}
_DENSITY: Final = Quantity("", "matter density", "matter density", plain_unit="g/cm³")
_RIVALS: Final = {
    "normal_over_inverted": ("normal ordering", "inverted ordering"),
    "upper_over_lower": ("upper octant", "lower octant"),
}
_EXCLUDED: Final = 15.0  # log Bayes factor, that of about five standard deviations


def excluded(summary: Json) -> str:
    """Return what the data exclude among orderings and octants, in a sentence; none if nothing."""
    found = []
    for key, (first, second) in _RIVALS.items():
        log = summary["log_bayes_factor"].get(key, {"value": 0.0})["value"]
        if abs(log) > _EXCLUDED:
            loser = second if log > 0.0 else first
            found.append(f"the {loser} by a Bayes factor of {exponential(abs(log))}")
    return f"Excluded: {listed(found)}." if found else ""


def _parameter(shown: Quantity, entry: Json) -> Row:
    head = f"{shown.plain} [{shown.plain_unit}]" if shown.plain_unit else shown.plain
    ends = (region(entry, key, shown.scale) for key in ("hdi68", "hdi95"))
    spread = deviation(entry, "sd", shown.scale)
    return Row(head, (scaled(entry, "mean", shown.scale), spread, *ends))
