"""Run folders that somebody else has made: nothing outside of them is read, written or deleted."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesxs.errors import InputError, shown
from bayesxs.progress import Reporter
from bayesxs.runs.pipeline import STAGES, Analysis
from bayesxs.storage.atomic import (
    atomic_path,
    file_sha256,
    read_bytes,
    remove_partials,
    write_arrays,
    write_text,
)
from bayesxs.storage.inner import InnerPath, entries, inner_root, open_plain, present, remove
from bayesxs.storage.manifest import STAGE_NAMES, is_output
from bayesxs.storage.run_folder import RunFolder, content_key

KEY = content_key("train", sections={"seed": 1})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with one finished stage, and beside it a folder of somebody's weights."""
    path = tmp_path / "run"
    with RunFolder.create(path) as folder, folder.stage("train", KEY) as stage:
        write_text(stage.output("training.csv"), "step,loss\n0,1\n")
        write_text(stage.output("figures/a.png"), "x")
    (tmp_path / "outside").mkdir()
    write_arrays(tmp_path / "outside" / "train.safetensors", {"w": np.zeros(2)})
    write_text(tmp_path / "outside" / "secret.txt", "secret")
    return path


def edit(folder: Path, how: Callable[[dict[str, Any]], Any]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    how(manifest["stages"])
    (folder / "manifest.json").write_text(json.dumps(manifest))


def contents(folder: Path) -> dict[str, Any]:
    """Return everything below a folder: what files hold, where links point."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = path.read_bytes()
        else:
            found[name] = None
    return found


def refused(run: Path, act: Callable[[], Any], *, lock: bool = True) -> str:
    """Return the line of a refusal that touches nothing but the process number in the lock."""

    def seen() -> dict[str, Any]:
        return {k: v for k, v in contents(run.parent).items() if not lock or k != "run/.lock"}

    before = seen()
    with pytest.raises(InputError) as caught:
        act()
    assert seen() == before
    line = str(caught.value)
    assert "\n" not in line
    return line


def open_and_close(run: Path) -> Callable[[], None]:
    return lambda: RunFolder.reopen(run).close()


def test_the_words_of_manifests_are_the_stages_of_the_pipeline() -> None:
    # Sensitivities are scanned from cards of samples, which the pipeline does not run
    assert frozenset(STAGES) | {"sensitivity"} == STAGE_NAMES


@pytest.mark.parametrize(
    "name", ["../.bashrc", "/etc/x.nc", "a/../../x.nc", "figures/../x.nc", "a" * 200 + ".nc"]
)
def test_outputs_lie_within_the_folder(name: str, run: Path) -> None:
    edit(run, lambda stages: stages["train"]["outputs"].update({name: "0" * 64}))
    for act in (open_and_close(run), lambda: RunFolder.view(run)):
        line = refused(run, act)
        assert f"manifest.json: stages.train.outputs = {shown(name)}: an output is a plain" in line


@pytest.mark.parametrize("name", ["..", "../outside", "PARENT/outside", "train/../../outside", ""])
def test_stages_are_known_words(name: str, run: Path) -> None:
    name = name.replace("PARENT", str(run.parent))
    edit(run, lambda stages: stages.update({name: stages["train"]}))
    for act in (open_and_close(run), lambda: RunFolder.view(run)):
        assert f"stages = {name}: one of bootstrap, budget, " in refused(run, act)


@given(st.text(st.characters(max_codepoint=0x250), max_size=12))
def test_names_of_outputs_stay_in_the_folder(name: str) -> None:
    if is_output(name):
        assert os.path.normpath(name) == name
        assert not name.startswith((".", "/"))
        assert os.path.dirname(name) in ("", "figures")
        assert name not in ("manifest.json", "config.toml")


@pytest.mark.parametrize(
    "change",
    [
        {"key": 3},
        {"key": "../x"},
        {"seconds": "1"},
        {"seconds": None},
        {"notes": []},
        {"outputs": []},
        {"outputs": {"training.csv": 3}},
        {"outputs": {"training.csv": "../x"}},
        {"outputs": {"manifest.json": "0" * 64}},
    ],
)
def test_records_are_whole(change: dict[str, Any], run: Path) -> None:
    edit(run, lambda stages: stages["train"].update(change))
    assert "manifest.json: stages.train." in refused(run, open_and_close(run))


def test_a_lock_that_is_a_link_keeps_what_it_points_to(run: Path) -> None:
    (run / ".lock").unlink()
    (run / ".lock").symlink_to(run.parent / "outside" / "secret.txt")
    line = refused(run, open_and_close(run), lock=False)
    assert line.startswith(f"{run}/.lock: is a symbolic link")
    (run / ".lock").unlink()
    os.link(run.parent / "outside" / "secret.txt", run / ".lock")
    assert "has other names elsewhere" in refused(run, open_and_close(run), lock=False)
    (run / ".lock").unlink()
    os.mkfifo(run / ".lock")
    with pytest.raises(InputError, match="no plain file"):
        RunFolder.reopen(run)


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("checkpoints", "outside"),
        ("checkpoints/train", "outside"),
        ("checkpoints/sample", "outside"),
        ("checkpoints/train/train.safetensors", "outside/secret.txt"),
        ("figures", "outside"),
        ("figures/a.png", "outside/secret.txt"),
        ("training.csv", "outside/secret.txt"),
        ("config.toml", "outside/secret.txt"),
        ("manifest.json", "elsewhere.json"),
    ],
)
def test_no_link_is_followed(link: str, target: str, run: Path) -> None:
    (run.parent / "elsewhere.json").write_bytes((run / "manifest.json").read_bytes())
    if link.startswith("figures"):
        write_text(run.parent / "outside" / "a.png", "x")
    path = run / link
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        (path / "a.png").unlink()
        path.rmdir()
    path.unlink(missing_ok=True)
    path.symlink_to(run.parent / target)
    place = run if link in ("figures", "checkpoints") else path
    assert refused(run, open_and_close(run)).startswith(f"{place}")
    with pytest.raises(InputError, match="is a symbolic link"):
        RunFolder.reopen(run)


def test_a_folder_reached_through_a_link_is_the_users_own_choice(run: Path) -> None:
    other = run.parent / "other"
    other.symlink_to(run)
    (run / ".partial-0123abcd-a.nc").write_text("half")
    with RunFolder.reopen(other) as folder:
        assert folder.stage_is_current("train", KEY)
    assert not (run / ".partial-0123abcd-a.nc").exists()


def test_leftovers_behind_links_stay(run: Path) -> None:
    leftover = run.parent / "outside" / ".partial-0123abcd-a.nc"
    leftover.write_text("half")
    (run / "own").symlink_to(leftover.parent)  # of the user: the package does not use the name
    (run / ".partial-0123abcd-b.nc").symlink_to(leftover)
    RunFolder.reopen(run).close()
    (run / "campaign").symlink_to(leftover.parent)
    remove_partials(RunFolder.view(run).path / "campaign")
    assert leftover.read_text() == "half"
    assert not (run / ".partial-0123abcd-b.nc").is_symlink()
    assert (run / "own").is_symlink()


def test_a_folder_that_becomes_a_link_while_a_file_is_written(run: Path) -> None:
    """The file goes where the folder is that was opened, and the target keeps its own."""
    victim = run.parent / "outside" / "a.png"
    victim.write_text("own")
    final = inner_root(run) / "figures" / "a.png"
    with atomic_path(final) as temporary:
        temporary.write_text("new")
        (run / "figures").rename(run / "moved")
        (run / "figures").symlink_to(victim.parent)
    assert victim.read_text() == "own"
    assert (run / "moved" / "a.png").read_text() == "new"
    with pytest.raises(InputError, match="figures: is a symbolic link"):
        write_text(final, "new")
    assert sorted(os.listdir(victim.parent)) == ["a.png", "secret.txt", "train.safetensors"]


def test_checkpoints_that_become_a_link_during_a_stage(run: Path) -> None:
    outside = run.parent / "outside"
    with RunFolder.reopen(run) as folder:
        with (
            pytest.raises(InputError, match="train: is a symbolic link"),
            folder.stage("train", KEY) as stage,
        ):
            stage.save_checkpoint({"w": np.zeros(2)})
            os.rename(run / "checkpoints" / "train", run / "moved")
            (run / "checkpoints" / "train").symlink_to(outside)
        with pytest.raises(InputError, match="train: is a symbolic link"):
            folder.remove_checkpoints("train")
    assert sorted(os.listdir(outside)) == ["secret.txt", "train.safetensors"]


@pytest.mark.parametrize("name", ["", "manifest.json"])
def test_a_folder_of_another_user_says_so(
    name: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / name
    with RunFolder.reopen(run) as folder:
        assert folder.notice is None
        owner = os.lstat

        def foreign(asked: Any, **options: Any) -> os.stat_result:
            found = owner(asked, **options)
            values = list(found)
            values[stat.ST_UID] = os.geteuid() + (Path(asked) == path)
            return os.stat_result(values)

        monkeypatch.setattr(os, "lstat", foreign)
        assert folder.notice == f"{path}: belongs to another user (uid {os.geteuid() + 1})"
        analysis = Analysis.__new__(Analysis)
        analysis.folder, analysis.reporter = folder, Reporter(True)
        analysis.say_whose()
    said = " ".join(capsys.readouterr().err.split())
    assert "notice: " in said
    assert "belongs to another user" in said


def test_outputs_are_read_as_their_stage_left_them(run: Path) -> None:
    folder = RunFolder.view(run)
    assert folder.output("training.csv") == run / "training.csv"
    with pytest.raises(InputError, match="no finished stage of the run has made it"):
        folder.output("events.nc")
    (run / "training.csv").write_text("other")
    with pytest.raises(InputError, match="changed since stage train"):
        folder.output("training.csv")


def test_pipes_and_devices_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        for read in (read_bytes, file_sha256):
            with pytest.raises(InputError, match="no plain file"):
                read(path)


def test_inner_paths_keep_their_root(tmp_path: Path) -> None:
    root = inner_root(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.txt").write_text("x")
    for path in (
        root / "a" / "b.txt",
        (root / "a" / "c").with_name("b.txt"),
        (root / "a" / "b" / "c").parent.with_suffix(".txt"),
        next(root.glob("a/*")),
        next((root / "a").iterdir()),
    ):
        assert isinstance(path, InnerPath)
        assert path.root_folder == tmp_path
        assert path == tmp_path / "a" / "b.txt"
        assert read_bytes(path) == b"x"
    assert entries(root / "a") == ["b.txt"]
    assert entries(root / "none") == []
    for path in (root / "a" / ".." / "a" / "b.txt", root.parent / "x", root):
        for act in (open_plain, remove, present):
            with pytest.raises((InputError, ValueError)):
                act(path)
    assert (tmp_path / "a" / "b.txt").exists()


def test_the_mode_of_files_is_the_users_own(tmp_path: Path) -> None:
    write_text(inner_root(tmp_path) / "a" / "b.txt", "x")
    (tmp_path / "plain.txt").write_text("x")
    modes = [stat.S_IMODE((tmp_path / n).stat().st_mode) for n in ("a/b.txt", "plain.txt")]
    assert modes[0] == modes[1]


def test_words_of_others_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    line = "warning: [/red] [bold]x[/bold] " + "a-long/path " * 20 + "end"
    Reporter(True).line(line)
    assert capsys.readouterr().err == f"{line}\n"
