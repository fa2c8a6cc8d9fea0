"""The Python interface: run an analysis or a campaign, or open one, and look at what it found."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import xarray as xr
from matplotlib.figure import Figure

from bayesxs.cards.card import Card, load_card
from bayesxs.cards.counted import CountedCard, CountedCardLike, is_counted, load_counted_card
from bayesxs.errors import InputError
from bayesxs.session import available_cores, prepare_jax, prepare_run
from bayesxs.storage.atomic import read_json
from bayesxs.storage.run_folder import CONFIG, RunFolder

if TYPE_CHECKING:
    from bayesxs.experiment.cross_section import LearnedCrossSection
    from bayesxs.experiment.experiment import Experiment
    from bayesxs.inference.likelihood import Likelihood
    from bayesxs.runs.pipeline import Analysis

type CardLike = str | os.PathLike[str] | Card | Mapping[str, object]


class Finished:
    """A folder whose last stage is done. Files are read when first asked for."""

    last_stage: ClassVar[str]
    summary_file: ClassVar[str]
    report_file: ClassVar[str]

    def __init__(self, path: Path) -> None:
        """Open a folder for reading.

        Raises:
            InputError: it holds nothing, what another version wrote, or something unfinished.
        """
        self._folder = RunFolder.view(path)
        self.path = Path(self._folder.path)
        if self._folder.notice:
            warnings.warn(self._folder.notice, stacklevel=3)
        self._folder.check_outputs(self.last_stage)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({os.fspath(self.path)!r})"

    @cached_property
    def card(self) -> Card:
        """The card that it was made with."""
        return load_card(self._folder.path / CONFIG)

    @cached_property
    def summary(self) -> dict[str, Any]:  # JSON
        """The numbers that were found, as the folder's JSON file holds them."""
        path = self._folder.output(self.summary_file)
        content: dict[str, Any] = read_json(path)
        if not isinstance(content, dict):
            raise InputError(f"{path}: no summary of a run")
        return content

    @property
    def report(self) -> Path:
        """Path of the HTML page."""
        return self.path / self.report_file

    def _draw(self, name: str, figures: Mapping[str, Callable[[], Figure]]) -> Figure:
        if name not in figures:
            raise InputError.at(self.path, "figure", name, f"one of {', '.join(figures)}")
        return figures[name]()


class Run(Finished):
    """A finished run. Files are read when first asked for.

    Example:
        >>> found = bayesxs.open_run("runs/first")
        >>> found.posterior("learned")["posterior"]["dm31"].dims
        ('chain', 'draw')
    """

    last_stage = "posterior"
    summary_file = "summary.json"
    report_file = "report.html"

    @cached_property
    def near_detector(self) -> xr.DataTree:
        """Densities and cross sections, true and learned."""
        from bayesxs.storage.netcdf import read_tree

        return read_tree(self._folder.output("near_detector.nc"))

    @cached_property
    def events(self) -> xr.Dataset:
        """The far-detector events."""
        from bayesxs.storage.netcdf import read_dataset

        return read_dataset(self._folder.output("events.nc"))

    def posterior(
        self,
        cross_section: Literal["learned", "truth", "assumed"] = "learned",
        *,
        thinned: bool = False,
    ) -> xr.DataTree:
        """Return the posterior obtained with the learned, the true or the assumed cross section.

        Args:
            cross_section: the learned one, the true one or the assumed one.
            thinned: cut the groups posterior, log_prior and sample_stats to the draws of
                log_likelihood, about 100 of each chain: `arviz.psense_summary` needs that.
        """
        from bayesxs.inference import pointwise
        from bayesxs.storage.netcdf import read_tree

        tree = read_tree(self._folder.output(f"posterior_{cross_section}.nc"))
        return pointwise.thinned(tree) if thinned else tree

    @cached_property
    def _analysis(self) -> Analysis:
        from bayesxs.progress import Reporter
        from bayesxs.runs.pipeline import Analysis

        prepare_run(1)
        return Analysis(self.card, self._folder, Reporter(False))

    @property
    def experiment(self) -> Experiment:
        """Fluxes, nature, samples and detectors."""
        return self._analysis.experiment

    @property
    def cross_section(self) -> LearnedCrossSection:
        """The learned cross section: structure functions and their modes."""
        return self._analysis.channels.cross_section

    def likelihood(
        self, cross_section: Literal["learned", "truth", "assumed"] = "learned"
    ) -> Likelihood:
        """Return the likelihood of the far-detector events, folded with a cross section.

        Args:
            cross_section: the learned one, the true one or the assumed one.

        Raises:
            InputError: the run has no such cross section.
        """
        from bayesxs.experiment.far import far_data

        chosen = self.cross_section if cross_section == "learned" else cross_section
        data = far_data(self.experiment, self.events)
        return self.experiment.likelihood(data, chosen)

    def figure(self, name: str = "posterior") -> Figure:
        """Draw one of the report's figures.

        Raises:
            InputError: there is no such figure; the message lists those there are.
        """
        from bayesxs.runs.figures import figures

        return self._draw(name, dict(figures(self._folder)))


