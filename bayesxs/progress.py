"""Progress on the terminal: a bar while a stage runs, a line when it is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Update(Protocol):
    """How a stage moves its bar."""

    def __call__(self, done: float, note: str = "") -> None:
        """Show that `done` of the total is done, with a note beside the bar."""


class Reporter:
    """Say what goes on, or nothing at all."""

    def __init__(self, enabled: bool) -> None:
        """Create a reporter that draws bars if `enabled` (on a terminal; plain lines elsewhere)."""
        self.enabled = enabled
        self.console = Console(stderr=True, quiet=not enabled, highlight=False)

    def line(self, text: str) -> None:
        """Print one line, as long as it is; what it says is no markup."""
        self.console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def bar(self, label: str, total: float) -> Iterator[Update]:
        """Show a bar; the value given is update(done, note)."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[note]}"),
        )
        drawable = self.console.is_terminal or self.console.is_jupyter
        shown = Progress(
            *columns, console=self.console, transient=True, disable=not (self.enabled and drawable)
        )
        with shown:
            task = shown.add_task(label, total=total, note="")

            def update(done: float, note: str = "") -> None:
                shown.update(task, completed=done, note=note)

            yield update
