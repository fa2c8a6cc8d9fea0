"""Campaigns: many pseudo-experiments, each a fit of its own, and what they say of the method."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client

from bayesxs.campaigns.counted import counted_kind
from bayesxs.campaigns.coverage import IntervalCoverage
from bayesxs.campaigns.ensemble import NetworkEnsemble
from bayesxs.campaigns.kind import Figures, Kind, Planned
from bayesxs.campaigns.resampling import Resampling
from bayesxs.campaigns.sbc import Sbc
from bayesxs.campaigns.sensitivity import Sensitivity
from bayesxs.cards.build_counted import counted_inputs
from bayesxs.cards.campaign import (
    BootstrapCampaign,
    Campaign,
    CoverageCampaign,
    EnsembleCampaign,
    SbcCampaign,
    SensitivityCampaign,
)
from bayesxs.cards.card import Card, differing_keys, load_card, to_toml
from bayesxs.cards.counted import CountedCard, is_counted, load_counted_card
from bayesxs.engine.cluster import existing_scheduler, local_cluster
from bayesxs.engine.results import Results, Task
from bayesxs.engine.work import work
from bayesxs.errors import InputError, words
from bayesxs.progress import Reporter
from bayesxs.report.calibration import render_campaign
from bayesxs.report.style import to_png
from bayesxs.runs.learned import begin, card_samples, refuse_changes, upstream
from bayesxs.runs.pipeline import COMMANDS, Analysis, device
from bayesxs.runs.records import read_campaign
from bayesxs.session import prepare_jax
from bayesxs.storage.atomic import (
    read_bytes,
    read_text,
    write_bytes,
    write_json,
    write_text,
)
from bayesxs.storage.inner import entries, present
from bayesxs.storage.manifest import package_version
from bayesxs.storage.netcdf import read_dataset, write_netcdf
from bayesxs.storage.run_folder import CONFIG, RunFolder, Stage, content_key

CAMPAIGN, COLLECTED, TASKS, PAGE = "campaign.json", "campaign.nc", "campaign", "campaign.html"

# Workers of one core do not need threads beside it
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@contextmanager
def cluster(workers: int, scheduler: str) -> Iterator[Client]:
    """Start workers on this machine, or connect to a scheduler where an address is given."""
    if scheduler:
        with existing_scheduler(scheduler, prepare_worker) as client:
            yield client
    else:
        with local_cluster(workers, ENVIRONMENT, prepare_worker) as client:
            yield client


def prepare_worker() -> None:
    """Set JAX up in a worker process: one batch at a time, on its one core or on its devices."""
    prepare_jax(1)


def kind_of(analysis: Analysis, plan: Campaign) -> Kind[Any]:
    """Return the campaign that a card plans."""
    kinds: dict[type[Campaign], Callable[..., Kind[Any]]] = {
        SbcCampaign: Sbc,
        CoverageCampaign: IntervalCoverage,
        BootstrapCampaign: Resampling,
        EnsembleCampaign: NetworkEnsemble,
        SensitivityCampaign: Sensitivity,
    }
    return kinds[type(plan)](analysis, plan)


def run_campaign(
    card: Card,
    folder: Path,
    *,
    resume: bool = False,
    workers: int = 1,
    scheduler: str = "",
    progress: bool = True,
    source: str = "card",
) -> Path:
    """Carry out a card's campaign in a folder of its own and return the path of its page.

    Args:
        card: the analysis; its `campaign` section says what to do.
        folder: run folder, new or, with `resume`, one that holds this campaign.
        resume: continue; pseudo-experiments that have a stored result are not repeated.
        workers: processes on this machine, of one core each.
        scheduler: address of a Dask scheduler to use in their place.
        progress: show what goes on.
        source: where the card was read from, named in messages.

    Raises:
        InputError: bad input; a card that differs from the folder's; a scheduler that does not
            answer or is lost.
    """
    plan = card.campaign
    _check(plan, workers, source)
    assert plan is not None
    with RunFolder.create(folder, resume=resume) as opened:
        config = opened.path / CONFIG
        if present(config):
            _refuse_changes(card, load_card(config), folder)
        analysis = Analysis(card, opened, Reporter(progress), source)
        write_text(config, to_toml(card))
        opened.record(device=device(), seeds={"seed": card.seed})
        analysis.say_whose()
        for command in plan.builds_on:
            analysis.bring_up_to_date(command)
        before = tuple(name for command in plan.builds_on for name in COMMANDS[command])
        key = analysis.key("campaign", before=before)

        def make() -> Planned:
            return kind_of(analysis, plan)

        return _up_to_date(opened, key, make, analysis.reporter, workers, scheduler)


def run_counted_campaign(
    card: CountedCard,
    folder: Path,
    *,
    resume: bool = False,
    workers: int = 1,
    scheduler: str = "",
    progress: bool = True,
    source: str = "card",
) -> Path:
    """Carry out the campaign of a card of samples; takes and raises what `run_campaign` does."""
    _check(card.campaign, workers, source)
    reporter = Reporter(progress)
    with RunFolder.create(folder, resume=resume) as opened:
        refuse_changes(card, opened)
        key = content_key(
            "campaign",
            sections=card.model_dump(mode="json", exclude={"scan", "sampler", "data"}),
            upstream=upstream(card),
            files=counted_inputs(card),
            versions={"bayesxs": package_version()},
        )

        def make() -> Planned:
            kind = counted_kind(card, card_samples(card, opened, reporter))
            begin(card, opened)
            return kind

        return _up_to_date(opened, key, make, reporter, workers, scheduler)


def _up_to_date(
    opened: RunFolder,
    key: str,
    make: Callable[[], Planned],
    reporter: Reporter,
    workers: int,
    scheduler: str,
) -> Path:
    """Carry out a campaign unless its folder holds it, and return the path of its page."""
    if opened.stage_is_current("campaign", key):
        reporter.line("campaign: up to date")
    else:
        kind = make()
        with opened.stage("campaign", key) as stage:
            campaign_stage(kind, stage, reporter, workers, scheduler)
    return write_campaign_page(opened)


def _check(plan: object, workers: int, source: str) -> None:
    """Refuse a card without a campaign, or no workers.

    Raises:
        InputError: naming the key.
    """
    if plan is None:
        allowed = 'a campaign needs a [campaign] section, e.g. with kind = "sbc"'
        raise InputError.at(source, "campaign", "none", allowed)
    if workers < 1:
        raise InputError.at("campaign", words().workers, workers, "an integer >= 1")


def _refuse_changes(card: Card, started: Card, folder: Path) -> None:
    """Refuse a card that is not the one that the campaign was started with.

    Raises:
        InputError: naming the keys that differ.
    """
    changed = differing_keys(card, started)
    if changed:
        raise InputError(
            f"{folder}: was started with another card, which differs in {', '.join(changed)}: "
            f"continue with that card, or choose another {words().out}"
        )


def campaign_stage(
    kind: Planned,
    stage: Stage,
    reporter: Reporter,
    workers: int,
    scheduler: str,
) -> None:
    """Carry out the tasks that have no result yet; tabulate and draw what all of them say."""
    tasks = kind.tasks(stage.key)
    results = Results(stage.folder.path / TASKS)
    failed: dict[str, str] = {}
    if not all(results.has(t) for t in tasks):
        with (
            cluster(workers, scheduler) as client,
            reporter.bar("campaign", len(tasks)) as update,
        ):
            failed = work(
                tasks,
                kind.function,
                kind.shared(),
                results,
                cluster=client,
                report=lambda done, total: update(done),
            ).failed
    stored = _stored(tasks, results)
    for name, error in failed.items():
        reporter.line(f"  warning: {name} failed: {error}")
    if not stored:
        raise InputError(f"{results.folder}: no task succeeded: see failures.json")
    data = kind.assemble(stored, stage)
    write_netcdf(stage.output(COLLECTED), data)
    done = {t.name for t, _ in stored}
    summary = {"kind": data.attrs["kind"]} | kind.tabulate(data)
    summary |= {
        "failed": failed,
        "missing": [t.name for t in tasks if t.name not in done],
        "seconds": round(stage.seconds, 3),
    }
    write_json(stage.output(CAMPAIGN), summary)
    for name, draw in kind.figures(data, summary).items():
        write_bytes(stage.output(f"figures/campaign_{name}.png"), to_png(draw()))
    reporter.line(f"  {summary['verdict']}")


def _stored(tasks: list[Task], results: Results) -> list[tuple[Task, dict[str, np.ndarray]]]:
    """Return the tasks that have a whole result, and the results."""
    found = []
    for t in tasks:
        with suppress(InputError):
            found.append((t, results.load(t)))
    return found


def campaign_figures(folder: RunFolder) -> Figures:
    """Return what draws the figures of a finished campaign, by name."""
    config = folder.path / CONFIG
    kind: Planned
    if is_counted(config):
        kind = counted_kind(load_counted_card(config))
    else:
        card = load_card(config)
        assert card.campaign is not None
        kind = kind_of(Analysis(card, folder, Reporter(False)), card.campaign)
    return kind.figures(
        read_dataset(folder.path / COLLECTED), read_campaign(folder.path / CAMPAIGN)
    )


def write_campaign_page(folder: RunFolder) -> Path:
    """Write campaign.html from what the campaign left; return its path."""
    place = folder.path / "figures"
    names = [n for n in entries(place) if n.startswith("campaign_") and n.endswith(".png")]
    page = render_campaign(
        read_campaign(folder.path / CAMPAIGN),
        folder.manifest,
        read_text(folder.path / CONFIG),
        {name.removesuffix(".png"): read_bytes(place / name) for name in names},
        name=folder.path.name,
    )
    write_text(folder.path / PAGE, page)
    return folder.path / PAGE
