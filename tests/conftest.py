"""Shared by every test: double precision, compiled programs, and reference material if present."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

# Compiling is most of a small computation
FAST_COMPILATION = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
os.environ.setdefault("XLA_FLAGS", FAST_COMPILATION)

# What one process of the session has compiled, the others read: they inherit the folder's name from
# the first one, which removes it. A new session starts with an empty folder.
PROGRAMS = "JAX_COMPILATION_CACHE_DIR"
FIRST = PROGRAMS not in os.environ
if FIRST:
    os.environ[PROGRAMS] = tempfile.mkdtemp(prefix="bayesxs-programs-")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

# A process of the session keeps to a core: threads of several processes would hinder each other
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
if CORES and WORKER:
    os.sched_setaffinity(0, {CORES[int(WORKER.removeprefix("gw")) % len(CORES)]})

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

from bayesxs.session import collect_seldom  # noqa: E402

jax.config.update("jax_enable_x64", True)
collect_seldom()

# Half of hypothesis's own number of examples, where a property asks for none; a busy machine, or a
# first example that compiles, is no fault of a strategy
usual = hypothesis.settings.get_profile(hypothesis.settings.get_current_profile_name())
hypothesis.settings.register_profile(
    "fewer", usual, max_examples=50, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("fewer")

ROOT = Path(__file__).resolve().parent.parent

# Regions of memory that a process may map are limited, on Linux usually to 65530. Each compiled
# program takes some, and XLA aborts where there is none left.
MAPS, MANY_MAPS = Path("/proc/self/maps"), 20_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with tests that make runs: they take longest, and other processes share the rest."""
    items.sort(key=lambda item: not {"end_to_end", "runs"} & set(item.path.parts))


def pytest_unconfigure() -> None:
    """Remove the compiled programs."""
    if FIRST:
        shutil.rmtree(os.environ.pop(PROGRAMS), ignore_errors=True)


@pytest.fixture(scope="session")
def made_once(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, Callable[[Path], None]], Path]:
    """Copy a folder that is made once for all processes of the session.

    The first process that asks for its name makes it; the others wait. Each gets a copy of its own.
    """
    base = tmp_path_factory.getbasetemp()
    common = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def copy(name: str, make: Callable[[Path], None]) -> Path:
        original, finished = common / f"once-{name}", common / f"once-{name}.finished"
        with (common / f"once-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not finished.exists():
                shutil.rmtree(original, ignore_errors=True)
                make(original)
                finished.touch()
        return Path(shutil.copytree(original, tmp_path_factory.mktemp(name) / name))

    return copy


@pytest.fixture(scope="module", autouse=True)
def few_programs() -> Iterator[None]:
    """Let go of compiled programs after a module, where they are many; the folder has them."""
    yield
    if MAPS.exists() and MAPS.read_bytes().count(b"\n") > MANY_MAPS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="module")
def every_core() -> Iterator[None]:
    """Let the tests of a module, and processes that they start, use every core."""
    own = os.sched_getaffinity(0) if CORES else set()
    if CORES:
        os.sched_setaffinity(0, CORES)
    yield
    if CORES:
        os.sched_setaffinity(0, own)


@pytest.fixture(scope="session")
def fast_compilation() -> str:
    """Flags with which XLA compiles fast."""
    return FAST_COMPILATION


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of official data; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("BAYESXS_REFERENCE", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"reference material not found: set BAYESXS_REFERENCE (looked in {folder})")
    return folder
