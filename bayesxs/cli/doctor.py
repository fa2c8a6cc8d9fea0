"""The checks of `bayesxs doctor`: versions, devices, precision, PDF sets, write access."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from bayesxs import session
from bayesxs.errors import LINE, InputError, shown
from bayesxs.inputs.lhagrid import DATA_PATH_VARIABLE, data_paths, list_pdf_sets
from bayesxs.storage.manifest import LIBRARIES, package_version

# docs/howto/gpu.md holds the figures
GPU_PAYS = (
    "large bootstraps and hundreds of chains; a default run mostly compiles, on the processor"
)


class Finding(NamedTuple):
    """One row: subject, finding, and whether it is as it should be."""

    subject: str
    found: str
    good: bool = True


def examine() -> list[Finding]:
    """Look at everything that a run depends on; what cannot be looked at is a finding too."""
    subjects: dict[str, Callable[[], list[Finding]]] = {
        "software": _software,
        "devices": _devices,
        "PDF sets": _pdf_sets,
        "working folder": _working_folder,
        "compilation cache": _cache,
    }
    findings = []
    for subject, look in subjects.items():
        try:
            findings += look()
        except Exception as error:
            findings.append(Finding(subject, shown(one_line(error), LINE), good=False))
    return findings


def one_line(error: Exception) -> str:
    """Return the message of an exception, with its type where it is no message to users."""
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}".rstrip(" :")


def as_table(findings: list[Finding]) -> Table:
    """Return the findings as a table for the terminal."""
    table = Table(title="bayesxs doctor", title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(no_wrap=True)
    for subject, found, good in findings:
        table.add_row(subject, found, Text("ok", "green") if good else Text("look here", "red"))
    return table


def _software() -> list[Finding]:
    python = f"{platform.python_version()} ({sys.executable})"
    libraries = [(name, package_version(name)) for name in LIBRARIES]
    return [
        Finding("bayesxs", package_version()),
        Finding("Python", python, sys.version_info >= (3, 12)),
        Finding("platform", platform.platform()),
        *(Finding(name, version, version != "not installed") for name, version in libraries),
    ]


def _devices() -> list[Finding]:
    session.prepare_jax()
    import jax

    devices = jax.devices()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    kinds = sorted({f"{device.platform}: {device.device_kind}" for device in devices})
    double = bool(jax.config.read("jax_enable_x64"))
    return [
        Finding("devices", f"{len(devices)} x {', '.join(kinds)}"),
        Finding("processor cores", str(cores)),
        Finding("double precision", "on" if double else "off", double),
        Finding("a GPU pays for", GPU_PAYS),
    ]


def _pdf_sets() -> list[Finding]:
    paths = data_paths()
    shown = os.pathsep.join(map(str, paths)) or "not set: only the embedded CT18NNLO is at hand"
    absent = [str(path) for path in paths if not path.is_dir()]
    modules = {name: importlib.util.find_spec(name) for name in ("lhapdf", "lhapdf_management")}
    return [
        Finding(f"${DATA_PATH_VARIABLE}", shown),
        *(Finding("", f"{path}: no such folder", good=False) for path in absent),
        Finding("PDF sets there", str(len(list_pdf_sets()))),
        *(
            Finding(f"module {name}", "present" if spec else "absent (optional)")
            for name, spec in modules.items()
        ),
    ]


def _working_folder() -> list[Finding]:
    return [_folder("working folder", Path.cwd())]


def _folder(name: str, folder: Path, words: str = "") -> Finding:
    """Tell whether a folder can be written, or made."""
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    writable = os.access(nearest, os.W_OK | os.X_OK)
    return Finding(name, f"{folder}{words if writable else ' cannot be written'}", writable)


def _cache() -> list[Finding]:
    """Tell where compiled programs are kept, how large they are, and how large they may become."""
    session.prepare_jax()
    import jax

    name, place = "compilation cache", jax.config.jax_compilation_cache_dir
    if not (place and jax.config.jax_enable_compilation_cache):
        return [Finding(name, f"off: see ${session.CACHE_SWITCH} and ${session.CACHE_VARIABLE}")]
    if "://" in place:  # not on this machine
        return [Finding(name, place)]
    own = session.CACHE_VARIABLE not in os.environ
    measured = session.compilation_cache().parent if own else Path(place)
    size = sum(size for _, size, _ in session.programs(measured))
    most = f"of at most {session.CACHE_BOUND / 1e6:.0f} MB" if own else "without a bound"
    return [_folder(name, Path(place), f": {size / 1e6:.1f} MB, {most}")]
