"""Workers on every core; `toys` importable here and, since Dask hands the path on, in them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))


@pytest.fixture(scope="module", autouse=True)
def _every_core(every_core: None) -> None:
    """Workers are bound to cores one by one."""
