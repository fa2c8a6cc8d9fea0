"""The command line: what it calls, what it says, and the exit codes."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bayesxs import runs, session
from bayesxs.cards.card import load_card, to_toml
from bayesxs.cli.main import app
from bayesxs.cli.tables import budget_table
from bayesxs.errors import InputError
from bayesxs.session import programs, prune
from bayesxs.storage.atomic import write_text
from bayesxs.storage.run_folder import RunFolder


class FakePipeline(types.ModuleType):
    """Stands for the pipeline: remembers its calls, and fails as told."""

    def __init__(self) -> None:
        super().__init__("bayesxs.runs.pipeline")
        self.calls: list[tuple[Any, dict[str, Any]]] = []
        self.failure: BaseException | None = None

    def run(self, card: Any, folder: Path, **options: Any) -> Path:
        self.calls.append((card, {"folder": folder, **options}))
        if self.failure:
            raise self.failure
        return folder / "report.html"

    def continue_run(self, folder: Path, **options: Any) -> None:
        self.calls.append((None, {"folder": folder, **options}))
        if self.failure:
            raise self.failure


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakePipeline:
    fake = FakePipeline()
    monkeypatch.setattr(runs, "pipeline", fake, raising=False)
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    monkeypatch.setattr(session, "prepare_jax", lambda chains=1: None)
    monkeypatch.setattr(session, "prepare_run", lambda chains: None)
    monkeypatch.chdir(tmp_path)
    return fake


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    with RunFolder.create(tmp_path / "a run") as folder:
        write_text(folder.path / "config.toml", to_toml(load_card(preset="quick")))
    return tmp_path / "a run"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(*arguments: object) -> str:
    """Return the one line with which a command is refused."""
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


# --- help --------------------------------------------------------------------------------------


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['bayesxs', '--help']\n"
        "from bayesxs.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'jax', 'numpy', 'pydantic', 'matplotlib', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    commands = ["run", "train", "simulate", "sample", "bootstrap", "report", "doctor", "pdf"]
    for command in commands:
        assert f"\n  {command} " in done.stdout


def test_python_m_bayesxs_is_the_same_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bayesxs", "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Usage: bayesxs ")


@pytest.mark.parametrize("command", [["run"], ["train"], ["sample"], ["pdf"], ["pdf", "check"]])
def test_every_command_has_help(command: list[str]) -> None:
    result = call(*command, "--help")
    assert result.exit_code == 0
    assert "Usage: " in result.stdout


@pytest.mark.parametrize("arguments", [["runn"], ["run", "--prset", "quick"], ["sample"]])
def test_unknown_commands_and_options_exit_with_2(arguments: list[str]) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert "Error: " in result.stderr


# --- run and train -----------------------------------------------------------------------------


def test_run_passes_the_resolved_card(pipeline: FakePipeline, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("seed = 4\n")
    result = call("run", "mine.toml", "--preset", "quick", "--set", "grid.z=33")
    assert result.exit_code == 0, result.output
    ((card, options),) = pipeline.calls
    assert (card.seed, card.preset, card.grid.z) == (4, "quick", 33)
    folder = Path("bayesxs-runs/mine")
    assert options == {
        "folder": folder,
        "resume": False,
        "stages": None,
        "progress": True,
        "source": "mine.toml",
    }
    assert result.stdout == f"report: {folder / 'report.html'}\n"


def test_the_run_folder_is_named_after_the_preset_without_a_card(pipeline: FakePipeline) -> None:
    call("run", "--preset", "paper", "--quiet")
    call("run")
    folders = [options["folder"] for _, options in pipeline.calls]
    assert folders == [Path("bayesxs-runs/paper"), Path("bayesxs-runs/default")]


def test_quiet_says_nothing(pipeline: FakePipeline, tmp_path: Path) -> None:
    result = call("run", "--out", tmp_path / "x", "--quiet")
    assert result.output == ""
    assert pipeline.calls[0][1]["progress"] is False


def test_train_runs_its_stage_only(pipeline: FakePipeline) -> None:
    assert call("train", "--preset", "quick").exit_code == 0
    assert pipeline.calls[0][1]["stages"] == ("train",)


def test_resume_without_a_card_takes_the_folders_own(
    pipeline: FakePipeline, run_folder: Path
) -> None:
    assert call("run", "--resume", "--out", run_folder).exit_code == 0
    card, options = pipeline.calls[0]
    assert card == load_card(preset="quick")
    assert options["resume"] is True


@pytest.mark.parametrize("stage", ["simulate", "sample", "bootstrap", "report"])
def test_single_stages_continue_a_run(stage: str, pipeline: FakePipeline, run_folder: Path) -> None:
    assert call(stage, run_folder).exit_code == 0
    options = {"folder": run_folder, "stages": (stage,), "progress": True}
    assert pipeline.calls == [(None, options)]


# --- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[grid]\nlepton_energy = 3",
            'card.toml: grid.lepton_energy = 3: unknown key; did you mean "lepton_energies"',
        ),
        ("[grid\n", "card.toml: line 1: [grid: Expected"),
        (
            "[oscillation]\ns2_23 = 1.5",
            "card.toml: oscillation.s2_23 = 1.5: must be less than",
        ),
    ],
)
@pytest.mark.parametrize("command", ["run", "train"])
def test_a_bad_card_is_one_line_and_nothing_is_made(
    command: str, text: str, expected: str, pipeline: FakePipeline, tmp_path: Path
) -> None:
    (tmp_path / "card.toml").write_text(text)
    assert expected in refused(command, "card.toml")
    assert pipeline.calls == []
    assert os.listdir(tmp_path) == ["card.toml"]


def test_missing_cards_and_wrong_presets_are_refused(pipeline: FakePipeline) -> None:
    assert "absent.toml: cannot read the card: No such file" in refused("run", "absent.toml")
    assert "--preset: preset = " in refused("run", "--preset", "quik")
    assert "--set: grid.zz = 3: unknown key" in refused("run", "--set", "grid.zz=3")


def test_an_existing_run_needs_resume(pipeline: FakePipeline, run_folder: Path) -> None:
    assert "already holds a run: --resume" in refused("run", "--out", run_folder)
    assert pipeline.calls == []


@pytest.mark.parametrize("stage", ["simulate", "sample", "bootstrap", "report"])
def test_single_stages_need_a_run(stage: str, pipeline: FakePipeline, tmp_path: Path) -> None:
    assert "no such folder" in refused(stage, tmp_path / "absent")
    assert "holds no run" in refused(stage, tmp_path)


def test_bad_input_found_inside_the_pipeline_is_one_line(pipeline: FakePipeline) -> None:
    pipeline.failure = InputError("flux.csv: row 7: nu_mu = -1.2: a flux is finite and >= 0")
    assert refused("run") == f"error: {pipeline.failure}"


def test_unexpected_exceptions_keep_their_traceback(pipeline: FakePipeline) -> None:
    pipeline.failure = ZeroDivisionError("surprise")
    result = call("run")
    assert result.exit_code == 1
    assert result.exception is pipeline.failure


def test_bad_input_in_a_real_process_has_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text("seed = -3\n")
    done = subprocess.run(
        [sys.executable, "-m", "bayesxs", "run", str(tmp_path / "card.toml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"error: {tmp_path / 'card.toml'}: seed = -3: must be greater than or equal to 0\n"
    )


# --- interruption ------------------------------------------------------------------------------


def test_ctrl_c_says_how_to_continue(pipeline: FakePipeline, run_folder: Path) -> None:
    pipeline.failure = KeyboardInterrupt()
    result = call("run", "--out", "new run")
    assert result.exit_code == 130
    assert result.stderr == "interrupted: bayesxs run --resume --out 'new run' continues\n"
    result = call("sample", run_folder)
    assert result.exit_code == 130
    assert result.stderr == f"interrupted: bayesxs sample '{run_folder}' continues\n"


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_real_signal_ends_with_one_line(sent: int, code: int, tmp_path: Path) -> None:
    """A second SIGTERM, while files are closed, changes nothing."""
    script = """