class Campaign(Finished):
    """A finished campaign. Files are read when first asked for.

    Example:
        >>> bayesxs.open_campaign("runs/empty")
        Traceback (most recent call last):
            ...
        bayesxs.errors.InputError: ...
    """

    last_stage = "campaign"
    summary_file = "campaign.json"
    report_file = "campaign.html"

    @cached_property
    def card(self) -> Card | CountedCard:  # type: ignore[override]
        """The card that it was made with."""
        path = self._folder.path / CONFIG
        return load_counted_card(path) if is_counted(path) else load_card(path)

    @cached_property
    def data(self) -> xr.Dataset:
        """The results, pseudo-experiment by pseudo-experiment."""
        from bayesxs.storage.netcdf import read_dataset

        return read_dataset(self._folder.output("campaign.nc"))

    def figure(self, name: str) -> Figure:
        """Draw one of the page's figures, such as "ecdf".

        Raises:
            InputError: there is no such figure; the message lists those there are.
        """
        from bayesxs.campaigns.run import campaign_figures

        return self._draw(name, campaign_figures(self._folder))


def run(
    card: CardLike | None = None,
    *,
    preset: str | None = None,
    out: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, object] | None = None,
    progress: bool = True,
) -> Run:
    """Run an analysis; stages that a folder already holds for the same card are not run again.

    A card of samples is for `infer`.

    Args:
        card: path of an analysis card (TOML), the name of a bundled one, a mapping of its tables,
            or a `Card`; the preset alone if None.
        preset: "quick", "default" or "paper".
        out: run folder; bayesxs-runs/ and the name of the card's file or the preset if None.
        overrides: changes of single keys, e.g. {"far.events": 1000}.
        progress: show progress bars.

    Raises:
        InputError: bad input, in one line.

    Example:
        >>> found = bayesxs.run("first.toml", out="runs/first", progress=False)
        >>> found.path.name
        'first'
    """
    resolved = load_card(card, preset, overrides)
    prepare_run(resolved.sampler.chains)
    from bayesxs.runs import pipeline

    folder, source = places(card, out, preset or "default")
    pipeline.run(resolved, folder, resume=True, progress=progress, source=source)
    return Run(folder)


def campaign(
    card: CardLike | CountedCard | None = None,
    *,
    preset: str | None = None,
    out: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, object] | None = None,
    workers: int | None = None,
    scheduler: str = "",
    progress: bool = True,
) -> Campaign:
    """Carry out a campaign; pseudo-experiments that a folder already holds are not repeated.

    Workers are processes, which import the script that starts them: there the call belongs under
    ``if __name__ == "__main__":``.

    Args:
        card: path of an analysis card (TOML), the name of a bundled one, a mapping of its tables,
            or a `Card`; the preset alone if None. A card of samples may
            have a campaign, too; it takes no preset.
        preset: "quick", "default" or "paper".
        out: folder; bayesxs-runs/ and the name of the card's file, or the preset's and -campaign,
            if None.
        overrides: changes of keys, e.g. {"campaign": {"kind": "sbc", "experiments": 200}}.
        workers: processes on this machine; one for each core if None.
        scheduler: address of a Dask scheduler whose workers to use in their place.
        progress: show progress bars.

    Raises:
        InputError: bad input, in one line.

    Example:
        >>> bayesxs.campaign(overrides={"campaign.kind": "none"})
        Traceback (most recent call last):
            ...
        bayesxs.errors.InputError: ...
    """
    resolved: Any
    counted = card is not None and is_counted(card)
    if counted:
        if preset is not None:
            allowed = "none: a card of samples has every key of its own"
            raise InputError.at("campaign", "preset", preset, allowed)
        resolved = load_counted_card(cast(CountedCardLike, card), overrides)
    else:
        resolved = load_card(cast(CardLike | None, card), preset, overrides)
    prepare_jax(1)
    from bayesxs.campaigns.run import run_campaign, run_counted_campaign

    folder, source = places(card, out, f"{preset or 'default'}-campaign")
    (run_counted_campaign if counted else run_campaign)(
        resolved,
        folder,
        resume=True,
        workers=available_cores() if workers is None else workers,
        scheduler=scheduler,
        progress=progress,
        source=source,
    )
    return Campaign(folder)


def places(card: object, out: str | os.PathLike[str] | None, name: str) -> tuple[Path, str]:
    """Return the folder to work in, and what messages call the card; the name is of no file."""
    source = os.fspath(card) if isinstance(card, str | os.PathLike) else ""
    folder = Path(out) if out is not None else Path("bayesxs-runs") / (Path(source).stem or name)
    return folder, source or "card"


def open_run(path: str | os.PathLike[str]) -> Run:
    """Open the folder of a finished run.

    Raises:
        InputError: it holds none.

    Example:
        >>> bayesxs.open_run("runs/first").card.preset
        'quick'
    """
    return Run(Path(path))


def open_campaign(path: str | os.PathLike[str]) -> Campaign:
    """Open the folder of a finished campaign.

    Raises:
        InputError: it holds none.

    Example:
        >>> bayesxs.open_campaign("runs/empty")
        Traceback (most recent call last):
            ...
        bayesxs.errors.InputError: ...
    """
    return Campaign(Path(path))
