"""A tiny analysis, its finished run, and a way to run commands as processes of their own."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest
import safetensors.numpy
import xarray as xr

# Large enough to exercise every stage, too small to give physics
TINY = """
preset = "quick"
seed = 3

[grid]
energy_order = 1
lepton_energies = 12
z = 12
nodes_x = 12
nodes_q2 = 12

[network]
layers = 2
width = 8

[training]
method = "lbfgs"
adam_steps = 20
lbfgs_steps = 60

[far]
events = 200

[sampler]
chains = 2
warmup = 200
draws = 200
checkpoint_every = 100

[bootstrap]
replicas = 20

[report]
predictive_draws = 10
"""


# Campaigns that several files look at. As many draws as steps of warm-up, and as many
# pseudo-experiments in a batch: one compiled program does for all
CAMPAIGNS = {
    "sbc": """
[campaign]
kind = "sbc"
experiments = 14
batch = 4
warmup = 50
draws = 50
thin = 2
""",
    "sensitivity": """
[campaign]
kind = "sensitivity"
experiments = 4
batch = 4
warmup = 50
draws = 50
exposures = [3.0, 30.0]
""",
}


@dataclass(frozen=True)
class Done:
    """How a command ended; the code is negative after a signal, as in `subprocess`."""

    code: int
    stdout: str
    stderr: str


class Commands:
    """Run `bayesxs` commands, each in a process of its own."""

    def __init__(self, orders: IO[bytes], answers: IO[bytes], folder: Path) -> None:
        self._orders = orders
        self._answers = answers
        self._folder = folder

    def __call__(
        self,
        *arguments: object,
        cwd: Path | None = None,
        file_size: int | None = None,
        send: int | None = None,
        when: Callable[[], bool] = lambda: True,
    ) -> Done:
        """Run a command and wait for its end.

        Args:
            arguments: after `bayesxs`.
            cwd: working folder.
            file_size: largest file that the process can write, in bytes.
            send: a signal that the process gets once `when` is true.
            when: looked at again and again until it is true, or the process has ended.
        """
        stdout, stderr = self._folder / "stdout", self._folder / "stderr"
        order = {
            "argv": [str(argument) for argument in arguments],
            "cwd": str(cwd or self._folder),
            "stdout": str(stdout),
            "stderr": str(stderr),
            "file_size": file_size,
        }
        self._orders.write(json.dumps(order).encode() + b"\n")
        process = self._answer()
        if send is not None:
            while not self._ended(0.002):
                if when():
                    os.kill(process, send)
                    break
        code = os.waitstatus_to_exitcode(self._answer())
        return Done(code, stdout.read_text(), stderr.read_text())

    def refused(self, *arguments: object, **options: Any) -> str:
        """Return the one line with which a command is refused."""
        done = self(*arguments, **options)
        assert (done.code, done.stdout) == (2, ""), done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("error: ")
        return done.stderr.removeprefix("error: ").rstrip("\n")

    def _answer(self) -> int:
        line = self._answers.readline()
        assert line, "the fork server has died"
        return int(line)

    def _ended(self, seconds: float) -> bool:
        return bool(select.select([self._answers], [], [], seconds)[0])


@pytest.fixture(scope="session")
def compiling(fast_compilation: str) -> dict[str, str]:
    """Environment in which programs are compiled fast; all tests share what is compiled."""
    return {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": fast_compilation}


@pytest.fixture(scope="session")
def bayesxs(
    compiling: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Commands]:
    """The command line; compiled programs are shared by all commands of the session."""
    folder = tmp_path_factory.mktemp("commands")
    environment = {**os.environ, **compiling}
    with subprocess.Popen(
        [sys.executable, Path(__file__).with_name("fork_server.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        env=environment,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        yield Commands(server.stdin, server.stdout, folder)
        server.stdin.close()


def without_seconds(summary: dict[str, Any]) -> dict[str, Any]:
    """Return a summary without the times that it holds."""
    return {
        key: without_seconds(value) if isinstance(value, dict) else value
        for key, value in summary.items()
        if key != "seconds"
    }


def numbers(folder: Path) -> dict[str, Any]:
    """Return every number that a run has found: its summary, network, events and draws.

    Arrays come as bytes: the same numbers are the same bits.
    """
    found: dict[str, Any] = {}
    if (folder / "summary.json").exists():
        found["summary"] = without_seconds(json.loads((folder / "summary.json").read_text()))
    for name, array in safetensors.numpy.load_file(folder / "network.safetensors").items():
        found[f"network/{name}"] = array.tobytes()
    for path in sorted(folder.glob("*.nc")):
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            for node in tree.subtree:
                for name, array in node.to_dataset(inherit=False).variables.items():
                    found[f"{path.name}{node.path}/{name}"] = array.values.tobytes()
    return found


@pytest.fixture(scope="session", name="numbers")
def _numbers() -> Callable[..., dict[str, Any]]:
    return numbers


@pytest.fixture(scope="session")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny analysis card."""
    path = tmp_path_factory.mktemp("card") / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def finished(
    bayesxs: Commands, card: Path, made_once: Callable[[str, Callable[[Path], None]], Path]
) -> Path:
    """The folder of a finished run of the tiny card. Copy it to change it."""

    def make(folder: Path) -> None:
        done = bayesxs("run", card, "--out", folder, "--quiet")
        assert (done.code, done.stdout, done.stderr) == (0, "", "")

    return made_once("finished", make)


@pytest.fixture(scope="session")
def campaigns() -> dict[str, str]:
    """The section `[campaign]` of each kind that `campaigned` makes."""
    return CAMPAIGNS


@pytest.fixture(scope="session")
def campaigned(
    bayesxs: Commands,
    card: Path,
    made_once: Callable[[str, Callable[[Path], None]], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Path]:
    """Return the folder of a finished campaign of the tiny card, a copy of one's own."""

    def of(kind: str) -> Path:
        def make(folder: Path) -> None:
            plan = tmp_path_factory.mktemp("plan") / f"{kind}.toml"
            plan.write_text(card.read_text() + CAMPAIGNS[kind])
            # A second worker would compile the same programs
            done = bayesxs("campaign", plan, "--out", folder, "--workers", 1, "--quiet")
            assert (done.code, done.stdout, done.stderr) == (0, "", "")

        return made_once(kind, make)

    return of
