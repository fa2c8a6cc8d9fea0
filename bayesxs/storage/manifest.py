"""The manifest of a run: its head, the versions it records, and the check on reading it back."""

from __future__ import annotations

import platform
import re
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from bayesxs.errors import InputError, words
from bayesxs.storage.atomic import read_json

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

# Files of the folder itself, which no stage writes
MANIFEST: Final = "manifest.json"
CONFIG: Final = "config.toml"

# A manifest may come from somebody else: its words become names of files
STAGE_NAMES: Final = frozenset(
    {
        "train",
        "uncertainty",
        "simulate",
        "density",
        "sample",
        "bootstrap",
        "budget",
        "campaign",
        "sensitivity",
        "posterior",
        "report",
    }
)
_OUTPUT: Final = re.compile(r"(?:figures/)?\w[\w-]*(?:\.[\w-]+)+", re.ASCII)
_LONGEST: Final = 100
_KEY: Final = re.compile(r"[0-9a-f]{64}[a-z-]{0,60}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


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
            f"{manifest.get('package')}: use that version, or choose another {words().out}",
        )
    stages = manifest.get("stages")
    if not isinstance(stages, dict):
        raise InputError.at(path, "stages", stages, f"damaged: choose another {words().out}")
    for name, done in stages.items():
        if name not in STAGE_NAMES:
            raise InputError.at(path, "stages", name, f"one of {', '.join(sorted(STAGE_NAMES))}")
        _check_record(path, name, done)
    return manifest


def is_output(name: str) -> bool:
    """Tell whether a name may be that of an output: of a plain file in the folder or its figures.

    The files of the folder itself are none.
    """
    plain = len(name) <= _LONGEST and _OUTPUT.fullmatch(name) is not None
    return plain and name not in (MANIFEST, CONFIG)


def _check_record(path: Path, name: str, done: Any) -> None:
    """Check what a manifest says of a finished stage.

    Raises:
        InputError: something of it is missing or of another kind.
    """
    if not isinstance(done, dict):
        raise InputError.at(path, f"stages.{name}", done, f"damaged: choose another {words().out}")
    key, outputs, seconds = done.get("key"), done.get("outputs"), done.get("seconds")
    table = outputs if isinstance(outputs, dict) else {}
    whole = {
        "key": isinstance(key, str) and _KEY.fullmatch(key) is not None,
        "outputs": table is outputs,
        "seconds": isinstance(seconds, int | float) and not isinstance(seconds, bool),
        "notes": isinstance(done.get("notes"), dict),
    }
    for entry, good in whole.items():
        if not good:
            allowed = f"damaged: choose another {words().out}"
            raise InputError.at(path, f"stages.{name}.{entry}", done.get(entry), allowed)
    for output, digest in table.items():
        if not is_output(output):
            allowed = "an output is a plain file within the folder, such as events.nc"
            raise InputError.at(path, f"stages.{name}.outputs", output, allowed)
        if not isinstance(digest, str) or _SHA256.fullmatch(digest) is None:
            allowed = "a SHA-256 in hexadecimal"
            raise InputError.at(path, f"stages.{name}.outputs.{output}", digest, allowed)
