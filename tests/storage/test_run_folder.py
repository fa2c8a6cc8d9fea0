"""The run folder under kills, meddling, full disks and second processes."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bayesxs.errors import InputError
from bayesxs.storage import run_folder as store
from bayesxs.storage.atomic import (
    atomic_path,
    file_sha256,
    read_arrays,
    read_json,
    write_arrays,
    write_csv,
    write_json,
    write_text,
)
from bayesxs.storage.manifest import SCHEMA_VERSION
from bayesxs.storage.run_folder import RunFolder, content_key

KEY = content_key("train", sections={"seed": 1})


def one_line(caught: pytest.ExceptionInfo[InputError]) -> str:
    line = str(caught.value)
    assert "\n" not in line
    return line


def finished_run(path: Path) -> Path:
    """Make a run folder with one finished stage of two files."""
    with RunFolder.create(path) as folder, folder.stage("train", KEY) as stage:
        write_text(stage.output("training.csv"), "step,loss\n0,1\n")
        write_arrays(stage.output("network.safetensors"), {"w": np.arange(6.0)})
    return path


# --- atomic files ------------------------------------------------------------------------------


def test_an_exception_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    final = tmp_path / "a.txt"
    write_text(final, "old")
    for kind in (RuntimeError, KeyboardInterrupt, SystemExit):
        with pytest.raises(kind), atomic_path(final) as temporary:
            temporary.write_text("half")
            raise kind
    assert final.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_the_temporary_name_keeps_the_suffix(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "figures" / "a.png") as temporary:
        assert temporary.suffix == ".png"
        temporary.write_bytes(b"x")
    assert (tmp_path / "figures" / "a.png").exists()


@pytest.mark.parametrize(
    "failure",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        # as HDF5 and safetensors put it
        OSError("Can't write data (errno = 28, error message = 'No space left on device')"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_one_line_and_nothing_half_written(tmp_path: Path, failure) -> None:
    final = tmp_path / "posterior.nc"
    with pytest.raises(InputError) as caught, atomic_path(final) as temporary:
        temporary.write_bytes(b"half")
        raise failure
    assert one_line(caught).startswith(f"{final}: disk full")
    assert os.listdir(tmp_path) == []


def test_a_file_size_limit_met_while_writing_is_a_full_disk(tmp_path: Path) -> None:
    code = f"""
import resource, pathlib
from bayesxs.storage.atomic import write_bytes
from bayesxs.errors import InputError
path = pathlib.Path({str(tmp_path)!r}) / "big"
write_bytes(path, b"old")
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_bytes(path, bytes(1_000_000))
except InputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "big: disk full" in done.stdout
    assert (tmp_path / "big").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["big"]


def test_an_unwritable_folder_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(path: Path, content: bytes) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "write_bytes", deny)
    with pytest.raises(InputError, match=r"a\.txt: cannot write: Permission denied"):
        write_text(tmp_path / "a.txt", "x")


def test_a_missing_input_inside_the_block_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "out"):
        (tmp_path / "absent").read_text()


WRITER = """
import sys, pathlib, itertools
import numpy as np
from bayesxs.storage.atomic import write_arrays
path = pathlib.Path(sys.argv[1])
print("ready", flush=True)
for n in itertools.count():
    write_arrays(path, {"a": np.full(200_000, float(n))}, {"n": str(n)})
"""


def test_kill_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    rng = random.Random(1)
    seen = []
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            end = time.monotonic() + rng.uniform(0.02, 0.15)
            while time.monotonic() < end:  # read while it writes
                if path.exists():
                    read_arrays(path)
            writer.send_signal(signal.SIGKILL)
        if path.exists():
            arrays, metadata = read_arrays(path)
            assert np.all(arrays["a"] == float(metadata["n"]))
            seen.append(int(metadata["n"]))
    assert max(seen) > 0


@given(
    arrays=st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).filter(
            lambda name: name != "__metadata__"
        ),
        hnp.arrays(
            st.sampled_from([np.float64, np.float32, np.int64, np.uint32, np.bool_]),
            hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
        ),
        max_size=3,
    ),
    metadata=st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=2),
)
@settings(max_examples=40, deadline=None)
def test_arrays_survive_the_round_trip(tmp_path_factory, arrays, metadata) -> None:
    path = tmp_path_factory.getbasetemp() / "round.safetensors"
    # transposed: the file must hold the values, not the memory layout
    write_arrays(path, {name: array.T for name, array in arrays.items()}, metadata)
    read, read_metadata = read_arrays(path)
    assert read_metadata == metadata
    assert set(read) == set(arrays)
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array.T)


