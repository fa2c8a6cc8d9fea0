"""Kills, Ctrl-C and full disks: a run goes on from where it was, and ends with the same numbers."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bayesxs.storage.atomic import arrays_sha256, read_arrays


def stages(folder: Path) -> dict[str, Any]:
    """Return the finished stages of a run that another process may be writing."""
    manifest = folder / "manifest.json"
    found: dict[str, Any] = json.loads(manifest.read_text())["stages"] if manifest.exists() else {}
    return found


def later(seconds: float, condition: Callable[[], bool] = lambda: True) -> Callable[[], bool]:
    """Return a condition that holds some time after another one did for the first time."""
    moments: list[float] = []

    def holds() -> bool:
        if not moments and condition():
            moments.append(time.monotonic())
        return bool(moments) and time.monotonic() >= moments[0] + seconds

    return holds


def test_stages_killed_at_random_moments_end_with_the_same_numbers(
    bayesxs, card: Path, finished: Path, tmp_path: Path, numbers: Callable[..., Any]
) -> None:
    rng = random.Random(5)
    folder = tmp_path / "killed"
    expected = numbers(finished)

    def checkpoint(name: str) -> Callable[[], bool]:
        return lambda: any((folder / "checkpoints").glob(f"{name}*.safetensors"))

    def kill(*command: object, when: Callable[[], bool], sent: int = signal.SIGKILL) -> Any:
        done = bayesxs(*command, "--quiet", send=sent, when=when)
        # A fast machine may be done before the chosen moment: then there is nothing to resume
        assert done.code in (0, -sent if sent == signal.SIGKILL else 130), done.stderr
        return done

    def finish(*command: object) -> Any:
        done = bayesxs(*command)
        assert done.code == 0, done.stderr
        return done

    # Training: at the start, and between its two optimisers
    kill("run", card, "--out", folder, when=later(rng.uniform(0.0, 0.3)))
    kill("run", card, "--out", folder, "--resume", when=checkpoint("train/mu-0"))
    assert checkpoint("train/mu-0")() != ("train" in stages(folder))
    finish("train", card, "--out", folder, "--resume")
    kill("simulate", folder, when=later(rng.uniform(0.1, 0.8)))
    finish("simulate", folder)
    found = numbers(folder)
    assert found == {name: expected[name] for name in found}

    # From here with pinned weights in place of the training: the card changes, and with it the
    # stages that come after the training
    weights = f"network.weights={finished / 'network.safetensors'}"
    before = stages(folder)

    def replaced() -> bool:
        return stages(folder).get("train", before["train"]) != before["train"]

    kill(
        *("run", "--resume", "--out", folder, "--set", weights),
        when=later(rng.uniform(0.2, 2.0), replaced),
    )
    assert stages(folder)["simulate"] == before["simulate"]
    assert not (folder / "training.csv").exists()
    finish("train", "--resume", "--out", folder)  # a slow machine was killed before the modes
    finish("bootstrap", folder)
    kill(
        *("run", "--resume", "--out", folder),
        when=later(rng.uniform(0.0, 1.0), checkpoint("sample/events-truth-")),
    )
    done = kill(
        *("sample", folder),
        when=later(rng.uniform(0.0, 0.5), checkpoint("sample/asimov-truth-")),
        sent=signal.SIGINT,
    )
    assert done.stderr in ("", f"interrupted: bayesxs sample {folder} continues\n")
    finish("sample", folder)
    drawn = rng.randint(1, 10)
    kill("report", folder, when=lambda: len(list(folder.glob("figures/*.png"))) >= drawn)
    finish("report", folder)

    assert numbers(folder) == expected
    done = finish("run", "--resume", "--out", folder)
    assert all(line.endswith(": up to date") for line in done.stderr.splitlines())
    assert not (folder / "figures" / "training.png").exists()
    assert not (folder / "checkpoints").exists()
    assert not list(folder.rglob(".partial*"))


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_is_one_line(
    sent: int, code: int, bayesxs, card: Path, tmp_path: Path
) -> None:
    """What is sent is Ctrl-C, or what batch systems send before they kill."""
    folder = tmp_path / "interrupted"
    checkpoint = folder / "checkpoints" / "train" / "mu-0.safetensors"
    done = bayesxs("run", card, "--out", folder, "--quiet", send=sent, when=checkpoint.exists)
    line = f"interrupted: bayesxs run --resume --out {folder} continues\n"
    assert (done.code, done.stdout, done.stderr) == (code, "", line)
    assert not list(folder.rglob(".partial*"))
    # What it had until then is whole, and is taken up
    if checkpoint.exists():
        arrays, marks = read_arrays(checkpoint)
        assert marks["sha256"] == arrays_sha256(arrays)
    done = bayesxs("train", card, "--out", folder, "--resume", "--quiet")
    assert (done.code, done.stdout, done.stderr) == (0, "", "")


def test_a_full_disk_while_training(bayesxs, card: Path, tmp_path: Path) -> None:
    folder = tmp_path / "full"
    line = bayesxs.refused("train", card, "--out", folder, "--quiet", file_size=8_000)
    assert line == (
        f"{folder}/checkpoints/train/mu-0.safetensors: disk full: the file was not written; "
        "free some space, then --resume continues"
    )
    assert not list(folder.rglob(".partial*"))


def test_a_run_goes_on_once_the_disk_has_space(
    bayesxs, finished: Path, tmp_path: Path, numbers: Callable[..., Any]
) -> None:
    folder = shutil.copytree(finished, tmp_path / "full")
    # Room for the manifest, which is written first, but not for the events
    manifest, events = ((folder / n).stat().st_size for n in ("manifest.json", "events.nc"))
    assert manifest < events
    (folder / "events.nc").unlink()
    command = ("simulate", folder, "--quiet")
    line = bayesxs.refused(*command, file_size=(manifest + events) // 2)
    assert line.startswith(f"{folder}/events.nc: disk full: the file was not written; free some")
    assert bayesxs(*command).code == 0
    assert numbers(folder) == numbers(finished)
