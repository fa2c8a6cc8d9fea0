"""The commands `bayesxs events` and `bayesxs decompose`. Heavy imports are inside the commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayesxs.errors import InputError, shown

if TYPE_CHECKING:
    from rich.table import Table

    from bayesxs.detector.event_summary import EventSummary
    from bayesxs.inference.decomposition import Decomposition
    from bayesxs.inputs.flux import Flux
    from bayesxs.inputs.generators.events import GeneratorEvents

# Characters of a cell at most
LONGEST = 1000

DECOMPOSITIONS = Path("bayesxs-runs/decompose")

events_app = typer.Typer(no_args_is_help=True)

FileArgument = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="GENIE gst, NUISANCE flat tree, NuHepMC, or a table."),
]
NeutrinoOption = Annotated[
    int | None, typer.Option(metavar="PDG", help="Only events of this neutrino, as 14 or -14.")
]
TargetOption = Annotated[
    int | None, typer.Option(metavar="PDG", help="Only events on this nucleus, as 1000180400.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, errors only.")]


@events_app.command("info")
def info(
    file: FileArgument,
    neutrino: NeutrinoOption = None,
    target: TargetOption = None,
    quiet: QuietOption = False,
) -> None:
    """Say what is in a file of generator's events."""
    from rich.console import Console

    from bayesxs.detector.event_summary import summarize
    from bayesxs.inputs.generators.events import Rules
    from bayesxs.inputs.generators.read import EventStream
    from bayesxs.progress import Reporter

    with Reporter(not quiet).bar(f"reading {file.name}", 1.0) as update:
        stream = EventStream(
            file,
            Rules(neutrino, target),
            lambda share, events: update(share, f"{events} events"),
            several_targets=True,
        )
        summary = summarize(stream)
    Console(markup=False).print(info_table(summary))


@events_app.command("convert")
def convert(
    file: FileArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT.parquet", help="File to be made.")],
    neutrino: NeutrinoOption = None,
    target: TargetOption = None,
    quiet: QuietOption = False,
) -> None:
    """Write a file's charged-current events as the package's own Parquet."""
    from bayesxs.inputs.generators.events import Rules
    from bayesxs.inputs.generators.parquet import write_parquet
    from bayesxs.inputs.generators.read import EventStream
    from bayesxs.progress import Reporter
    from bayesxs.storage.atomic import atomic_path

    if out.suffix != ".parquet":
        raise InputError.at("events convert", "OUT.parquet", out, "a name that ends in .parquet")
    with Reporter(not quiet).bar(f"reading {file.name}", 1.0) as update:
        stream = EventStream(
            file,
            Rules(neutrino, target),
            lambda share, events: update(share, f"{events} events"),
        )
        with atomic_path(out) as temporary:
            section = stream.cross_section
            events = write_parquet(temporary, iter(stream), lambda: stream.channels, section)
    if not quiet:
        left_out = stream.counts.read - events
        typer.echo(f"{out}: {events} events; {left_out} left out")