import os, signal, sys, time, types
import bayesxs.runs
from bayesxs import session
from bayesxs.cli import main as cli
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of shells ignore it
fake = types.ModuleType("bayesxs.runs.pipeline")
def run(card, folder, **options):
    try:
        print("running", flush=True)
        time.sleep(60)
    finally:
        os.kill(os.getpid(), signal.SIGTERM if SENT == signal.SIGTERM else 0)
        print("closed", flush=True)
fake.run = run
bayesxs.runs.pipeline = sys.modules[fake.__name__] = fake
session.prepare_jax = session.prepare_run = lambda chains=1: None
sys.argv = ["bayesxs", "run", "--out", "x"]
cli.main()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script.replace("SENT", str(int(sent)))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=tmp_path,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.send_signal(sent)
        stdout, stderr = process.communicate(timeout=20)
    assert process.returncode == code
    assert stdout == "closed\n"
    assert stderr == "interrupted: bayesxs run --resume --out x continues\n"


def test_the_handler_of_sigterm_is_given_back(pipeline: FakePipeline) -> None:
    before = signal.getsignal(signal.SIGTERM)
    call("run", "--out", "x")
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_table_of_a_budget_has_the_parameters_that_were_sampled() -> None:
    entry = {"sd": 2e-5, "contribution": 1e-5, "shift": 0.1}
    row = {"name": "statistics", "label": "statistics", "divergences": 0, "ess_bulk": 400.0}
    for sampled in (("dm31",), ("sin2_2theta23", "dcp")):
        budget = {"rows": [row | dict.fromkeys(sampled, entry)]}
        table = budget_table(budget)
        heads = [str(column.header) for column in table.columns]
        assert len(heads) == 1 + 2 * len(sampled) + 2
        assert any("δ" in head for head in heads) == ("dcp" in sampled)


