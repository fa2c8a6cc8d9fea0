"""The manifest of a run: its head, the versions it records, and the check on reading it back."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from bayesxs.atomic import read_json
from bayesxs.errors import InputError

# Raised when the layout of a run folder changes, so that an old folder is refused, not misread.
SCHEMA_VERSION: Final = 1
LIBRARIES: Final = (
    "jax",
    "jaxlib",
    "numpyro",
    "flax",
    "optax",
    "arviz",
    "numpy",
    "scipy",
    "xarray",
    "h5netcdf",
    "pydantic",
    "safetensors",
)
_FORMAT: Final = "bayesxs run"


def package_version(name: str = "bayesxs") -> str:
    """Return the installed version of a package, or "not installed"."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def now() -> str:
    """Return the time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def environment() -> dict[str, Any]:
    """Return what software runs here: package, Python, platform, libraries."""
    return {
        "package": package_version(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": {name: package_version(name) for name in LIBRARIES},
    }


def new_manifest() -> dict[str, Any]:
    """Return the manifest of a run without stages."""
    head = {"format": _FORMAT, "schema": SCHEMA_VERSION, "created": now()}
    return {**head, **environment(), "stages": {}}


def read_manifest(path: Path) -> dict[str, Any]:
    """Read and check a manifest.

    Raises:
        InputError: it cannot be read, is damaged or foreign, or is of another schema version.
    """
    manifest = read_json(path)
    if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
        raise InputError(f"{path}: not the manifest of a bayesxs run")
    if manifest.get("schema") != SCHEMA_VERSION:
        raise InputError.at(
            path,
            "schema",
            manifest.get("schema"),
            f"this version reads {SCHEMA_VERSION}; the run was written by bayesxs "
            f"{manifest.get('package')}: use that version, or choose another --out",
        )
    stages = manifest.get("stages")
    if not isinstance(stages, dict):
        raise InputError.at(path, "stages", stages, "damaged: choose another --out")
    for name, done in stages.items():
        whole = isinstance(done, dict) and isinstance(done.get("key"), str)
        if not whole or not isinstance(done.get("outputs"), dict):
            raise InputError.at(path, f"stages.{name}", done, "damaged: choose another --out")
    return manifest
