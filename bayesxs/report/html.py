"""The report of a run: one self-contained page."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from typing import Final, NamedTuple

from jinja2 import Environment, FunctionLoader, StrictUndefined

from bayesxs.report.budget import BudgetTables, budget_tables
from bayesxs.report.captions import (
    RESULT,
    SECTIONS,
    SYSTEMATICS,
    Caption,
    Origin,
    caption,
    place,
)
from bayesxs.report.fit import TITLES, lookup, page_numbers
from bayesxs.report.numbers import (
    MISSING,
    Row,
    detailed_interval,
    deviation,
    interval,
    listed,
    number,
    plus_minus,
    scaled,
    with_unit,
)
from bayesxs.report.provenance import provenance, stages
from bayesxs.report.style import CROSS_SECTIONS, OF_EVENTS, ordered, quantity
from bayesxs.types import Json

# Beyond these a posterior is not to be trusted (Vehtari et al., arXiv:1903.08008, Secs. 4 and 5:
# R-hat below 1.01, 100 effective draws for each of four chains).
R_HAT_LIMIT: Final = 1.01
ESS_LIMIT: Final = 400.0

HEADLINES: Final = ("dm31", "sin2_2theta23")


class Verdict(NamedTuple):
    """The verdict of the diagnostics of one posterior: whether all is well, and why not."""

    name: str
    good: bool
    reasons: tuple[str, ...]
    cells: tuple[str, ...]


class Picture(NamedTuple):
    """A figure on the page."""

    number: int
    stem: str
    words: Caption
    source: str


def render_report(
    summary: Json,
    manifest: Json,
    config_text: str,
    figures: Mapping[str, bytes],
    *,
    name: str = "",
    true_values: Mapping[str, float] | None = None,
    budget: Json | None = None,
    origin: Origin = "simulated",
) -> str:
    """Return the report as one HTML page that fetches nothing.

    Args:
        summary: content of summary.json.
        manifest: content of manifest.json.
        config_text: the resolved card.
        figures: PNG images by file stem; those of `captions.FIGURES` know their place and words.
        name: of the run or its card.
        true_values: parameters that the events were made with, where they were simulated
            (eV^2, rad).
        budget: rows and nuisances, as `plots_systematics` draws them, for the section on
            systematics.
        origin: of the data; only where they are simulated is anything called true.
    """
    tables = None if budget is None else budget_tables(budget, ESS_LIMIT)
    called = OF_EVENTS if origin == "generated" else CROSS_SECTIONS
    kinds = {k: words for k, words in called.items() if isinstance(summary.get(k), Mapping)}
    return render_page(
        "report.html.j2",
        manifest,
        config_text,
        name,
        summary,
        headline=headlines(summary, true_values or {}),
        sentences=sentences(summary, true_values or {}, called),
        called=called,
        verdicts=[verdict(summary[k], words) for k, words in kinds.items()],
        limits=(R_HAT_LIMIT, ESS_LIMIT),
        parameters=_parameter_tables(summary, kinds),
        numbers=page_numbers(summary, origin),
        numbers_title=TITLES[origin != "simulated"],
        kinds=listed([words.split()[0] for words in (kinds or called).values()]).capitalize(),
        result=RESULT,
        systematics=SYSTEMATICS,
        sections=_sections(figures, tables, origin),
        budget=tables,
    )


def render_budget(
    budget: Json,
    manifest: Json,
    config_text: str,
    figures: Mapping[str, bytes],
    name: str = "",
    origin: Origin = "simulated",
) -> str:
    """Return the budget of uncertainties as one HTML page that fetches nothing.

    Args:
        budget: rows and nuisances, as `plots_systematics` draws them.
        manifest: content of manifest.json.
        config_text: the resolved card.
        figures: PNG images by file stem, such as budget and pulls.
        name: of the run or its card.
        origin: of the data; only where they are simulated is anything called true.
    """
    return render_page(
        "budget.html.j2",
        manifest,
        config_text,
        name,
        budget=budget_tables(budget, ESS_LIMIT),
        sections=_sections(figures, origin=origin),
    )


def render_page(
    file: str,
    manifest: Json,
    config_text: str,
    name: str,
    summary: Json | None = None,
    **parts: object,
) -> str:
    """Return a page from its template: its own parts, and those that all pages have.

    All that it is given is escaped.

    Args:
        file: of the template, whose parts are found beside it.
        manifest: content of manifest.json.
        config_text: the resolved card.
        name: of the run or its card.
        summary: content of summary.json, where there is one.
        parts: further arguments of this template.
    """
    environment = Environment(
        loader=FunctionLoader(
            lambda part: resources.files("bayesxs.report").joinpath(part).read_text("utf-8")
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(file).render(
        name=name,
        created=str(manifest.get("created", "")),
        package=str(manifest.get("package", "")),
        provenance=provenance(manifest),
        stages=stages(summary or {}, manifest),
        config=config_text,
        **parts,
    )


def headlines(summary: Json, true_values: Mapping[str, float]) -> list[dict[str, str]]:
    """Return the figures that open the report, one entry per main parameter."""
    entries = []
    for name in HEADLINES:
        results = {k: summary[k][name] for k in CROSS_SECTIONS if name in (summary.get(k) or {})}
        if not results:
            continue
        shown = quantity(name)
        shift = lookup(summary, f"asimov.shift_sigma.{name}")
        entries.append(
            {
                "symbol": shown.plain,
                "words": shown.words,
                "unit": shown.plain_unit,
                "learned": plus_minus(results.get("learned"), shown.scale),
                "truth": plus_minus(results.get("truth"), shown.scale),
                "assumed": plus_minus(results.get("assumed"), shown.scale),
                "put_in": f"{true_values[name] * shown.scale:.4g}" if name in true_values else "",
                "shift": number(shift, "{:.2f}") if shift is not None else "",
            }
        )
    return entries


def sentences(
    summary: Json,
    true_values: Mapping[str, float],
    called: Mapping[str, str] = CROSS_SECTIONS,
) -> list[str]:
    """Return the result in words; `called` has those of the kinds of cross section."""
    out = []
    for name in HEADLINES:
        shown = quantity(name)
        parts = []
        for kind, words in called.items():
            result = (summary.get(kind) or {}).get(name)
            if result:
                value = with_unit(plus_minus(result, shown.scale), shown.plain_unit)
                ends = interval(result, "hdi68", shown.scale)
                parts.append(f"{value} with the {words} (68 % interval {ends})")
        if not parts:
            continue
        text = f"{shown.plain} is {listed(parts, ', and ')}."
        shift = lookup(summary, f"asimov.shift_sigma.{name}")
        if shift is not None:
            text += (
                " On expected data the learned cross section shifts it by "
                f"{number(shift, '{:.2f}')} σ."
            )
        if name in true_values:
            put_in = with_unit(f"{true_values[name] * shown.scale:.4g}", shown.plain_unit)
            text += f" The events were made with {put_in}."
        out.append(text)
    octant = [
        f"{number(100.0 * float(upper), '{:.0f}')} % with the {words}"
        for kind, words in called.items()
        if (upper := (summary.get(kind) or {}).get("octant_upper_probability")) is not None
    ]
    if octant:
        out.append(f"The probability of the upper octant, sin²θ₂₃ > 1/2, is {listed(octant)}.")
    return out


def verdict(result: Json, name: str) -> Verdict:
    """Judge the chains of one posterior by R-hat, effective sample size and divergences."""
    parameters = dict(_parameters_of(result))
    worst = {
        "r_hat": _extreme(parameters, "r_hat", max),
        "bulk": _extreme(parameters, "ess_bulk", min),
        "tail": _extreme(parameters, "ess_tail", min),
    }
    divergences = result.get("divergences")
    reasons = []
    if worst["r_hat"] is None or not worst["r_hat"][0] <= R_HAT_LIMIT:
        reasons.append(
            f"R-hat {_worst(worst['r_hat'], '{:.3f}')} is above {R_HAT_LIMIT}: the chains "
            "disagree; draw more, or look at the traces"
        )
    for kind in ("bulk", "tail"):
        if worst[kind] is None or not worst[kind][0] >= ESS_LIMIT:  # type: ignore[index]
            reasons.append(
                f"{kind} effective sample size {_worst(worst[kind], '{:.0f}')} is below "
                f"{ESS_LIMIT:.0f}: draw more"
            )
    if divergences is None or divergences > 0:
        reasons.append(
            f"{number(divergences, '{:.0f}')} divergent transitions: parts of the posterior may "
            "be missed; raise target_accept"
        )
    cells = (
        _worst(worst["r_hat"], "{:.3f}"),
        _worst(worst["bulk"], "{:.0f}"),
        _worst(worst["tail"], "{:.0f}"),
        number(divergences, "{:.0f}"),
        number(result.get("seconds"), "{:.1f}"),
    )
    return Verdict(name, not reasons, tuple(reasons), cells)


type _Extreme = tuple[float, str] | None


def _extreme(
    parameters: Mapping[str, Json],
    key: str,
    choose: Callable[[list[tuple[float, str]]], tuple[float, str]],
) -> _Extreme:
    """Worst value over the parameters and whose it is; one that is not a number is the worst."""
    found = [(float(p[key]), name) for name, p in parameters.items() if p.get(key) is not None]
    undefined = [entry for entry in found if math.isnan(entry[0])]
    if undefined or not found:
        return undefined[0] if undefined else None
    return choose(found)


def _worst(entry: _Extreme, form: str) -> str:
    return MISSING if entry is None else f"{number(entry[0], form)} ({quantity(entry[1]).plain})"


def _parameters_of(result: Json) -> Iterator[tuple[str, Json]]:
    """Entries of a posterior's summary that describe a parameter, known ones first."""
    for name in ordered(result):
        if isinstance(entry := result[name], Mapping) and "mean" in entry:
            yield name, entry


