"""Commands on cards of samples, which have `[configuration]`. Heavy imports are inside."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bayesxs.cli.options import (
    RUNS,
    OutOption,
    QuietOption,
    ResumeOption,
    SetOption,
    interruptible,
)
from bayesxs.errors import InputError

if TYPE_CHECKING:
    from bayesxs.cards.counted import CountedCard


def sensitivity(
    card: Annotated[
        Path,
        typer.Argument(
            metavar="CARD",
            help="Card of samples, with [configuration] (TOML), or the name of a bundled one.",
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


def is_of_samples(card: Path | None, out: Path | None, resume: bool) -> bool:
    """Tell whether a run is one of samples, by its card, or that of the folder that goes on."""
    from bayesxs.cards.counted import is_counted
    from bayesxs.storage.run_folder import CONFIG

    if card is None and out is not None and resume and (out / CONFIG).is_file():
        card = out / CONFIG
    return card is not None and is_counted(card)


def run_samples(
    card: Path | None,
    preset: str | None,
    out: Path | None,
    resume: bool,
    overrides: list[str],
    quiet: bool,
    command: Literal["run", "train"] = "run",
) -> Path:
    """Sample every ordering and octant of a card; return the path of the report.

    With the command "train" learn its cross section only, and return the path of the networks.

    Raises:
        InputError: bad input, or a preset, which such cards do not have.
    """
    name = card.stem if card is not None else "default"
    folder = out if out is not None else RUNS / name
    with interruptible(f"bayesxs {command} --resume --out {shlex.quote(str(folder))}"):
        resolved, _ = card_of_samples(folder, card, preset, overrides)

        from bayesxs.session import prepare_run

        prepare_run(resolved.sampler.chains)
        from bayesxs.runs.counted import run_counted
        from bayesxs.runs.learned import train_counted

        carry_out = run_counted if command == "run" else train_counted
        return carry_out(resolved, folder, resume=resume, progress=not quiet)


def card_of_samples(
    folder: Path, card: Path | None, preset: str | None, overrides: list[str]
) -> tuple[CountedCard, str]:
    """Read a card of samples, that of the folder if none is given; return it and its source.

    Raises:
        InputError: bad input, or a preset, which such cards do not have.
    """
    if preset is not None:
        allowed = "none for a card of samples; --set sampler.draws=300 takes fewer draws"
        raise InputError.at("--preset", "preset", preset, allowed)
    from bayesxs.cards.counted import load_counted_card
    from bayesxs.cards.overrides import parse_overrides
    from bayesxs.storage.run_folder import CONFIG

    resolved = load_counted_card(card or folder / CONFIG, parse_overrides(overrides))
    return resolved, str(card or "card")


def continue_samples(folder: Path, stage: str, quiet: bool) -> None:
    """Carry out `bayesxs sample` or `report` in the folder of a run of samples.

    Raises:
        InputError: another command, or nothing that it could go on from.
    """
    if stage not in ("sample", "report"):
        allowed = "sample or report: the folder is of a card of samples"
        raise InputError.at(folder, "command", stage, allowed)
    from bayesxs.cards.counted import load_counted_card
    from bayesxs.session import prepare_run
    from bayesxs.storage.run_folder import CONFIG, RunFolder

    card = load_counted_card(RunFolder.view(folder).path / CONFIG)
    prepare_run(card.sampler.chains)
    from bayesxs.runs.counted import report_counted, run_counted

    if stage == "report":
        report_counted(folder, progress=not quiet)
    else:
        run_counted(card, folder, resume=True, progress=not quiet)