def decompose(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="As of bayesxs events.")],
    flux: Annotated[
        Path | None,
        typer.Option(
            help="Flux in which they were made: GLoBES, .csv, or FILE.root:HISTOGRAM. "
            "Default: DUNE's near flux, in the mode of the neutrino."
        ),
    ] = None,
    neutrino: NeutrinoOption = None,
    target: TargetOption = None,
    low: Annotated[float, typer.Option(help="Lowest energy of a neutrino, GeV.")] = 0.5,
    high: Annotated[float, typer.Option(help="Highest energy of a neutrino, GeV.")] = 10.0,
    out: Annotated[
        Path | None, typer.Option(help=f"Folder of figures. Default: {DECOMPOSITIONS}.")
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Test whether generator's events decompose into structure functions."""
    from rich.console import Console

    from bayesxs.inference.decomposition import verdict
    from bayesxs.inputs.generators.events import Rules
    from bayesxs.inputs.generators.read import read_events
    from bayesxs.progress import Reporter
    from bayesxs.report.plots_events import decomposition_figure
    from bayesxs.report.style import to_png
    from bayesxs.storage.atomic import write_bytes

    folder = DECOMPOSITIONS if out is None else out
    for file in files:
        with Reporter(not quiet).bar(f"reading {file.name}", 1.0) as update:
            events = read_events(
                file,
                Rules(neutrino, target),
                lambda share, events: update(share, f"{events} events"),
            )
        results = by_channel(events, flux, (low, high))
        Console(markup=False).print(decomposition_table(str(file), results))
        typer.echo(f"{file.name}: {verdict(results)}")
        if results[0].cells:
            figure = folder / f"{file.name}.png"
            folder.mkdir(parents=True, exist_ok=True)
            write_bytes(figure, to_png(decomposition_figure(results[0])))
            typer.echo(f"figure: {figure}")


def by_channel(
    events: GeneratorEvents, flux: Path | None, between: tuple[float, float]
) -> tuple[Decomposition, ...]:
    """Test all events together, and those of each channel where there are several.

    Args:
        events: of one neutrino.
        flux: file of the flux, or None for DUNE's.
        between: lowest and highest energy, GeV.

    Raises:
        InputError: several neutrinos, an unreadable flux, one that is zero in part of the range, or
            an empty range.
    """
    import numpy as np

    from bayesxs.inference.decomposition import FluxIntegrals, transfers
    from bayesxs.inference.decomposition import decompose as test
    from bayesxs.inputs.generators.events import lepton_mass

    ids = np.unique(events.pdg_nu)
    if len(ids) > 1:
        allowed = "one of them: choose with --neutrino"
        raise InputError.at(events.source, "neutrinos", ", ".join(map(str, ids)), allowed)
    pdg = int(ids[0])
    table = _flux(flux, pdg)
    low, high = between
    if not table.support[0] <= low < high <= table.support[1]:
        allowed = f"a range within that of the flux, {table.support[0]:g} to {table.support[1]:g}"
        raise InputError.at("decompose", "low, high", f"{low:g}, {high:g} GeV", allowed)
    if not np.all(table(pdg, np.linspace(low, high, 1000)) > 0.0):
        raise InputError.at(table.source, f"flux of {pdg}", 0, f"above 0 from {low:g} to {high:g}")
    integrals = FluxIntegrals(lambda energy: table(pdg, energy), table.knots)
    mass = float(lepton_mass(events.pdg_l[:1])[0])
    nu, q2 = transfers(events.energy, events.lepton_energy, events.cos_theta, mass)
    everything = np.full(len(events), True)
    parts = {name: events.channel == code for code, name in enumerate(events.channels)}
    parts = {name: rows for name, rows in parts.items() if rows.any()}
    samples = {"all": everything, **(parts if len(parts) > 1 else {})}
    return tuple(
        test(
            events.energy[rows],
            nu[rows],
            q2[rows],
            events.weight[rows],
            integrals,
            mass,
            between=between,
            name=name,
        )
        for name, rows in samples.items()
    )


def _flux(path: Path | None, pdg: int) -> Flux:
    from bayesxs.inputs.flux import embedded_dune_flux, load_csv_flux, load_globes_flux
    from bayesxs.inputs.fluxroot import load_root_flux

    if path is None:
        return embedded_dune_flux("neutrino" if pdg > 0 else "antineutrino")
    if ".root:" in str(path):
        return load_root_flux(str(path))
    return load_csv_flux(path) if path.suffix == ".csv" else load_globes_flux(path)


def info_table(summary: EventSummary) -> Table:
    """Lay a summary out for the terminal."""
    from rich.table import Table

    from bayesxs.detector.event_summary import QUANTILES

    counts = summary.counts
    table = Table(title=_plain(f"{summary.path} ({summary.format})"), show_header=False)
    rows = {
        "events": f"{counts.kept} of {counts.read}",
        "no charged current": str(counts.not_charged_current),
        "another flavor": str(counts.other_flavor),
        "another target": str(counts.other_target),
        "effective number": f"{summary.effective:.0f}",
        "neutrinos": _shares(summary.flavors),
        "targets": _shares({key or "(not named)": s for key, s in summary.targets.items()}),
        "channels": _shares(summary.channels),
        "energies": f"{summary.energies[0]:.4g} to {summary.energies[1]:.4g} GeV",
        "energies, quantiles": ", ".join(
            f"{100 * share:g} %: {energy:.3g}"
            for share, energy in zip(QUANTILES, summary.quantiles, strict=True)
        ),
        "x > 1": f"{100 * summary.above_one:.3g} %",
        "x > 3": f"{100 * summary.beyond:.3g} %",
        "no energy transfer": f"{100 * summary.no_transfer:.3g} %",
        "cross section": "(not in the file)"
        if summary.cross_section is None
        else f"{summary.cross_section:.5g} 1e-38 cm2 per nucleon",
        "as the file has it": summary.stated or "",
    }
    optional = ("another flavor", "another target", "as the file has it")
    for name, text in rows.items():
        if name not in optional or text not in ("0", ""):
            table.add_row(name, _plain(text))
    return table


def _shares(shares: Any) -> str:
    return ", ".join(f"{name} {100 * share:.3g} %" for name, share in shares.items())


def _plain(text: str) -> str:
    """Return words of a file without what a terminal would obey."""
    return shown(text, LONGEST)


def decomposition_table(title: str, results: tuple[Decomposition, ...]) -> Table:
    """Lay the test of each channel out for the terminal."""
    from rich.table import Table

    table = Table("channel", title=_plain(title))
    for column in ("events", "used", "cells", "chi2/n", "p", "p, third coefficient"):
        table.add_column(column, justify="right")
    for result in results:
        fits = bool(result.cells)
        table.add_row(
            _plain(result.name),
            str(result.events),
            f"{100 * result.used:.0f} %",
            str(len(result.cells)),
            f"{result.chi2:.0f}/{result.freedom}" if fits else "",
            f"{result.p_value:.2g}" if fits else "",
            f"{result.third:.2g}" if fits else "",
        )
    return table