def _parameter_tables(summary: Json, kinds: Mapping[str, str]) -> list[tuple[str, str, list[Row]]]:
    """Return one table per parameter: heading, words, a row per cross section."""
    tables: dict[str, list[Row]] = {}
    for kind, words in kinds.items():
        for name, entry in _parameters_of(summary[kind]):
            scale = quantity(name).scale
            cells = (
                plus_minus(entry, scale),
                scaled(entry, "median", scale),
                detailed_interval(entry, "hdi68", scale),
                detailed_interval(entry, "hdi90", scale),
                scaled(entry, "mle", scale),
                deviation(entry, "bootstrap_sd", scale),
                number(entry.get("r_hat"), "{:.3f}"),
                number(entry.get("ess_bulk"), "{:.0f}"),
                number(entry.get("ess_tail"), "{:.0f}"),
            )
            tables.setdefault(name, []).append(Row(words.split()[0], cells))
    out = []
    for name in ordered(tables):
        shown = quantity(name)
        heading = f"{shown.plain} [{shown.plain_unit}]" if shown.plain_unit else shown.plain
        out.append((heading, shown.words, tables[name]))
    return out


def _sections(
    figures: Mapping[str, bytes],
    budget: BudgetTables | None = None,
    origin: Origin = "simulated",
) -> list[tuple[str, list[Picture]]]:
    """Figures by section, in the report's order; a budget has its section without figures too."""
    words = {stem: caption(stem, origin) for stem in figures}
    order = sorted(figures, key=lambda stem: (SECTIONS.index(words[stem].section), place(stem)))
    pictures = [
        Picture(i, stem, words[stem], f"data:image/png;base64,{_base64(figures[stem])}")
        for i, stem in enumerate(order, 1)
    ]
    sections = [(s, [p for p in pictures if p.words.section == s]) for s in SECTIONS]
    kept = {SYSTEMATICS} if budget is not None else set()
    return [(title, members) for title, members in sections if members or title in kept]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
