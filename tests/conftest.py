"""Shared by every test: double precision, and the reference material where it is present."""

from __future__ import annotations

import os
from pathlib import Path

# Compiling is most of a small computation
FAST_COMPILATION = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
os.environ.setdefault("XLA_FLAGS", FAST_COMPILATION)

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_enable_x64", True)

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the end-to-end tests: they take longest, and other processes share the rest."""
    items.sort(key=lambda item: "end_to_end" not in item.path.parts)


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
