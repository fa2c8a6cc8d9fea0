"""The command line: parse, call, exit code. Everything heavy is imported inside the commands."""

from __future__ import annotations

import os
import shlex
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from bayesxs.cli.counted import (
    card_of_samples,
    continue_samples,
    is_of_samples,
    run_samples,
    sensitivity,
)
from bayesxs.cli.events import decompose, events_app
from bayesxs.cli.options import (
    RUNS,
    OutOption,
    PresetOption,
    QuietOption,
    ResumeOption,
    SetOption,
    interruptible,
)
from bayesxs.cli.tables import budget_table, print_table
from bayesxs.errors import InputError, InputNotice, Words, speaking

if TYPE_CHECKING:
    from bayesxs.cards.card import Card
    from bayesxs.cards.counted import CountedCard

BAD_INPUT = 2
OPTIONS = Words(
    preset="--preset", overrides="--set", out="--out", workers="--workers", again="--resume"
)


class OneLineErrors(TyperGroup):
    """Commands whose bad input ends as one line on stderr and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; unexpected exceptions keep their traceback."""
        with speaking(OPTIONS), _notices_in_one_line():
            try:
                return super().invoke(ctx)
            except InputError as error:
                typer.echo(f"error: {error}", err=True)
                raise typer.Exit(BAD_INPUT) from None


@contextmanager
def _notices_in_one_line() -> Iterator[None]:
    """Print what was done with an input as one line on stderr, without the place in the code."""
    before = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, InputNotice):
            typer.echo(f"notice: {message}", err=True)
        else:
            before(message, category, *place, **more)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before


app = typer.Typer(
    cls=OneLineErrors,
    help="Learn a neutrino cross section from near-detector data; infer oscillations with it.",
    epilog="To start: bayesxs run --preset quick",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich would double the time of --help
)
pdf_app = typer.Typer(no_args_is_help=True)
app.add_typer(pdf_app, name="pdf", help="List, check and install PDF sets.")
app.add_typer(events_app, name="events", help="Look into and convert files of generator's events.")

CardArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="CARD",
        help="Analysis card (TOML), or the name of a bundled one.",
        show_default=False,
    ),
]
FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a run.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        from bayesxs.storage.manifest import package_version

        typer.echo(package_version())
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


@app.command()
def run(
    card: CardArgument = None,
    preset: PresetOption = None,
    out: OutOption = None,
    resume: ResumeOption = False,
    overrides: SetOption = None,
    quiet: QuietOption = False,
) -> None:
    """Do everything: train, simulate, sample, bootstrap, report.

    With a card of samples, which has [configuration]: sample every ordering and octant, report.
    """
    if is_of_samples(card, out, resume):
        report = run_samples(card, preset, out, resume, overrides or [], quiet)
    else:
        report = _start(card, preset, out, resume, overrides or [], quiet, None)
    if not quiet:
        typer.echo(f"report: {report}")


@app.command()
def train(
    card: CardArgument = None,
    preset: PresetOption = None,
    out: OutOption = None,
    resume: ResumeOption = False,
    overrides: SetOption = None,
    quiet: QuietOption = False,
) -> None:
    """Start a run folder and train the network only."""
    if is_of_samples(card, out, resume):
        run_samples(card, preset, out, resume, overrides or [], quiet, "train")
        return
    _start(card, preset, out, resume, overrides or [], quiet, ("train",))


@app.command()
def simulate(folder: FolderArgument, quiet: QuietOption = False) -> None:
    """Make or read the far-detector events of a run."""
    _continue(folder, "simulate", quiet)


@app.command()
def sample(folder: FolderArgument, quiet: QuietOption = False) -> None:
    """Sample the posteriors of a run."""
    _continue(folder, "sample", quiet)


@app.command(short_help="Merge runs of other chains into one.")
def merge(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to be made.")],
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Folders of runs to be merged, two or more.")
    ],
    quiet: QuietOption = False,
) -> None:
    """Merge runs whose cards differ in their chains only into one run of all the chains."""
    with interruptible(shlex.join(["bayesxs", "merge", str(out), *map(str, runs)])):
        from bayesxs.session import prepare_jax

        prepare_jax()
        from bayesxs.progress import Reporter
        from bayesxs.runs.merging import merge as merge_runs

        merge_runs(out, runs, Reporter(not quiet))
    _continue(out, "report", quiet)
    if not quiet:
        typer.echo(f"report: {out / 'report.html'}")


@app.command()
def bootstrap(folder: FolderArgument, quiet: QuietOption = False) -> None:
    """Bootstrap the maximum-likelihood estimate of a run."""
    _continue(folder, "bootstrap", quiet)


@app.command()
def report(folder: FolderArgument, quiet: QuietOption = False) -> None:
    """Draw the figures of a run and write its report."""
    _continue(folder, "report", quiet)


@app.command(short_help="Tabulate what each systematic costs.")
def budget(
    card: CardArgument = None,
    preset: PresetOption = None,
    out: OutOption = None,
    resume: ResumeOption = False,
    overrides: SetOption = None,
    quiet: QuietOption = False,
) -> None:
    """Tabulate what each systematic costs: statistics alone, each alone, all together."""
    wanted = ("train", "simulate", "budget")
    report = _start(card, preset, out, resume, overrides or [], quiet, wanted)
    from bayesxs.runs.files import BUDGET
    from bayesxs.runs.records import read_budget
    from bayesxs.runs.report import write_budget_page
    from bayesxs.storage.run_folder import RunFolder

    folder = RunFolder.view(report.parent)
    page = write_budget_page(folder)
    print_table(budget_table(read_budget(folder.path / BUDGET)))
    if not quiet:
        typer.echo(f"report: {page}")


