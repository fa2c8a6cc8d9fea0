"""The command `bayesxs sensitivity`. Heavy imports are inside."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from bayesxs.cli.options import (
    RUNS,
    OutOption,
    QuietOption,
    ResumeOption,
    SetOption,
    interruptible,
)


def sensitivity(
    card: Annotated[
        Path,
        typer.Argument(
            metavar="CARD",
            help="Card of samples in reconstructed energy (TOML), or the name of a bundled one.",
            show_default=False,
        ),
    ],
    out: OutOption = None,
    resume: ResumeOption = False,
    overrides: SetOption = None,
    quiet: QuietOption = False,
) -> None:
    """Scan what an experiment would exclude: CP violation, ordering, octant, resolution of dCP."""
    folder = out if out is not None else RUNS / card.stem
    again = f"bayesxs sensitivity {shlex.quote(str(card))} --resume --out"
    with interruptible(f"{again} {shlex.quote(str(folder))}"):
        from bayesxs.cards.counted import load_counted_card
        from bayesxs.cards.overrides import parse_overrides

        resolved = load_counted_card(card, parse_overrides(overrides or []))

        from bayesxs.session import available_cores, prepare_jax

        prepare_jax(available_cores())
        from bayesxs.runs.sensitivity import run_sensitivity

        made = run_sensitivity(resolved, folder, resume=resume, progress=not quiet)
    if not quiet:
        typer.echo(f"figures and tables: {made}")