# --- session, doctor, PDF sets -----------------------------------------------------------------


# Of the environment of the tests
UNSET = (
    "XLA_FLAGS",
    "JAX_COMPILATION_CACHE_DIR",
    "JAX_ENABLE_X64",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS",
)


def in_process(code: str, tmp_path: Path, **environment: str) -> dict[str, Any]:
    """Run code in a fresh process; it prints one JSON object last."""
    kept = {name: value for name, value in os.environ.items() if name not in UNSET}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**kept, "XDG_CACHE_HOME": str(tmp_path), "JAX_PLATFORMS": "cpu", **environment},
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


SESSION = """
import gc, json
from bayesxs.session import prepare_jax
prepare_jax(chains=3)
import jax, jax.numpy as jnp
print(json.dumps({"x64": str(jnp.ones(1).dtype), "devices": jax.device_count(),
                  "cache": jax.config.jax_compilation_cache_dir,
                  "young": gc.get_threshold()[0]}))
"""


def test_the_session_is_double_with_one_device_a_chain(tmp_path: Path) -> None:
    found = in_process(SESSION, tmp_path)
    assert (found["x64"], found["devices"]) == ("float64", 3)
    assert found["cache"].startswith(str(tmp_path / "bayesxs" / "jax"))
    assert found["young"] == 100_000  # objects between two searches for garbage


def test_the_session_respects_the_users_environment(tmp_path: Path) -> None:
    own = str(tmp_path / "own")
    flags = "--xla_force_host_platform_device_count=2"
    found = in_process(SESSION, tmp_path, XLA_FLAGS=flags, JAX_COMPILATION_CACHE_DIR=own)
    assert (found["devices"], found["cache"]) == (2, own)


@pytest.mark.parametrize(
    ("own", "then"), [(700, 100_000), (2000, 100_000), (500_000, 500_000), (0, 0)]
)
def test_garbage_is_looked_for_seldom_unless_the_user_says_how_often(own: int, then: int) -> None:
    before = gc.get_threshold()
    try:
        gc.set_threshold(own, 9, 8)
        session.collect_seldom()
        assert gc.get_threshold() == (then, 9, 8)
    finally:
        gc.set_threshold(*before)


