"""Campaigns from the command line: what they leave and refuse, and what a kill costs them."""

from __future__ import annotations

import json
import random
import signal
import socket
import time
from pathlib import Path

import pytest
import xarray as xr

import bayesxs as package
from bayesxs.report.style import to_png
from bayesxs.storage.run_folder import RunFolder


@pytest.fixture(scope="module")
def plan(campaigns: dict[str, str], card: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny card with a campaign of four batches."""
    path = tmp_path_factory.mktemp("plan") / "sbc.toml"
    path.write_text(card.read_text() + campaigns["sbc"])
    return path


@pytest.fixture(scope="module")
def uninterrupted(campaigned) -> Path:
    return campaigned("sbc")


def test_a_campaign_leaves_ranks_verdict_and_page(uninterrupted: Path) -> None:
    summary = json.loads((uninterrupted / "campaign.json").read_text())
    assert (summary["kind"], summary["experiments"]) == ("sbc", 14)
    assert (summary["failed"], summary["missing"]) == ({}, [])
    names = {"dm31", "sin2_theta23", "sin2_2theta23", "log_likelihood"}
    assert summary["parameters"].keys() == names
    for entry in summary["parameters"].values():
        assert 0.0 <= entry["coverage"]["0.68"][0] <= 1.0
    with xr.open_dataset(uninterrupted / "campaign.nc", engine="h5netcdf") as data:
        assert list(data["experiment"]) == list(range(14))
        for name in names:
            assert set(data[f"rank_{name}"].values) <= set(range(26))  # 50 draws, every second
    page = (uninterrupted / "campaign.html").read_text()
    assert summary["verdict"].split()[0] in page
    assert page.count("data:image/png;base64,") >= 2


def test_python_opens_a_campaign(uninterrupted: Path, tmp_path: Path) -> None:
    found = package.open_campaign(uninterrupted)
    assert (found.card.campaign.experiments, found.data.sizes["experiment"]) == (14, 14)
    assert found.summary["parameters"].keys() >= {"dm31", "log_likelihood"}
    assert found.report == uninterrupted / "campaign.html"
    # Drawn from the same numbers as the file
    for name in ("ecdf", "ranks"):
        stored = (uninterrupted / "figures" / f"campaign_{name}.png").read_bytes()
        assert to_png(found.figure(name)) == stored
    with pytest.raises(package.InputError, match="figure = coverage: one of ecdf, ranks"):
        found.figure("coverage")
    with pytest.raises(package.InputError, match="no such folder"):
        package.open_campaign(tmp_path / "absent")


def test_python_goes_on_with_a_campaign(plan: Path, uninterrupted: Path) -> None:
    before = (uninterrupted / "campaign.json").read_bytes()
    found = package.campaign(plan, out=uninterrupted, workers=1, progress=False)
    assert found.path == uninterrupted
    assert (uninterrupted / "campaign.json").read_bytes() == before
    with pytest.raises(package.InputError, match=r"campaign = none: a campaign needs"):
        package.campaign(preset="quick", out=uninterrupted.parent / "none")


# The sampler of each is the one program that those of `campaigned` share
PLANS = {
    "coverage": "experiments=10, batch=4, warmup=50, draws=50, replicas=50, s2_23=[0.42], "
    "dm31=[2.45e-3, 2.6e-3]",
    "bootstrap": "replicas=30, batch=16",
    "ensemble": "members=3, batch=2",
}
FOUND = {
    "coverage": ("intervals", "HDIs of"),
    "sensitivity": ("widths", "counting alone gives"),
    "bootstrap": ("estimates", "with the learned cross section"),
    "ensemble": ("distances", "3 networks"),
}


@pytest.mark.parametrize("kind", FOUND)
def test_every_kind_leaves_numbers_words_figures_and_page(
    kind: str, bayesxs, card: Path, campaigned, tmp_path: Path
) -> None:
    if kind in PLANS:
        folder = tmp_path / kind
        plan = f"campaign={{kind='{kind}', {PLANS[kind]}}}"
        # A second worker would compile the same programs
        command = ("campaign", card, "--set", plan, "--out", folder, "--workers", 1, "--quiet")
        done = bayesxs(*command)
        assert (done.code, done.stderr) == (0, "")
    else:
        folder = campaigned(kind)
    summary = json.loads((folder / "campaign.json").read_text())
    section, words = FOUND[kind]
    assert summary["kind"] == kind and summary[section]
    assert words in summary["verdict"]
    assert (summary["failed"], summary["missing"]) == ({}, [])
    assert list((folder / "figures").glob("campaign_*.png"))
    page = (folder / "campaign.html").read_text()
    assert "data:image/png;base64," in page
    with xr.open_dataset(folder / "campaign.nc", engine="h5netcdf") as data:
        assert data.attrs["kind"] == kind
    if kind == "ensemble":
        assert (folder / "network.safetensors").exists()


def test_kills_lose_nothing(bayesxs, plan: Path, uninterrupted: Path, tmp_path: Path) -> None:
    """The client is killed at a random moment; the ranks are the same, bit for bit."""
    wait = random.Random(2).uniform(0.0, 0.5)
    folder = tmp_path / "killed"
    moments: list[float] = []

    def stored() -> bool:
        if list((folder / "campaign").glob("sbc-*.safetensors")):
            moments.append(time.monotonic())
        return bool(moments) and time.monotonic() > moments[0] + wait

    command = ("campaign", plan, "--out", folder, "--workers", 2, "--quiet")
    done = bayesxs(*command, send=signal.SIGKILL, when=stored)
    # A fast machine may be done before the chosen moment
    assert done.code in (0, -signal.SIGKILL), done.stderr
    done = bayesxs("campaign", "--out", folder, "--resume", "--workers", 1)
    assert done.code == 0, done.stderr
    with (
        xr.open_dataset(folder / "campaign.nc", engine="h5netcdf") as resumed,
        xr.open_dataset(uninterrupted / "campaign.nc", engine="h5netcdf") as whole,
    ):
        xr.testing.assert_identical(resumed, whole)


def test_a_finished_campaign_is_not_run_again(bayesxs, uninterrupted: Path) -> None:
    before = (uninterrupted / "campaign.nc").stat().st_mtime_ns
    done = bayesxs("campaign", "--out", uninterrupted, "--resume")
    assert "campaign: up to date" in done.stderr
    assert (uninterrupted / "campaign.nc").stat().st_mtime_ns == before


def test_another_card_is_refused_with_what_differs(
    bayesxs, plan: Path, uninterrupted: Path
) -> None:
    command = ("campaign", plan, "--out", uninterrupted, "--resume")
    changes = ("--set", "campaign.draws=60", "--set", "far.events=300")
    line = bayesxs.refused(*command, *changes)
    assert "differs in campaign.draws, far.events" in line


def test_a_scheduler_that_does_not_answer_is_named(bayesxs, plan: Path, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{unused.getsockname()[1]}"
    begin = time.monotonic()
    folder = tmp_path / "nobody"
    line = bayesxs.refused("campaign", plan, "--out", folder, "--scheduler", address)
    assert address in line
    assert time.monotonic() - begin < 30.0  # ten of them waiting


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "a campaign needs a [campaign] section"),
        (("--set", "campaign.kind=guess"), "campaign.kind"),
        (("--set", "campaign={kind='sbc', draws=50, thin=10}"), "campaign.thin"),
        (("--set", "campaign.kind=sbc", "--workers", "0"), "--workers"),
        (("--set", "campaign={kind='coverage', s2_23=[1.2]}"), "campaign.s2_23"),
        (("--set", "campaign={kind='coverage', dm31=[3.5e-3]}"), "campaign.dm31 = 0.0035"),
    ],
)
def test_bad_input(
    arguments: tuple[str, ...], line: str, bayesxs, card: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert line in bayesxs.refused("campaign", card, "--out", out, *arguments)
    assert not out.exists()


def test_two_campaigns_do_not_share_a_folder(bayesxs, uninterrupted: Path) -> None:
    with RunFolder.reopen(uninterrupted):
        line = bayesxs.refused("campaign", "--out", uninterrupted, "--resume")
    assert "another process" in line
