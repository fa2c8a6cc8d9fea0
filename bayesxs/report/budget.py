"""The budget of uncertainties in words and tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, SupportsFloat

from bayesxs.inference.nuisances import GROUPS
from bayesxs.report.joint import SOURCES, joint_sentences
from bayesxs.report.numbers import Row, listed, number, signed, with_unit
from bayesxs.report.style import error_of, group, grouped, quantity
from bayesxs.types import Json

PARAMETERS: Final = ("dm31", "sin2_2theta23", "dcp")
TOTAL: Final = "all"  # name of the row with every systematic on
STATISTICS: Final = "statistics"
TWO_STEPS: Final = "two_steps"  # every systematic, near data not informing on the flux

# Rows of the budget in words
LABELS: Final = {
    STATISTICS: "statistics",
    **GROUPS,
    TWO_STEPS: "all, near data on the cross section alone",
    TOTAL: "all together",
}


class BudgetTables(NamedTuple):
    """A budget as a page shows it.

    Attributes:
        sentences: the result in words.
        reasons: why rows are not to be trusted.
        headings: of each parameter, symbol and unit.
        symbols: of each parameter.
        rows: per parameter sd, contribution and shift, then divergences, effective draws, seconds.
        total: label of the row that holds everything, empty where there is none.
        nuisances: by group in words: prior-relative mean and sd, correlation with each parameter;
            in a joint model mean and sd given the near data alone, and in two steps, come first.
        sources: headings of pairs of columns of nuisances, in a joint model; else empty.
    """

    sentences: list[str]
    reasons: list[str]
    headings: list[str]
    symbols: list[str]
    rows: list[Row]
    total: str
    nuisances: list[tuple[str, list[Row]]]
    sources: tuple[str, ...] = ()


def budget_tables(budget: Json, ess_limit: float) -> BudgetTables:
    """Return the words and tables of a budget.

    Args:
        budget: entries rows and nuisances, as the figures of it take them.
        ess_limit: effective draws below which a row is called out.
    """
    rows: Sequence[Json] = budget.get("rows") or ()
    nuisances: Sequence[Json] = budget.get("nuisances") or ()
    given = [*rows, *((m.get("correlation") or {}) for m in nuisances)]
    names = [n for n in PARAMETERS if any(n in entry for entry in given)]
    shown = [error_of(name) for name in names]
    sources = {k: v for k, v in SOURCES.items() if any(f"{k}sd" in m for m in nuisances)}
    sources = sources if len(sources) > 1 else {}
    joint = (budget.get("joint") or {}).get("parameters") or _both_ways(rows)
    return BudgetTables(
        sentences=[
            *(words for name in names if (words := _sentence(rows, name))),
            *joint_sentences(nuisances, joint),
        ],
        reasons=[reason for row in rows for reason in _reasons(row, ess_limit)],
        headings=[f"{q.plain} [{q.plain_unit}]" if q.plain_unit else q.plain for q in shown],
        symbols=[q.plain for q in shown],
        rows=[Row(label(row), _cells(row, names, rows)) for row in rows],
        total=next((label(row) for row in rows if row.get("name") == TOTAL), ""),
        nuisances=[
            (
                group(name).words,
                [Row(label(m), _fitted(m, names, sources or ("",))) for m in members],
            )
            for name, members in grouped(nuisances)
        ],
        sources=tuple(sources.values()),
    )


def label(entry: Json) -> str:
    """Return the label of a row or a nuisance, its name where it has none."""
    return str(entry.get("label") or entry.get("name", ""))


def entry_of(row: Json, parameter: str, key: str) -> float | None:
    """Return a number of a row, None where there is none."""
    return finite((row.get(parameter) or {}).get(key))


def finite(value: SupportsFloat | None) -> float | None:
    """Return a number, None where it is missing or not finite."""
    return float(value) if value is not None and math.isfinite(float(value)) else None


def decimals(largest: float) -> int:
    """Return the decimals that show three digits of the largest of some numbers."""
    return max(0, 2 - math.floor(math.log10(largest))) if largest > 0.0 else 0


def _errors(rows: Sequence[Json], name: str) -> str:
    """Format of the uncertainties of one parameter, the same in all rows."""
    known = [entry_of(row, name, key) for row in rows for key in ("sd", "contribution")]
    largest = max((value for value in known if value is not None), default=0.0)
    return f"{{:.{decimals(largest * error_of(name).scale)}f}}"


def _cells(row: Json, names: Sequence[str], rows: Sequence[Json]) -> tuple[str, ...]:
    cells = []
    for name in names:
        scale, form = error_of(name).scale, _errors(rows, name)
        for key in ("sd", "contribution"):
            value = entry_of(row, name, key)
            cells.append(number(None if value is None else value * scale, form))
        cells.append(signed(entry_of(row, name, "shift"), "{:.2f}"))
    return (
        *cells,
        number(row.get("divergences"), "{:.0f}"),
        number(row.get("ess_bulk"), "{:.0f}"),
        number(row.get("seconds"), "{:.1f}"),
    )


def _fitted(nuisance: Json, names: Sequence[str], sources: Iterable[str]) -> tuple[str, ...]:
    correlation = nuisance.get("correlation") or {}
    pairs = (
        (
            signed(nuisance.get(f"{prefix}mean"), "{:.2f}"),
            number(nuisance.get(f"{prefix}sd"), "{:.2f}"),
        )
        for prefix in sources
    )
    return (
        *(cell for pair in pairs for cell in pair),
        *(signed(correlation.get(name), "{:.2f}") for name in names),
    )


def _both_ways(rows: Sequence[Json]) -> dict[str, Json]:
    """Return parameters of the joint row beside those of the row in two steps."""
    by_name = {str(row.get("name")): row for row in rows}
    if TWO_STEPS not in by_name or TOTAL not in by_name:
        return {}
    total, other = by_name[TOTAL], by_name[TWO_STEPS]
    return {
        name: {**total[name], **{f"{TWO_STEPS}_{k}": other[name][k] for k in ("mean", "sd")}}
        for name in PARAMETERS
        if name in total and name in other and name != "dcp"
    }


def _sentence(rows: Sequence[Json], name: str) -> str:
    """Return one parameter's uncertainty and its parts in words, "" where the total is unknown."""
    shown, form = error_of(name), _errors(rows, name)
    by_name = {str(row["name"]): row for row in rows}
    total = entry_of(by_name.get(TOTAL, {}), name, "sd")
    if total is None:
        return ""

    def words(value: float) -> str:
        return with_unit(number(value * shown.scale, form), shown.plain_unit)

    parts = []
    statistics = entry_of(by_name.get(STATISTICS, {}), name, "sd")
    if statistics is not None:
        parts.append(f"statistics alone give {words(statistics)}")
    together = entry_of(by_name[TOTAL], name, "contribution")
    if together is not None:
        parts.append(f"the systematics together add {words(together)} in quadrature")
    text = f"With everything on, the standard deviation of {quantity(name).plain} is {words(total)}"
    single = {
        label(row): value
        for row in rows
        if row["name"] not in (TOTAL, TWO_STEPS, STATISTICS)
        and (value := entry_of(row, name, "contribution")) is not None
    }
    if single:
        largest = max(single, key=lambda key: single[key])
        parts.append(f"the largest of them alone adds {words(single[largest])} ({largest})")
    return f"{text}: {listed(parts)}." if parts else f"{text}."


def _reasons(row: Json, ess_limit: float) -> list[str]:
    """Why the chains of a row are not to be trusted."""
    reasons = []
    divergences, draws = row.get("divergences"), row.get("ess_bulk")
    if divergences is None or divergences > 0:
        reasons.append(f"{label(row)}: {number(divergences, '{:.0f}')} divergent transitions")
    if draws is None or not draws >= ess_limit:
        reasons.append(
            f"{label(row)}: bulk effective sample size {number(draws, '{:.0f}')} is below "
            f"{ess_limit:.0f}"
        )
    return reasons
