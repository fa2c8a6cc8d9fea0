"""Chains made by several runs, and the one run that they make together."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from bayesxs.cards.card import load_card
from bayesxs.progress import Reporter
from bayesxs.runs.pipeline import Analysis
from bayesxs.storage.atomic import file_sha256, write_text
from bayesxs.storage.run_folder import RunFolder


def copied(finished: Path, to: Path, **values: int) -> Path:
    """Copy a finished run, without what follows from its chains; change keys in its card."""
    unneeded = shutil.ignore_patterns("figures", "posterior_*", "summary.*", "report.html", ".lock")
    shutil.copytree(finished, to, ignore=unneeded)
    config = to / "config.toml"
    text = config.read_text()
    for key, value in values.items():
        old = next(line for line in text.splitlines() if line.startswith(f"{key} = "))
        text = text.replace(old, f"{key} = {value}")
    config.write_text(text)
    return to


def posing(finished: Path, to: Path, **values: int) -> Path:
    """Copy a run and let it pass for one of another card: refusals look no closer."""
    folder = copied(finished, to, **values)
    card = load_card(folder / "config.toml")
    key = Analysis(card, RunFolder.view(folder), Reporter(False)).key("sample")
    edit(folder, lambda stages: stages["sample"].update(key=key))
    return folder


def edit(folder: Path, how: Callable[[dict[str, Any]], Any]) -> None:
    """Change the records of the stages in a run's manifest."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    how(manifest["stages"])
    path.write_text(json.dumps(manifest))


@pytest.fixture
def second(finished: Path, tmp_path: Path) -> Path:
    """A run that passes for one of chains 2 and 3."""
    return posing(finished, tmp_path / "second", first_chain=2)


def test_two_runs_of_two_chains_are_one_of_four(
    bayesxs, finished: Path, tmp_path: Path, numbers: Callable[..., Any]
) -> None:
    four = copied(finished, tmp_path / "four", chains=4)
    two = copied(finished, tmp_path / "two", first_chain=2)
    for folder in (four, two):
        done = bayesxs("sample", folder, "--quiet")
        assert done.code == 0, done.stderr
    merged = tmp_path / "merged"
    done = bayesxs("merge", merged, two, finished)
    assert (done.code, done.stdout) == (0, f"report: {merged}/report.html\n"), done.stderr
    found = numbers(merged)
    summary = found.pop("summary")
    assert found == numbers(four)
    notes = RunFolder.view(four).stages["posterior"]["notes"]["summary"]
    for kind in ("learned", "truth"):
        assert summary[kind] == {k: v for k, v in notes[kind].items() if k != "seconds"}
    with xr.open_datatree(merged / "chains.nc", engine="h5netcdf") as tree:
        for group in ("events_truth/posterior", "asimov_learned/sample_stats"):
            assert list(tree[group].chain.values) == [0, 1, 2, 3]
    # The merged run is one like any other: all of it is up to date, and it says where it is from
    again = bayesxs("run", "--resume", "--out", merged)
    assert again.code == 0
    assert all(line.endswith(": up to date") for line in again.stderr.splitlines())
    assert (merged / "config.toml").read_text() == (four / "config.toml").read_text()
    manifest = json.loads((merged / "manifest.json").read_text())
    assert manifest["merged"] == [f"{finished}: chains 0 to 1", f"{two}: chains 2 to 3"]
    spent = [json.loads((f / "manifest.json").read_text())["stages"] for f in (finished, two)]
    assert manifest["stages"]["sample"]["seconds"] >= sum(s["sample"]["seconds"] for s in spent)
    assert not list(tmp_path.glob(".partial*"))


def refused(bayesxs, out: Path, *runs: Path, **options: Any) -> str:
    """Return the line of a refusal, which must leave nothing behind and touch no run."""
    before = {path: path.stat().st_mtime_ns for path in out.parent.rglob("*")}
    line: str = bayesxs.refused("merge", out, *runs, "--quiet", **options)
    assert {path: path.stat().st_mtime_ns for path in out.parent.rglob("*")} == before
    return line


def test_cards_that_differ(bayesxs, finished: Path, tmp_path: Path) -> None:
    second = posing(finished, tmp_path / "second", draws=100)
    assert refused(bayesxs, tmp_path / "out", finished, second) == (
        f"{second}/config.toml: sampler.draws = 100: must be 200 as in {finished}"
    )
    third = posing(finished, tmp_path / "third", draws=100, replicas=30, width=9)
    assert refused(bayesxs, tmp_path / "out", finished, third) == (
        f"{third}/config.toml: bootstrap.replicas = 30: must be 20 as in {finished} "
        "(also differing: network.width, sampler.draws)"
    )


@pytest.mark.parametrize("name", ["train", "uncertainty", "simulate"])
def test_stages_before_that_differ(
    name: str, bayesxs, finished: Path, second: Path, tmp_path: Path
) -> None:
    edit(second, lambda stages: stages[name].update(key="0" * 64))
    own = RunFolder.view(finished).stages[name]["key"]
    assert refused(bayesxs, tmp_path / "out", finished, second) == (
        f"{second}/manifest.json: stages.{name}.key = 000000000000: must be {own[:12]} as in "
        f"{finished}: stage {name} had other input files or another version of bayesxs"
    )


def test_other_data_of_the_same_card(bayesxs, finished: Path, second: Path, tmp_path: Path) -> None:
    """As machines make them whose rounding differs."""
    with (second / "events.nc").open("ab") as file:
        file.write(b"!")
    found = hashlib.sha256((second / "events.nc").read_bytes()).hexdigest()
    edit(second, lambda stages: stages["simulate"]["outputs"].update({"events.nc": found}))
    own = RunFolder.view(finished).stages["simulate"]["outputs"]["events.nc"]
    assert refused(bayesxs, tmp_path / "out", finished, second) == (
        f"{second}/events.nc: SHA-256 = {found[:12]}: must be {own[:12]} as in {finished}: make "
        "further chains in a copy of that folder, so that they are of the same data and networks"
    )


