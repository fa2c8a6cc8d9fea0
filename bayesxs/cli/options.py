"""Options that commands share, and the end of one that is interrupted."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

INTERRUPTED = 130  # 128 + SIGINT, as shells report it
TERMINATED = 143  # 128 + SIGTERM
RUNS = Path("bayesxs-runs")

PresetOption = Annotated[
    str | None,
    typer.Option(
        help="quick (a minute or two), default, or paper (the published recipe). A card's keys win."
    ),
]
OutOption = Annotated[
    Path | None, typer.Option(help=f"Run folder. Default: {RUNS}/NAME, after the card or preset.")
]
ResumeOption = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Continue the run in the folder; with its own card unless CARD or --preset is given.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a key, e.g. far.events=1000; any number of times.",
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, errors only.")]


class _Terminated(KeyboardInterrupt):
    """SIGTERM, as batch systems send it before they kill: everything ends as after a Ctrl-C."""


def _terminate(number: int, frame: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # one is enough: let files be closed
    raise _Terminated


@contextmanager
def interruptible(command: str) -> Iterator[None]:
    """End Ctrl-C or SIGTERM as one line that says which command continues, exit code 130 or 143."""
    ours = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _terminate) if ours else None
    try:
        yield
    except KeyboardInterrupt as end:
        typer.echo(f"interrupted: {command} continues", err=True)
        code = TERMINATED if isinstance(end, _Terminated) else INTERRUPTED
        raise typer.Exit(code) from None
    finally:
        if ours:
            signal.signal(signal.SIGTERM, before)