def test_json_takes_numpy_and_writes_nan_as_null(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": np.float64(1.5), "b": np.arange(2), "c": float("nan"), "d": (1, None)})
    assert read_json(path) == {"a": 1.5, "b": [0, 1], "c": None, "d": [1, None]}


def test_csv_keeps_every_digit_and_refuses_ragged_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    values = np.array([0.1, 1.0 / 3.0, 1e-300])
    write_csv(path, {"step": range(3), "loss": values, "name": ["a", "b,c", "d"]})
    lines = path.read_text().splitlines()
    assert lines[0] == "step,loss,name"
    assert lines[2] == '1,0.3333333333333333,"b,c"'
    assert [float(line.split(",")[1]) for line in lines[1:]] == values.tolist()
    with pytest.raises(ValueError, match="shorter"):
        write_csv(path, {"a": [1, 2], "b": [1]})
    assert path.read_text().splitlines() == lines


@pytest.mark.parametrize("cut", [0, 4, 8, 30, -1])
def test_truncated_arrays_are_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "network.safetensors"
    write_arrays(path, {"w": np.arange(10.0)}, {"a": "b"})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError) as caught:
        read_arrays(path)
    assert one_line(caught).startswith(f"{path}: not a whole safetensors file")


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": 18446744073709551616}',
        b'{"a": -9223372036854775809}',
        b'{"a": 1e999}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
    ],
)
def test_broken_json_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "summary.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_json(path)
    assert one_line(caught).startswith(f"{path}: ")


def test_whole_numbers_of_64_bits_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for number in (-(2**63), 2**64 - 1, 0):
        path.write_text(f"[{number}]")
        assert read_json(path) == [number]


