"""JSON files of run folders that lack something: refused by name, or shown without it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bayesxs.campaigns.coverage import coverage_table
from bayesxs.cli.tables import budget_table
from bayesxs.errors import InputError
from bayesxs.report.budget import STATISTICS, TOTAL, TWO_STEPS
from bayesxs.report.calibration import render_campaign
from bayesxs.report.html import render_budget
from bayesxs.report.joint import joint_sentences
from bayesxs.runs.records import joint_part, read_budget, read_campaign
from bayesxs.storage.run_folder import RunFolder, content_key
from bayesxs.types import Json

COST = {"mean": 2.5e-3, "sd": 3e-5, "contribution": 1e-5, "shift": 0.1}
NUISANCE = {
    **{"name": "flux_0", "group": "flux", "label": "flux 0", "mean": 0.1, "sd": 0.3},
    **{"near_mean": 0.2, "near_sd": 0.6, "two_steps_mean": -0.3, "two_steps_sd": 0.9},
    "correlation": {"dm31": 0.25},
}
BUDGET = {
    "rows": [
        {"name": n, "label": n, "dm31": COST, "divergences": 0, "ess_bulk": 500.0, "seconds": 1.0}
        for n in (STATISTICS, "flux", TWO_STEPS, TOTAL)
    ],
    "nuisances": [NUISANCE],
}
JOINT = {
    "nuisances": {"flux_0": NUISANCE},
    "parameters": {"dm31": {"mean": 1.0, "sd": 0.1, "two_steps_mean": 1.0, "two_steps_sd": 0.2}},
}
SPREAD = {"low": 0.6, "high": 0.7}
COVERED = {"point": {"dm31": 2.5e-3}, "level": 0.68, "interval": "hdi", **SPREAD}
CRITICAL = {"sigma": 1.0, "level": 0.68, "critical": 1.1, "wilks": 1.0, **SPREAD}
CAMPAIGN = {
    "kind": "coverage",
    "verdict": "Intervals cover.",
    "intervals": {"dm31": [COVERED | dict.fromkeys(("fraction", "error", "pull", "length"), 0.65)]},
    "exposures": [10.0, 20.0],
    "events": [100, 200],
    "widths": {"dm31": {"width": [2e-5, 1e-5], "power": -0.5}},
    "estimates": {
        "truth": {"dm31": {"mean": 1.0, "sd": 0.1, "interval68": [0.9, 1.1], "interval90": [0, 2]}}
    },
    "probabilities": {
        "normal": {
            "bins": [{"number": 3, "mean": 0.5, "fraction": 0.6, "error": 0.1, **SPREAD}],
            **{"bias": 0.3, "sharpness": None},
        }
    },
    "statistic": {"pi": {"critical": [CRITICAL | {"above_wilks": 0.3, "above_error": 0.1}]}},
    "distances": {"near_rel_l2": {"median": 1e-3, "low": 1e-4, "high": 1e-2}},
}


def show_budget(budget: Json) -> None:
    budget_table(budget)
    render_budget(budget, {}, "", {})


def show_campaign(summary: Json) -> None:
    for name, rows in summary.get("intervals", {}).items():
        coverage_table(name, rows, ("hdi",))
    render_campaign(summary, {}, "", {})


@pytest.mark.parametrize("value", [None, "text"])
@pytest.mark.parametrize(
    ("content", "read", "show", "at_least"),
    [(BUDGET, read_budget, show_budget, 40), (CAMPAIGN, read_campaign, show_campaign, 35)],
)
def test_what_lacks_something_is_refused_or_shown(
    content: dict[str, Any],
    read: Callable[[Path], Json],
    show: Callable[[Json], None],
    at_least: int,
    value: str | None,
    changed: Callable[..., Any],
    tmp_path: Path,
) -> None:
    path, refused = tmp_path / "found.json", 0
    path.write_text(json.dumps(content))
    show(read(path))
    for key, other in changed(content, value):
        path.write_text(json.dumps(other))
        try:
            found = read(path)
        except InputError as error:
            refused += 1
            assert str(error).startswith(f"{path}: ")
            assert f"{key} = " in str(error)
            assert "damaged, or of another version" in str(error)
        else:
            show(found)
    assert refused >= at_least


def test_a_note_on_a_joint_model_that_lacks_something_is_refused(
    changed: Callable[..., Any], tmp_path: Path
) -> None:
    with RunFolder.create(tmp_path / "run") as folder:
        key = content_key("posterior", sections={})
        with folder.stage("posterior", key) as stage:
            stage.notes["summary"] = {"joint": JOINT}
        found = joint_part(folder)
        assert found == JOINT
        notes = folder.stages["posterior"]["notes"]["summary"]
        for name, other in changed(JOINT):
            notes["joint"] = other
            try:
                joint = joint_part(folder)
            except InputError as error:
                assert "manifest.json: stages.posterior.notes.summary.joint." in str(error)
                assert f"{name} = (missing)" in str(error)
            else:
                assert joint is not None
                joint_sentences(list(joint["nuisances"].values()), joint["parameters"])
        del notes["joint"]
        assert joint_part(folder) is None


def test_widths_belong_to_exposures(tmp_path: Path) -> None:
    path = tmp_path / "campaign.json"
    path.write_text(json.dumps(CAMPAIGN | {"exposures": [10.0]}))
    with pytest.raises(InputError, match=r"widths\.dm31\.width = 2 numbers: damaged"):
        read_campaign(path)


@pytest.mark.parametrize("content", [[], 3, None])
def test_content_that_is_no_table_is_refused(content: object, tmp_path: Path) -> None:
    path = tmp_path / "budget.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="content = "):
        read_budget(path)