@app.command(short_help="Test the method on pseudo-experiments.")
def campaign(
    card: CardArgument = None,
    preset: PresetOption = None,
    out: OutOption = None,
    resume: ResumeOption = False,
    overrides: SetOption = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes on this machine, one core each. Default: one per core."),
    ] = None,
    scheduler: Annotated[
        str,
        typer.Option(help="Address of a Dask scheduler whose workers to use, tcp://HOST:PORT."),
    ] = "",
    quiet: QuietOption = False,
) -> None:
    """Test the method on pseudo-experiments, hundreds or thousands, each a fit of its own."""
    name = card.stem if card is not None else f"{preset or 'default'}-campaign"
    folder = out if out is not None else RUNS / name
    with interruptible(f"bayesxs campaign --resume --out {shlex.quote(str(folder))}"):
        counted = is_of_samples(card, folder, resume)
        resolved: Card | CountedCard
        if counted:
            resolved, source = card_of_samples(folder, card, preset, overrides or [])
        else:
            resolved, source = _card_of(folder, card, preset, resume, overrides or [])

        from bayesxs.session import available_cores, prepare_jax

        prepare_jax(1)
        from bayesxs.campaigns.run import run_campaign, run_counted_campaign

        carry_out: Any = run_counted_campaign if counted else run_campaign
        page = carry_out(
            resolved,
            folder,
            resume=resume,
            workers=available_cores() if workers is None else workers,
            scheduler=scheduler,
            progress=not quiet,
            source=source,
        )
    if not quiet:
        typer.echo(f"report: {page}")


app.command(short_help="Scan what an experiment would exclude.")(sensitivity)
app.command(short_help="Test events for structure functions.")(decompose)


@app.command()
def doctor() -> None:
    """Show versions, devices, precision, PDF sets and write access."""
    from bayesxs.cli.doctor import as_table, examine

    print_table(as_table(examine()))


@pdf_app.command("list")
def pdf_list() -> None:
    """List the PDF sets at hand."""
    from bayesxs.cli.pdfsets import list_table

    print_table(list_table())


@pdf_app.command("check")
def pdf_check(
    name: Annotated[str, typer.Argument(metavar="SET", help='Name, path, or "embedded".')],
    member: Annotated[
        int, typer.Option(min=0, metavar="N", help="Member; 0 is the central one.")
    ] = 0,
) -> None:
    """Load a PDF set; show its flavors, ranges and momentum sum."""
    from bayesxs.session import prepare_jax

    prepare_jax()
    from bayesxs.cli.pdfsets import check_table

    print_table(check_table(name, member))


@pdf_app.command("install")
def pdf_install(
    name: Annotated[str, typer.Argument(metavar="SET", help="Name of an LHAPDF set.")],
) -> None:
    """Install an LHAPDF set through lhapdf-management."""
    from bayesxs.cli.pdfsets import install

    typer.echo(f"installed: {install(name)}")


def _start(
    card_path: Path | None,
    preset: str | None,
    out: Path | None,
    resume: bool,
    overrides: list[str],
    quiet: bool,
    stages: tuple[str, ...] | None,
) -> Path:
    """Read the card, then start or continue a run with the given stages (all of them if None)."""
    name = card_path.stem if card_path is not None else preset or "default"
    folder = out if out is not None else RUNS / name
    with interruptible(f"bayesxs run --resume --out {shlex.quote(str(folder))}"):
        card, source = _card_of(folder, card_path, preset, resume, overrides)

        from bayesxs.session import prepare_run

        prepare_run(card.sampler.chains)
        from bayesxs.runs import pipeline

        return pipeline.run(
            card,
            folder,
            resume=resume,
            stages=stages,
            progress=not quiet,
            source=source,
        )


def _card_of(
    folder: Path, card_path: Path | None, preset: str | None, resume: bool, overrides: list[str]
) -> tuple[Card, str]:
    """Read the card, that of the folder where one is continued; return it and where it is from."""
    from bayesxs.cards.card import load_card
    from bayesxs.cards.overrides import parse_overrides
    from bayesxs.storage.run_folder import CONFIG, holds_run

    continued = folder.exists() and holds_run(folder, resume)
    if continued and card_path is None and preset is None:
        card_path = folder / CONFIG
    return load_card(card_path, preset, parse_overrides(overrides)), str(card_path or "card")


def _continue(folder: Path, stage: str, quiet: bool) -> None:
    """Run one stage in an existing run folder."""
    with interruptible(f"bayesxs {stage} {shlex.quote(str(folder))}"):
        if is_of_samples(None, folder, resume=True):
            continue_samples(folder, stage, quiet)
            return

        from bayesxs.cards.card import load_card
        from bayesxs.storage.run_folder import CONFIG, RunFolder

        card = load_card(RunFolder.view(folder).path / CONFIG)

        from bayesxs.session import prepare_run

        prepare_run(card.sampler.chains)
        from bayesxs.runs import pipeline

        pipeline.continue_run(folder, stages=(stage,), progress=not quiet)


def main() -> None:
    """Run the command line."""
    # It draws to files only; a notebook hands its own backend to the shells that it starts
    os.environ["MPLBACKEND"] = "agg"
    app(prog_name="bayesxs")