def test_a_json_file_has_a_bounded_size(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate(10**11)  # without a block of the disk
    with pytest.raises(InputError, match="size = 100000 MB: at most 100 MB"):
        read_json(path)


@pytest.mark.parametrize("name", ["summary-fa04221c", "manifest-fa04221c", "manifest-81e816bd"])
def test_json_that_failed(name: str, reference: Path, tmp_path: Path) -> None:
    file = reference / "cases" / "fuzz" / f"{name}.json"
    if not file.exists():
        pytest.skip(f"{file} is not there")
    run = finished_run(tmp_path / "run")
    (run / "manifest.json").write_bytes(file.read_bytes())
    with pytest.raises(InputError) as caught:
        RunFolder.view(run)
    assert one_line(caught).startswith(f"{run}/manifest.json: ")
    if name.startswith("summary"):  # whose manifest is the one with a long number
        with pytest.raises(InputError, match=r"integer = 99999.*: of at most 64 bits"):
            read_json(file)


def test_absent_files_are_refused(tmp_path: Path) -> None:
    for read in (read_json, read_arrays, file_sha256):
        with pytest.raises(InputError, match="cannot read: No such file"):
            read(tmp_path / "absent")
        with pytest.raises(InputError, match="cannot read: Is a directory"):
            read(tmp_path)


# --- content keys ------------------------------------------------------------------------------


def test_the_key_depends_on_everything_and_on_no_order(tmp_path: Path) -> None:
    data = tmp_path / "flux.csv"
    data.write_text("1")
    base = {
        "sections": {"grid": {"z": 80, "energies": 120}},
        "upstream": {"operator": "abc"},
        "files": [data],
        "versions": {"data": "1"},
    }
    key = content_key("train", **base)
    assert key == content_key("train", **{**base, "sections": {"grid": {"energies": 120, "z": 80}}})
    others = [
        content_key("sample", **base),
        content_key("train", **{**base, "sections": {"grid": {"z": 81, "energies": 120}}}),
        content_key("train", **{**base, "upstream": {"operator": "abd"}}),
        content_key("train", **{**base, "versions": {"data": "2"}}),
        content_key("train", **{**base, "files": []}),
    ]
    moved = tmp_path / "moved.csv"
    data.rename(moved)
    assert content_key("train", **{**base, "files": [moved]}) == key
    moved.write_text("2")
    others.append(content_key("train", **{**base, "files": [moved]}))
    assert len({key, *others}) == len(others) + 1


def test_a_missing_input_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.csv: cannot read"):
        content_key("train", sections={}, files=[tmp_path / "gone.csv"])


# --- stages ------------------------------------------------------------------------------------


def test_a_finished_stage_is_current_until_its_key_changes(tmp_path: Path) -> None:
    path = finished_run(tmp_path / "run")
    with RunFolder.create(path, resume=True) as folder:
        assert folder.stage_is_current("train", KEY)
        assert not folder.stage_is_current("train", content_key("train", sections={"seed": 2}))
        assert not folder.stage_is_current("sample", KEY)
        record = folder.stages["train"]
    assert set(record["outputs"]) == {"training.csv", "network.safetensors"}
    assert record["outputs"]["training.csv"] == file_sha256(path / "training.csv")
    assert record["seconds"] >= 0.0


def test_a_changed_output_is_named_and_a_deleted_one_made_again(tmp_path: Path) -> None:
    path = finished_run(tmp_path / "run")
    (path / "training.csv").write_text("step,loss\n0,2\n")
    with RunFolder.create(path, resume=True) as folder:
        with pytest.raises(InputError) as caught:
            folder.stage_is_current("train", KEY)
        assert one_line(caught).startswith(f"{path / 'training.csv'}: changed since stage train")
        (path / "training.csv").unlink()
        assert not folder.stage_is_current("train", KEY)
        with pytest.raises(InputError, match=r"training\.csv: missing"):
            folder.check_outputs("train")
        with pytest.raises(InputError, match="stage sample is not finished"):
            folder.check_outputs("sample")


def test_a_stage_that_fails_counts_as_not_finished(tmp_path: Path) -> None:
    path = finished_run(tmp_path / "run")
    with RunFolder.reopen(path) as folder:
        with pytest.raises(KeyboardInterrupt), folder.stage("train", KEY):
            raise KeyboardInterrupt
        assert not folder.stage_is_current("train", KEY)
    assert "train" not in RunFolder.view(path).stages


def test_a_checkpoint_belongs_to_one_key_and_ends_with_the_stage(tmp_path: Path) -> None:
    path = tmp_path / "run"
    state = {"w": np.arange(3.0)}
    with (
        RunFolder.create(path) as folder,
        pytest.raises(KeyboardInterrupt),
        folder.stage("train", KEY) as stage,
    ):
        stage.save_checkpoint(state, {"step": "7"})
        stage.save_checkpoint(state, label="second")
        raise KeyboardInterrupt
    with RunFolder.create(path, resume=True) as folder:
        other = content_key("train", sections={"seed": 2})
        with pytest.raises(RuntimeError), folder.stage("train", other) as stage:
            assert stage.load_checkpoint() is None
            raise RuntimeError
        with folder.stage("train", KEY) as stage:
            arrays, metadata = stage.load_checkpoint() or ({}, {})
            assert metadata == {"step": "7"}
            np.testing.assert_array_equal(arrays["w"], state["w"])
            assert stage.load_checkpoint("second") is not None
            assert stage.load_checkpoint("third") is None
    assert not (path / "checkpoints").exists()


def test_time_spent_before_an_interruption_is_counted(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run") as folder:
        with pytest.raises(KeyboardInterrupt), folder.stage("train", KEY) as stage:
            time.sleep(0.2)
            stage.save_checkpoint({})
            raise KeyboardInterrupt
        with folder.stage("train", KEY) as stage:
            stage.load_checkpoint()
        assert folder.stages["train"]["seconds"] >= 0.2


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run") as folder, folder.stage("train", KEY) as stage:
        stage.save_checkpoint({"w": np.zeros(3)})
        path = folder.checkpoint_path("train")
        path.write_bytes(path.read_bytes()[:-5])
        with pytest.raises(InputError, match=r"train\.safetensors: not a whole"):
            stage.load_checkpoint()
        stage.save_checkpoint({"w": np.zeros(3)})
        path.write_bytes(path.read_bytes()[:-1] + b"!")  # in the last number
        with pytest.raises(InputError, match=r"train\.safetensors: damaged"):
            stage.load_checkpoint()


@pytest.mark.parametrize("seconds", [None, "", "nan", "-1.000", "1e3", "9" * 5000, "١.000"])
def test_a_checkpoint_says_how_long_it_took(seconds: str | None, tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run") as folder, folder.stage("train", KEY) as stage:
        stage.save_checkpoint({"w": np.zeros(3)})
        path = folder.checkpoint_path("train")
        arrays, marks = read_arrays(path)
        marks = {k: v for k, v in marks.items() if k != "seconds"}
        write_arrays(path, arrays, marks | ({} if seconds is None else {"seconds": seconds}))
        with pytest.raises(InputError, match=r"train\.safetensors: damaged"):
            stage.load_checkpoint()


def test_a_checkpoint_that_failed(
    reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = reference / "cases" / "fuzz" / "checkpoint-8b26eb0e.safetensors"
    if not file.exists():
        pytest.skip(f"{file} is not there")
    with RunFolder.create(tmp_path / "run") as folder, folder.stage("train", KEY) as stage:
        stage.save_checkpoint({})
        folder.checkpoint_path("train").write_bytes(file.read_bytes())
        monkeypatch.setattr(stage, "key", "key")  # for which it was made
        with pytest.raises(InputError, match=r"train\.safetensors: damaged"):
            stage.load_checkpoint()
        monkeypatch.undo()


def test_notes_that_are_missing_are_named(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run") as folder:
        with folder.stage("train", KEY) as stage:
            stage.notes["summary"] = {"near": {"rel_l2": 0.5}}
        assert folder.note("train", "summary", "near", "rel_l2") == 0.5
        for names in (("other",), ("summary", "far", "rel_l2"), ("summary", "near", "rel_l2", "x")):
            line = rf"manifest\.json: stages\.train\.notes\.{'.'.join(names)} = \(missing\)"
            with pytest.raises(InputError, match=line):
                folder.note("train", *names)
        with pytest.raises(InputError, match="stage sample is not finished"):
            folder.note("sample", "x")


def test_a_stage_is_taken_over_from_another_folder(tmp_path: Path) -> None:
    path = finished_run(tmp_path / "run")
    source = RunFolder.view(path)
    with RunFolder.create(tmp_path / "copy") as folder:
        folder.copy_stage("train", source)
        assert folder.stage_is_current("train", KEY)
        with pytest.raises(InputError, match="stage no_such is not finished"):
            folder.copy_stage("no_such", source)
    copy = RunFolder.view(tmp_path / "copy")
    assert copy.stages["train"] == source.stages["train"]
    output = path / next(iter(source.stages["train"]["outputs"]))
    output.write_bytes(output.read_bytes() + b"!")
    with (
        RunFolder.create(tmp_path / "other") as folder,
        pytest.raises(InputError, match="changed since stage train"),
    ):
        folder.copy_stage("train", source)


STAGES = """
import sys, numpy as np
from bayesxs.storage.atomic import write_arrays, write_text
from bayesxs.storage.manifest import STAGE_NAMES
from bayesxs.storage.run_folder import RunFolder, content_key
path = sys.argv[1]
print("ready", flush=True)
upstream = {}
with RunFolder.create(path, resume=True) as folder:
    for number, name in enumerate(sorted(STAGE_NAMES)[:8]):
        key = content_key(name, sections={"n": number}, upstream=upstream)
        upstream = {name: key}
        if folder.stage_is_current(name, key):
            continue
        with folder.stage(name, key) as stage:
            state = stage.load_checkpoint()
            step = int(state[1]["step"]) if state else 0
            total = state[0]["total"] if state else np.zeros(1000)
            for step in range(step, 4):
                total = total + np.random.default_rng((number, step)).normal(size=1000)
                stage.save_checkpoint({"total": total}, {"step": str(step + 1)})
            write_arrays(stage.output(f"{name}.safetensors"), {"total": total})
            write_text(stage.output(f"{name}.txt"), str(number))
print("done", flush=True)
"""


def test_a_run_killed_again_and_again_ends_with_the_same_numbers(tmp_path: Path) -> None:
    rng = random.Random(2)
    command = [sys.executable, "-c", STAGES]
    killed = tmp_path / "killed"
    done, kills = False, 0
    while not done:
        with subprocess.Popen([*command, str(killed)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                process.wait(rng.uniform(0.005, 0.05) * (1 + kills / 2))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                kills += 1
            assert process.wait() in (0, -signal.SIGKILL)
            done = b"done" in process.stdout.read()
    assert kills > 0
    straight = tmp_path / "straight"
    subprocess.run([*command, str(straight)], check=True, capture_output=True)
    stages = RunFolder.view(straight).stages
    assert len(stages) == 8
    for name, record in RunFolder.view(killed).stages.items():
        assert record["outputs"] == stages[name]["outputs"]
    assert sorted(os.listdir(killed)) == sorted(os.listdir(straight))


# --- opening -----------------------------------------------------------------------------------


def test_an_existing_run_needs_resume(tmp_path: Path) -> None:
    path = finished_run(tmp_path / "run")
    with pytest.raises(InputError) as caught:
        RunFolder.create(path)
    assert "already holds a run: running again continues it, out= chooses" in one_line(caught)


def test_resume_of_nothing_starts_a_run(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "a" / "b", resume=True) as folder:
        assert folder.stages == {}


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="not empty and no run folder"):
        RunFolder.create(tmp_path)
    assert os.listdir(tmp_path) == ["thesis.tex"]
    with pytest.raises(InputError, match="is a file"):
        RunFolder.create(tmp_path / "thesis.tex")
    with pytest.raises(InputError, match="cannot create the folder"):
        RunFolder.create(tmp_path / "thesis.tex" / "run")


def test_single_stages_need_a_run(tmp_path: Path) -> None:
    for opener in (RunFolder.reopen, RunFolder.view):
        with pytest.raises(InputError, match="no such folder"):
            opener(tmp_path / "absent")
        with pytest.raises(InputError, match="holds no run"):
            opener(tmp_path)


def test_leftovers_of_a_killed_process_are_cleaned(tmp_path: Path) -> None:
    path = finished_run(tmp_path / "run")
    leftovers = [path / ".partial-0123abcd-a.nc", path / "figures" / ".partial-0123abcd-a.png"]
    own = path / ".partial-mine"
    (path / "figures").mkdir()
    for leftover in [*leftovers, own]:
        leftover.write_text("half")
    RunFolder.view(path)
    assert leftovers[0].exists()  # a reader changes nothing
    RunFolder.reopen(path).close()
    assert not any(leftover.exists() for leftover in leftovers)
    assert own.exists()


def test_a_folder_left_by_a_kill_at_creation_is_taken(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("123\n")
    (tmp_path / ".partial-0123abcd-manifest.json").write_text("{")
    with RunFolder.create(tmp_path):
        assert sorted(os.listdir(tmp_path)) == [".lock", "manifest.json"]


def test_two_processes_never_write_in_one_folder(tmp_path: Path) -> None:
    path = tmp_path / "run"
    code = f"""
from bayesxs.storage.run_folder import RunFolder
with RunFolder.create({str(path)!r}):
    print("held", flush=True)
    input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        for attempt in (
            lambda: RunFolder.create(path, resume=True),
            lambda: RunFolder.reopen(path),
        ):
            with pytest.raises(InputError) as caught:
                attempt()
            assert f"{path}: another process (pid {holder.pid})" in one_line(caught)
        assert RunFolder.view(path).stages == {}
        holder.send_signal(signal.SIGKILL)
    RunFolder.reopen(path).close()  # the lock of a killed process is free


def test_bad_input_takes_an_empty_new_run_away_again(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with pytest.raises(InputError), RunFolder.create(path) as folder:
        write_text(folder.path / store.CONFIG, "seed = 0\n")
        raise InputError("flux.csv: empty")
    assert not path.exists()
    path.mkdir()
    with pytest.raises(InputError), RunFolder.create(path):
        raise InputError("flux.csv: empty")
    assert path.exists()  # the user's own folder stays
    finished = finished_run(tmp_path / "finished")
    with pytest.raises(InputError), RunFolder.reopen(finished):
        raise InputError("flux.csv: empty")
    assert "train" in RunFolder.view(finished).stages


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"schema": SCHEMA_VERSION + 1}, "schema = 2: this version reads 1"),
        ({"schema": None}, "schema = None"),
        ({"format": "other"}, "not the manifest of a bayesxs run"),
        ({"stages": []}, "stages = []: damaged"),
        ({"stages": {"train": {"key": "a"}}}, "damaged"),
        ({"stages": {"train": 3}}, "stages.train = 3: damaged"),
    ],
)
def test_manifests_of_another_version_or_damaged_are_refused(
    tmp_path: Path, change: dict[str, object], expected: str
) -> None:
    path = finished_run(tmp_path / "run")
    manifest = path / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
    before = manifest.read_bytes()
    for opener in (RunFolder.reopen, RunFolder.view):
        with pytest.raises(InputError) as caught:
            opener(path)
        assert expected in one_line(caught)
        assert str(manifest) in one_line(caught)
    assert manifest.read_bytes() == before


def test_the_manifest_says_with_what_the_run_was_made(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run") as folder:
        folder.record(device="cpu", seeds={"data": np.int64(3)})
        with pytest.raises(ValueError, match="stages"):
            folder.record(stages={})
    manifest = RunFolder.view(tmp_path / "run").manifest
    assert manifest["schema"] == SCHEMA_VERSION
    assert manifest["libraries"]["numpy"] == np.__version__
    assert (manifest["device"], manifest["seeds"]) == ("cpu", {"data": 3})
    assert manifest["python"].startswith(f"{sys.version_info.major}.")


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    view = RunFolder.view(finished_run(tmp_path / "run"))
    with pytest.raises(ValueError, match="not open for writing"):
        view.record(device="cpu")
