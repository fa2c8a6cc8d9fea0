"""Shared by every test: double precision, and the reference material where it is present."""

from __future__ import annotations

import os
from pathlib import Path

import jax
import pytest

jax.config.update("jax_enable_x64", True)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of official data; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("BAYESXS_REFERENCE", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"reference material not found: set BAYESXS_REFERENCE (looked in {folder})")
    return folder
