"""Shared by every test: double precision, compiled programs, and reference material if present."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
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

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_enable_x64", True)

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the end-to-end tests: they take longest, and other processes share the rest."""
    items.sort(key=lambda item: "end_to_end" not in item.path.parts)


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
