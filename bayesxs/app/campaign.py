"""Campaigns: many pseudo-experiments, each a fit of its own, and what they say of the method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client

from bayesxs.app import sbc
from bayesxs.app.channels import Channels
from bayesxs.app.experiment import Experiment
from bayesxs.app.netcdf import write_netcdf
from bayesxs.app.pipeline import Analysis, device
from bayesxs.app.progress import Reporter
from bayesxs.app.session import prepare_jax
from bayesxs.app.stages import sample_shares
from bayesxs.atomic import read_json, read_text, write_bytes, write_json, write_text
from bayesxs.config import Card, load_card, to_toml
from bayesxs.engine.cluster import existing_scheduler, local_cluster
from bayesxs.engine.results import Results, Task
from bayesxs.engine.work import work
from bayesxs.errors import InputError
from bayesxs.inference.pseudo_experiments import BinnedExperiment
from bayesxs.inference.sampling import SamplerSettings
from bayesxs.report.calibration import render_campaign
from bayesxs.sections import SbcCampaign
from bayesxs.store import CONFIG, RunFolder, Stage, content_key

CAMPAIGN, RANKS, TASKS, PAGE = "campaign.json", "campaign.nc", "campaign", "campaign.html"

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


def experiment_of(
    experiment: Experiment, channels: Channels, plan: SbcCampaign
) -> BinnedExperiment:
    """Return what the pseudo-experiments of a card's campaign share."""
    card = experiment.card
    far = channels.of_bins(plan.cross_section)
    sizes = np.round(card.far.events * sample_shares(experiment))
    return BinnedExperiment(
        tuple(far),
        tuple(int(n) for n in sizes),
        experiment.priors,
        experiment.parameters,
        SamplerSettings(
            plan.batch,
            plan.warmup,
            plan.draws,
            plan.target_accept,
            record_every=plan.warmup + plan.draws,
            tree_depth=(plan.tree_depth + 2, plan.tree_depth),
        ),
        plan.thin,
        card.seed,
    )


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
    if plan is None:
        allowed = "a campaign needs a [campaign] section, e.g. --set campaign.kind='\"sbc\"'"
        raise InputError.at(source, "campaign", "none", allowed)
    if workers < 1:
        raise InputError.at("bayesxs campaign", "--workers", workers, "an integer >= 1")
    with RunFolder.create(folder, resume=resume) as opened:
        config = opened.path / CONFIG
        if config.exists():
            _refuse_changes(card, load_card(config), folder)
        analysis = Analysis(card, opened, Reporter(progress), source)
        write_text(config, to_toml(card))
        opened.record(device=device(), seeds={"seed": card.seed})
        if plan.cross_section == "learned":
            analysis.bring_up_to_date("train")
        key = analysis.key("campaign", alone=plan.cross_section == "truth")
        if opened.stage_is_current("campaign", key):
            analysis.reporter.line("campaign: up to date")
        else:
            with opened.stage("campaign", key) as stage:
                campaign_stage(
                    analysis.experiment,
                    analysis.channels,
                    stage,
                    analysis.reporter,
                    workers,
                    scheduler,
                )
        return write_campaign_page(opened)


def _refuse_changes(card: Card, started: Card, folder: Path) -> None:
    """Refuse a card that is not the one that the campaign was started with.

    Raises:
        InputError: naming the keys that differ.
    """
    now, before = (_flat(c.model_dump(mode="json")) for c in (card, started))
    changed = sorted(k for k in now.keys() | before.keys() if now.get(k) != before.get(k))
    if changed:
        raise InputError(
            f"{folder}: was started with another card, which differs in {', '.join(changed)}: "
            "continue without a card, or choose another --out"
        )


def _flat(sections: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in sections.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def tasks_of(plan: SbcCampaign, key: str) -> list[Task]:
    """Cut a campaign into batches, each with a content key of its own."""
    return [
        Task(
            f"{plan.kind}-{first:07d}",
            content_key("batch", sections={"first": first}, upstream={"campaign": key}),
            (first,),
        )
        for first in range(0, plan.experiments, plan.batch)
    ]


def campaign_stage(
    experiment: Experiment,
    channels: Channels,
    stage: Stage,
    reporter: Reporter,
    workers: int,
    scheduler: str,
) -> None:
    """Carry out the pseudo-experiments that have no result yet; tabulate ranks and coverage."""
    plan = experiment.card.campaign
    assert plan is not None
    tasks = tasks_of(plan, stage.key)
    results = Results(stage.folder.path / TASKS)
    failed: dict[str, str] = {}
    if not all(results.has(task) for task in tasks):
        with cluster(workers, scheduler) as client:
            shared = experiment_of(experiment, channels, plan)
            with reporter.bar(f"{plan.experiments} pseudo-experiments", len(tasks)) as update:
                failed = work(
                    tasks,
                    BinnedExperiment.run,
                    shared,
                    results,
                    cluster=client,
                    report=lambda done, total: update(done),
                ).failed
    for name, error in failed.items():
        reporter.line(f"  warning: {name} failed: {error}")
    names = [n.name for n in channels.nuisances] if plan.cross_section == "learned" else []
    data = sbc.assemble(tasks, results, plan, names)
    if not data.sizes["experiment"]:
        raise InputError(f"{results.folder}: no pseudo-experiment succeeded: see failures.json")
    write_netcdf(stage.output(RANKS), data)
    summary = sbc.tabulate(data, plan, np.random.default_rng(experiment.seed))
    summary |= {
        "failed": failed,
        "missing": [task.name for task in tasks if not results.has(task)],
        "seconds": round(stage.seconds, 3),
    }
    write_json(stage.output(CAMPAIGN), summary)
    for stem, image in sbc.figures(data, plan, experiment.seed).items():
        write_bytes(stage.output(f"figures/{stem}.png"), image)
    reporter.line(f"  {summary['verdict']}")


def write_campaign_page(folder: RunFolder) -> Path:
    """Write campaign.html from what the campaign left; return its path."""
    figures = sorted((folder.path / "figures").glob("campaign_*.png"))
    page = render_campaign(
        read_json(folder.path / CAMPAIGN),
        folder.manifest,
        read_text(folder.path / CONFIG),
        {path.stem: path.read_bytes() for path in figures},
        name=folder.path.name,
    )
    write_text(folder.path / PAGE, page)
    return folder.path / PAGE
