"""The last stage: figures from the run's files, the summary, and the report."""

from __future__ import annotations

from pathlib import Path

from bayesxs.progress import Reporter
from bayesxs.report.html import render_budget, render_report
from bayesxs.report.style import to_png
from bayesxs.runs.drawing import Drawers
from bayesxs.runs.figures import (
    MOST_DRAWS,
    UNDRAWN,
    budget_figures,
    data_origin,
    figures,
    known_values,
)
from bayesxs.runs.files import BUDGET
from bayesxs.runs.records import joint_part, read_budget
from bayesxs.runs.results import write_summary
from bayesxs.storage.atomic import read_text, write_bytes, write_text
from bayesxs.storage.inner import entries, remove
from bayesxs.storage.netcdf import read_tree
from bayesxs.storage.run_folder import CONFIG, RunFolder, Stage
from bayesxs.types import Json


def report_stage(folder: RunFolder, stage: Stage, reporter: Reporter, drawers: Drawers) -> None:
    """Write summary, figures and report from what the other stages left."""
    drawers.start()
    drawn = dict(figures(folder))
    for old in entries(folder.path / "figures"):  # of an earlier card
        if old.endswith(".png") and old.removesuffix(".png") not in drawn:
            remove(folder.path / "figures" / old)
    with reporter.bar("figures", len(drawn)) as update:
        images = drawers.draw(folder.path, drawn, update)
    for stem, image in images.items():
        write_bytes(stage.output(f"figures/{stem}.png"), image)
    summary = write_summary(folder, stage)
    posterior = read_tree(folder.path / "posterior_learned.nc", MOST_DRAWS, UNDRAWN)
    page = render_report(
        summary,
        folder.manifest,
        read_text(folder.path / CONFIG),
        images,
        name=folder.path.name,
        true_values=known_values(posterior),
        budget=_budget(folder),
        origin=data_origin(folder),
    )
    write_text(stage.output("report.html"), page)


def _budget(folder: RunFolder) -> Json | None:
    """Return the budget of a run, with what a joint model of near and far says of its events."""
    joint = joint_part(folder)
    if "budget" in folder.stages:
        return {**read_budget(folder.path / BUDGET), "joint": joint}
    return {"nuisances": list(joint["nuisances"].values()), "joint": joint} if joint else None


def write_budget_page(folder: RunFolder) -> Path:
    """Write budget.html and its figures; return the page's path."""
    images = {stem: to_png(draw()) for stem, draw in budget_figures(folder)}
    for stem, image in images.items():
        write_bytes(folder.path / "figures" / f"{stem}.png", image)
    page = render_budget(
        read_budget(folder.path / BUDGET),
        folder.manifest,
        read_text(folder.path / CONFIG),
        images,
        name=folder.path.name,
        origin=data_origin(folder),
    )
    write_text(folder.path / "budget.html", page)
    return folder.path / "budget.html"