PROGRAM = """
import json
from bayesxs.session import prepare_jax
prepare_jax()
import jax, jax.numpy as jnp
counts = {}
def count(event, **_):
    name = event.rsplit("/", 1)[-1]
    counts[name] = counts.get(name, 0) + 1
jax.monitoring.register_event_listener(count)
jax.jit(lambda x: jnp.sin(x) @ x)(jnp.arange(3.0)).block_until_ready()
print(json.dumps({"kept": counts.get("cache_misses", 0), "found": counts.get("cache_hits", 0)}))
"""


def test_programs_are_kept_however_quick_unless_switched_off(tmp_path: Path) -> None:
    off = in_process(PROGRAM, tmp_path, JAX_ENABLE_COMPILATION_CACHE="false")
    first, second = in_process(PROGRAM, tmp_path), in_process(PROGRAM, tmp_path)
    assert off == {"kept": 0, "found": 0}
    assert first["kept"] > 0
    assert second == {"kept": 0, "found": first["kept"] + first["found"]}


def test_the_least_recently_used_programs_are_removed(tmp_path: Path) -> None:
    for number in range(10):
        path = tmp_path / f"version-{number % 2}" / f"program-{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(100))
        os.utime(path, (number, number))
    prune(tmp_path, 1000)
    assert len(programs(tmp_path)) == 10  # not above the bound
    prune(tmp_path, 750)
    assert {path.name for _, _, path in programs(tmp_path)} == {
        f"program-{number}" for number in range(4, 10)
    }


def test_doctor_tells_the_size_of_the_compilation_cache(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "program").write_bytes(bytes(1_500_000))
    found = command("doctor", JAX_COMPILATION_CACHE_DIR=str(own)).stdout
    assert "1.5 MB, without a bound" in " ".join(found.split())
    assert "a GPU pays for" in found
    off = command("doctor", JAX_ENABLE_COMPILATION_CACHE="false").stdout
    assert "off: see $JAX_ENABLE_COMPILATION_CACHE" in " ".join(off.split())


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, in an environment of the user's."""
    script = "import sys; from bayesxs.cli.main import main; sys.argv[0] = 'bayesxs'; main()"
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200", **environment},
    )


@pytest.mark.parametrize("name", ["cuda", "nonsense"])
def test_a_platform_that_is_absent_is_named(name: str, tmp_path: Path) -> None:
    line = f"environment: JAX_PLATFORMS = {name}: JAX finds no such platform here: unset it, or"
    if name == "cuda" and in_process(PLATFORMS, tmp_path):
        pytest.skip("a CUDA device is here")
    out = tmp_path / "run"
    done = command("train", "--preset", "quick", "--out", str(out), JAX_PLATFORMS=name)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {line} JAX_PLATFORMS=cpu\n"
    assert not out.exists()
    done = command("doctor", JAX_PLATFORMS=name)
    assert done.returncode == 0, done.stderr
    row = next(row for row in done.stdout.splitlines() if line in row)
    assert "look here" in row
    assert "working folder" in done.stdout  # what comes after it is looked at too


PLATFORMS = """
import json, os
os.environ.pop("JAX_PLATFORMS")
import jax
print(json.dumps(any(device.platform == "gpu" for device in jax.devices())))
"""


def test_a_value_that_jax_does_not_take_is_named() -> None:
    done = command("pdf", "check", "embedded", JAX_ENABLE_X64="perhaps")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: environment: JAX cannot start: ")
    assert "JAX_ENABLE_X64" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_command_line_draws_without_the_backend_of_a_notebook(tmp_path: Path) -> None:
    script = """
import os, sys
from bayesxs.cli import main as cli
sys.argv = ["bayesxs", "pdf", "list"]
try:
    cli.main()
except SystemExit:
    pass
import matplotlib.pyplot
print(matplotlib.get_backend(), os.environ["MPLBACKEND"])
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MPLBACKEND": "module://not_installed.here"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "agg agg"


FORKED = """
import json, multiprocessing, sys
EARLY
import jax
jax.numpy.ones(3).sum().block_until_ready()

