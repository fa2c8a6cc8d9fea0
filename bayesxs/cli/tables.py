"""Tables of the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from bayesxs.types import Json


def budget_table(budget: Json) -> Table:
    """Lay a budget out for the terminal."""
    from rich.table import Table

    from bayesxs.report.budget import PARAMETERS, TOTAL, entry_of
    from bayesxs.report.numbers import number, signed
    from bayesxs.report.style import error_of

    rows = budget["rows"]
    shown = {name: error_of(name) for name in PARAMETERS if any(name in row for row in rows)}
    table = Table("", title="contribution to the error, and shift in total sigma")
    for quantity in shown.values():
        table.add_column(f"{quantity.plain} [{quantity.plain_unit}]", justify="right")
        table.add_column("shift", justify="right")
    table.add_column("divergences", justify="right")
    table.add_column("ESS", justify="right")
    for row in rows:
        cells = []
        for name, quantity in shown.items():
            size = entry_of(row, name, "sd" if row["name"] == TOTAL else "contribution")
            cells += [
                number(None if size is None else size * quantity.scale, "{:.3g}"),
                signed(entry_of(row, name, "shift"), "{:.2f}"),
            ]
        effective = number(row["ess_bulk"], "{:.0f}")
        table.add_row(row["label"], *cells, str(row["divergences"]), effective)
    return table


def print_table(table: Table) -> None:
    """Print a table, as wide as the terminal."""
    from rich.console import Console

    Console(markup=False).print(table)  # what files say is no markup
