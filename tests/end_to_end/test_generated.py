"""A run whose nature is a generator's events: near data, far data and template are theirs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from bayesxs.cards.build import build_experiment
from bayesxs.cards.card import load_card
from bayesxs.experiment.far import simulated_events

NUMBER = 12_000
HEADER = "E_nu_GeV,E_l_GeV,cos_theta"


@pytest.fixture(scope="module")
def card_of_events(card: Path, tmp_path_factory) -> Path:
    """A card of events that the tiny card's partons make in the near flux, some of them of NC."""
    folder = tmp_path_factory.mktemp("generated")
    unoscillated = {"oscillation": {"baseline_km": 1e-3}}
    drawn = simulated_events(build_experiment(load_card(card, overrides=unoscillated)), NUMBER, 5)
    columns = [drawn[name].values for name in ("energy", "lepton_energy", "cos_theta")]
    rows = np.column_stack([*columns, np.full(NUMBER, 14), np.full(NUMBER, 13)])
    rows[:50, 4] = 14
    np.savetxt(
        folder / "own.csv", rows, delimiter=",", header=f"{HEADER},pdg_nu,pdg_l", comments=""
    )
    changed = folder / "events.toml"
    changed.write_text(card.read_text() + "[nature]\ntype = 'events'\npath = 'own.csv'\n")
    return changed


@pytest.fixture(scope="module")
def generated(bayesxs, card_of_events: Path) -> Path:
    """The folder of a run of it."""
    done = bayesxs("run", card_of_events, "--out", card_of_events.parent / "run", "--quiet")
    assert (done.code, done.stdout, done.stderr) == (0, "", "")
    return card_of_events.parent / "run"


def test_the_summary_says_how_near_and_far_data_are_fitted(generated: Path) -> None:
    summary = json.loads((generated / "summary.json").read_text())
    near, far, events = summary["near"], summary["far"], summary["events"]["mu"]
    assert {"rel_l2", "chi2", "bins", "p_value"} <= set(near)
    assert {"rel_l2", "p_value", "events", "template_events"} <= set(far)
    assert far["events"] == 200
    assert events["not_charged_current"] == 50
    assert events["near"] + events["far"] + sum(list(events.values())[3:]) == NUMBER
    assert 0.0 <= far["p_value"] <= 1.0
    shifts = summary["asimov"]
    assert {"dm31", "sin2_2theta23"} <= set(shifts["shift_sigma"])
    assert {"learned", "truth"} <= set(summary)


def test_shifts_are_over_the_total_error(generated: Path) -> None:
    summary = json.loads((generated / "summary.json").read_text())
    with xr.open_datatree(generated / "asimov.nc", engine="h5netcdf") as tree:
        means = {k: float(tree[f"{k}/posterior/dm31"].mean()) for k in ("truth", "learned")}
        total = float(tree["learned/posterior/dm31"].std())
    least = abs(means["truth"] - means["learned"]) / total
    assert summary["asimov"]["shift_sigma"]["dm31"] >= least * (1.0 - 1e-6)


def test_nothing_is_called_true_but_the_values_put_in(generated: Path) -> None:
    page = (generated / "report.html").read_text()
    body = re.sub(r"<style.*?</style>|<pre.*?</pre>|<[^>]+>", " ", page, flags=re.DOTALL)
    assert not re.search(r"\btruth\b|true cross|against true|cross section that made", body)
    assert "generator&#39;s template" in page
    assert "dropped, as not of the charged current" in body
    figures = {path.stem for path in (generated / "figures").glob("*.png")}
    assert {"near_fit", "far_spectrum", "total_cross_section", "asimov"} <= figures
    assert not {"density_near", "structure_functions", "slices"} & figures


def test_faults_of_events_are_told_in_one_line(bayesxs, card_of_events: Path) -> None:
    out = card_of_events.parent / "refused"

    def refused(*changes: str) -> str:
        options = [part for change in changes for part in ("--set", change)]
        return bayesxs.refused("run", card_of_events, "--out", out, *options)

    missing = refused("nature.path=$NO_SUCH_FOLDER/events.npz")
    assert missing.endswith("the environment variable NO_SUCH_FOLDER is not set")
    assert refused("nature.path=none.csv").endswith("none.csv: cannot be read: no such file")
    assert "near_share = 1.0" in refused("nature.near_share=1.0")
    unwanted = refused("nature.unwanted=refuse")
    assert "own.csv: event 0: neutral-current or other = 14 -> 14: " in unwanted
    assert unwanted.endswith("(and 49 more)")
    assert "channels = qe" in refused("nature.channels=['qe']")
    assert "at least 1000" in refused("nature.near_share=0.05")
    assert "near.events = 500000: at most" in refused("near.events=500000")
    assert "far.events, mu_to_mu = 6000: at most" in refused("far.events=6000")
    same = f"assumed.path={card_of_events.parent / 'own.csv'}"
    assert "other events than those of nature" in refused("assumed.type=events", same)
    assert not out.exists() or not list(out.glob("*.nc"))