@pytest.mark.parametrize(
    ("first", "line"),
    [
        (0, "= 0: must be >= 2: HERE has chains 0 to 1 too"),
        (1, "= 1: must be >= 2: HERE has chains 1 too"),
        (3, "= 3: must be 2: no run has chains 2"),
        (9, "= 9: must be 2: no run has chains 2 to 8"),
    ],
)
def test_chains_that_are_there_twice_or_not_at_all(
    first: int, line: str, bayesxs, finished: Path, tmp_path: Path
) -> None:
    second = posing(finished, tmp_path / "second", first_chain=first)
    for runs in ((finished, second), *(((second, finished),) if first else ())):
        found = refused(bayesxs, tmp_path / "out", *runs)
        assert found == (
            f"{second}/config.toml: sampler.first_chain {line.replace('HERE', str(finished))}"
        )


def test_runs_without_their_chains(bayesxs, finished: Path, second: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    chains, config = second / "chains.nc", second / "config.toml"
    # Of another card than the folder's
    text = config.read_text()
    config.write_text(text.replace("first_chain = 2", "first_chain = 4"))
    line = refused(bayesxs, out, finished, second)
    assert line.startswith(f"{second}/manifest.json: stages.sample.key = ")
    assert ": stage sample is of another card, of other input files or of another version" in line
    config.write_text(text)
    chains.write_bytes(chains.read_bytes() + b"!")
    assert refused(bayesxs, out, finished, second).startswith(f"{chains}: changed since stage ")
    chains.unlink()
    assert refused(bayesxs, out, finished, second) == f"{chains}: missing: --resume makes it anew"
    edit(second, lambda stages: stages.pop("sample"))
    assert refused(bayesxs, out, finished, second) == (
        f"{second}: stage sample is not finished: run it first"
    )
    (second / "manifest.json").unlink()
    assert refused(bayesxs, out, finished, second) == (
        f"{second}: holds no run (manifest.json is missing)"
    )


def test_a_folder_that_exists_and_a_run_alone(
    bayesxs, finished: Path, second: Path, tmp_path: Path
) -> None:
    assert refused(bayesxs, second, finished, second) == (
        f"{second}: exists: merge makes a new folder"
    )
    line = "bayesxs merge: runs = 1: two or more"
    assert refused(bayesxs, tmp_path / "out", finished) == line


def test_what_a_killed_merge_has_left(
    bayesxs, finished: Path, second: Path, tmp_path: Path
) -> None:
    """It is removed and named; another merge's, and what only looks like it, stay."""
    out = tmp_path / "out"
    left = tmp_path / ".partial-0123abcd-out"
    with RunFolder.create(left) as folder:
        write_text(folder.path / "config.toml", "half")
    others = [tmp_path / ".partial-0123abcd-other", tmp_path / ".partial-89abcdef-out"]
    RunFolder.create(others[0]).close()
    with RunFolder.create(others[1]):  # a merge that goes on
        done = bayesxs("merge", out, finished, finished)
    assert done.code == 2
    said, error = done.stderr.splitlines()
    assert said == f"removed {left}, which an interrupted merge had left"
    assert error.startswith("error: ")
    assert not left.exists()
    assert all(other.exists() for other in others)


FOREIGN = {
    "outputs": ("../.bashrc", "stages.simulate.outputs = ../.bashrc: an output is a plain file"),
    "stages": ("VICTIM", "stages = VICTIM: one of bootstrap, budget, "),
}


@pytest.mark.parametrize("place", FOREIGN)
def test_a_run_by_mail_that_would_reach_outside(
    place: str, bayesxs, finished: Path, second: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    name, line = (text.replace("VICTIM", str(victim)) for text in FOREIGN[place])
    write_text(victim / "weights.safetensors", "own")
    write_text(tmp_path / "bashrc", "evil")
    first = copied(finished, tmp_path / "first")
    for folder in (first, second):
        if place == "outputs":
            digest = file_sha256(tmp_path / "bashrc")
            edit(folder, lambda s: s["simulate"]["outputs"].update({name: digest}))  # noqa: B023
        else:
            edit(folder, lambda s: s.update({name: s["simulate"]}))
    refusals = [
        refused(bayesxs, tmp_path / "home" / "all", first, second),
        bayesxs.refused("report", first, "--quiet"),
        bayesxs.refused("run", "--resume", "--out", first, "--quiet"),
    ]
    for found in refusals:
        assert line in found
    assert (victim / "weights.safetensors").read_text() == "own"
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("place", [".lock", "checkpoints/train"])
def test_a_run_by_mail_with_links(place: str, bayesxs, finished: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    write_text(victim / "weights.safetensors", "own")
    folder = copied(finished, tmp_path / "first")
    (folder / place).parent.mkdir(exist_ok=True)
    (folder / place).symlink_to(victim / "weights.safetensors" if place == ".lock" else victim)
    line = f"{folder}/{place}: is a symbolic link: a run folder holds its files itself"
    assert bayesxs.refused("report", folder, "--quiet") == line
    assert (victim / "weights.safetensors").read_text() == "own"
    assert sorted(path.name for path in victim.iterdir()) == ["weights.safetensors"]


def test_a_full_disk_while_merging(bayesxs, finished: Path, second: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    limit = (finished / "chains.nc").stat().st_size + 1_000
    assert refused(bayesxs, out, finished, second, file_size=limit) == (
        f"{out}: disk full: nothing was merged; free some space, then merge again"
    )