def child(number):
    import bayesxs
    try:
        bayesxs.run(preset="quick", out=sys.argv[1])
    except bayesxs.InputError as error:
        return str(error)

with multiprocessing.get_context("fork").Pool(1) as pool:
    print(json.dumps(pool.map(child, [0])))
"""


@pytest.mark.parametrize("early", ["import bayesxs", ""])
def test_a_process_forked_after_jax_has_started_is_refused(early: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code = FORKED.replace("EARLY", early).replace("sys.argv[1]", repr(str(out)))
    (line,) = in_process(code, tmp_path)
    assert "forked after JAX had started" in line
    assert '"spawn"' in line
    assert not out.exists()


def test_a_process_forked_before_jax_has_started_computes(tmp_path: Path) -> None:
    code = "import os, sys, bayesxs.session\nif os.fork():\n    os.wait()\nelse:{}"
    body = "\n".join(f"    {row}" for row in SESSION.strip().splitlines())
    found = in_process(code.format(f"\n{body}"), tmp_path)
    assert found["devices"] == 3


@pytest.fixture
def quiet_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "prepare_jax", lambda chains=1: None)
    monkeypatch.setattr(session, "prepare_run", lambda chains: None)


def test_doctor_reports_versions_devices_and_paths(
    quiet_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LHAPDF_DATA_PATH", str(tmp_path / "absent"))
    monkeypatch.setenv("COLUMNS", "200")
    result = call("doctor")
    assert result.exit_code == 0
    for word in ("numpyro", "double precision", "devices", "working folder", "no such folder"):
        assert word in result.stdout


def test_pdf_list_shows_the_sets_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SomeSet", "Set[red]"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.info").write_text("SetDesc: x\n")
    monkeypatch.setenv("LHAPDF_DATA_PATH", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    result = call("pdf", "list")
    assert result.exit_code == 0
    assert "embedded" in result.stdout
    assert "SomeSet" in result.stdout
    assert "Set[red]" in result.stdout  # brackets are part of the name, not markup


def test_pdf_check_shows_that_partons_carry_all_momentum(quiet_session: None) -> None:
    result = call("pdf", "check", "embedded")
    assert result.exit_code == 0, result.output
    sums = [float(value) for value in re.findall(r"([\d.]+) \(1 expected\)", result.stdout)]
    assert len(sums) == result.stdout.count("momentum sum") > 0
    assert sums == pytest.approx([1.0] * len(sums), abs=2e-3)


def test_missing_pdf_sets_are_refused(
    quiet_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LHAPDF_DATA_PATH", str(tmp_path))
    assert "PDF set NoSuchSet: no such folder" in refused("pdf", "check", "NoSuchSet")


def test_pdf_install_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lhapdf_management", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "needs the package lhapdf-management" in refused("pdf", "install", "CT18NNLO")


def test_pdf_install_goes_through_lhapdf_management(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = types.ModuleType("lhapdf_management")
    fake.environment = types.SimpleNamespace(datapath=None)  # type: ignore[attr-defined]
    fake.pdf_update = lambda: True  # type: ignore[attr-defined]

    def pdf_install(name: str) -> None:
        if name == "Offline":
            raise OSError("network is\nunreachable")
        if name != "Unknown":
            (fake.environment.datapath / name).mkdir()

    fake.pdf_install = pdf_install  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lhapdf_management", fake)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: fake)
    monkeypatch.setenv("LHAPDF_DATA_PATH", str(tmp_path))
    result = call("pdf", "install", "CT18NNLO")
    assert result.stdout == f"installed: {tmp_path / 'CT18NNLO'}\n"
    assert "did not install it" in refused("pdf", "install", "Unknown")
    assert "must be the name of one set" in refused("pdf", "install", "CT18*")
    assert "failed: network is unreachable" in refused("pdf", "install", "Offline")
    monkeypatch.setenv("LHAPDF_DATA_PATH", "")
    assert "set $LHAPDF_DATA_PATH to an existing folder" in refused("pdf", "install", "CT18NNLO")
