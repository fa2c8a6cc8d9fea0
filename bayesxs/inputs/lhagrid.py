"""Find LHAPDF6 sets on disk and read their grid files ("lhagrid1") into plain arrays."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from bayesxs.errors import InputError
from bayesxs.inputs.tables import read_text
from bayesxs.types import Floats

GLUON = 21
DATA_PATH_VARIABLE = "LHAPDF_DATA_PATH"
SEPARATOR = "---"
CONTENT = "LHAPDF's lhagrid1 format"
MAX_INFO_BYTES = 1_000_000
_MAX_DEPTH = 16
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class KnotGrid(NamedTuple):
    """Hold one PDF member as LHAPDF tabulates it.

    Subgrids that meet at a quark threshold are concatenated, so a threshold's Q^2 appears twice.
    """

    x: Floats  # (nx,), increasing
    q2: Floats  # (nq,), GeV^2, non-decreasing
    flavors: tuple[int, ...]  # PDG ids
    values: Floats  # (nx, nq, nf), x f(x, Q^2)
    force_positive: int  # LHAPDF's ForcePositive: 0 no, 1 clamp at 0, 2 clamp at 1e-10


def data_paths() -> list[Path]:
    """Return the folders named in ``$LHAPDF_DATA_PATH``."""
    entries = os.environ.get(DATA_PATH_VARIABLE, "").split(os.pathsep)
    return [Path(entry).expanduser() for entry in entries if entry]


def find_pdf_set(name_or_path: str | Path) -> Path:
    """Return the folder of a PDF set given by path or by name.

    A folder that exists is taken as it is; a bare name is searched in each entry of
    ``$LHAPDF_DATA_PATH``.

    Raises:
        InputError: if nothing is found; the message lists where it looked.
    """
    if "\0" in str(name_or_path):
        raise InputError(f"PDF set {name_or_path}: no name holds a null character")
    direct = Path(name_or_path).expanduser()
    if os.path.isdir(direct):
        return direct
    looked = [str(direct)]
    for base in data_paths():
        candidate = base / name_or_path
        if os.path.isdir(candidate):
            return candidate
        looked.append(str(candidate))
    hint = "" if data_paths() else f"; ${DATA_PATH_VARIABLE} is not set"
    places = ", ".join(looked)
    raise InputError(f"PDF set {name_or_path}: no such folder (looked in {places}{hint})")


def list_pdf_sets() -> list[str]:
    """Return the names of the sets found in ``$LHAPDF_DATA_PATH``, sorted."""
    return sorted(
        {
            folder.name
            for base in data_paths()
            if base.is_dir()
            for folder in base.iterdir()
            if (folder / f"{folder.name}.info").is_file()
        }
    )


def set_name(folder: str | Path) -> str:
    """Return the name of the set in a folder, after which its files are named.

    That is the name asked for, as in LHAPDF, also where the folder is a symbolic link; a link of
    another name, such as `current`, stands for the set that it leads to.
    """
    asked = Path(os.path.abspath(folder)).name
    found = Path(folder).resolve().name
    held = [name for name in (asked, found) if (Path(folder) / f"{name}.info").is_file()]
    return held[0] if held else asked


def set_files(folder: str | Path, member: int) -> tuple[Path, Path]:
    """Return the info file and the data file of a member; they may be missing."""
    name = set_name(folder)
    return Path(folder) / f"{name}.info", Path(folder) / f"{name}_{member:04d}.dat"


def read_lhagrid(folder: Path, member: int = 0) -> KnotGrid:
    """Read one member of an LHAPDF6 set.

    Args:
        folder: the set's folder, which holds ``NAME.info`` and ``NAME_0000.dat``.
        member: 0 is the central one.

    Raises:
        InputError: if a file is missing, truncated, of another format, or holds numbers that
            are not finite or knots that are not sorted; the message names file and line.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder: a PDF set holds .info and .dat files")
    info_file, data_file = set_files(folder, member)
    if not info_file.is_file():
        raise InputError(f"{info_file}: missing: a PDF set holds NAME.info beside its .dat files")
    info = read_info(read_text(info_file, CONTENT, MAX_INFO_BYTES), str(info_file))
    if not data_file.is_file():
        count = info.get("NumMembers", "unknown")
        raise InputError.at(
            data_file, "member", member, f"missing; the set declares {count} members"
        )
    return _parse_member(data_file, info)


def read_info(text: str, source: str = "info file") -> dict[str, str]:
    """Return the top-level ``Key: value`` pairs of an LHAPDF info file, as they are written.

    Such files are YAML: comments are left out, quotes dropped, and a list in square brackets may
    run over several lines. Only the parser's events are read: nothing is built from them.

    Raises:
        InputError: naming the line that is not YAML, or nested too deep.
    """
    pairs: dict[str, str] = {}
    plain = "".join(char if char.isprintable() or char in "\n\r\t" else "\ufffd" for char in text)
    depth, key, start = 0, None, 0
    try:
        for event in yaml.parse(plain, Loader=_LOADER):
            if isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
                if depth == 1 and key is not None:
                    written = plain[start : event.end_mark.index]
                    pairs[key], key = written.replace("\n", " "), None
            elif isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > _MAX_DEPTH:
                    place = event.start_mark.line + 1
                    raise InputError(f"{source}: line {place}: lists nested too deep")
                if depth == 1 and not isinstance(event, yaml.MappingStartEvent):
                    raise InputError(f"{source}: not Key: value pairs")
                if depth == 2:
                    start = event.start_mark.index
            elif depth == 1 and isinstance(event, yaml.ScalarEvent):
                if key is None:
                    key = event.value
                else:
                    pairs[key], key = event.value, None
            elif depth == 1 and isinstance(event, yaml.AliasEvent):
                key = None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        reason = getattr(error, "problem", None) or "not YAML"
        raise InputError(f"{source}: {where}cannot be read as YAML: {reason}") from None
    return pairs


def _parse_member(file: Path, info: dict[str, str]) -> KnotGrid:
    lines = read_text(file, CONTENT).splitlines()
    breaks = [i for i, line in enumerate(lines) if line.strip() == SEPARATOR]
    if not breaks:
        raise InputError(f"{file}: no '{SEPARATOR}' line: expected LHAPDF's lhagrid1 format")
    settings = info | read_info("\n".join(lines[: breaks[0]]), str(file))
    _check_settings(file, settings)
    if len(breaks) < 2 or any(line.strip() for line in lines[breaks[-1] + 1 :]):
        raise InputError(f"{file}: truncated: the last line of a grid is '{SEPARATOR}'")
    blocks = [
        _parse_block(file, lines, start + 1, stop) for start, stop in itertools.pairwise(breaks)
    ]
    first = blocks[0]
    for block in blocks[1:]:
        if not np.array_equal(block.x, first.x) or block.flavors != first.flavors:
            raise InputError(f"{file}: subgrids differ in x knots or flavors: they must share them")
    q2 = np.concatenate([block.q2 for block in blocks])
    if np.any(np.diff(q2) < 0):
        raise InputError(f"{file}: subgrids overlap or are out of order in Q")
    return KnotGrid(
        first.x,
        q2,
        first.flavors,
        np.concatenate([block.values for block in blocks], axis=1),
        _force_positive(file, settings),
    )


def _check_settings(file: Path, settings: dict[str, str]) -> None:
    supported = {"Format": "lhagrid1", "Interpolator": "logcubic", "Extrapolator": "continuation"}
    if "Format" not in settings:
        raise InputError(f"{file}: Format: key missing: lhagrid1 is supported")
    for key, allowed in supported.items():
        if settings.get(key, allowed) != allowed:
            raise InputError.at(file, key, settings[key], f"only {allowed} is supported")


def _force_positive(file: Path, settings: dict[str, str]) -> int:
    value = settings.get("ForcePositive", "0")
    if value not in {"0", "1", "2"}:
        raise InputError.at(file, "ForcePositive", value, "one of 0, 1, 2")
    return int(value)


def _parse_block(file: Path, lines: list[str], start: int, stop: int) -> KnotGrid:
    """Read one subgrid: a line of x knots, one of Q knots, one of flavors, then nx * nq rows."""
    numbered = [
        (i + 1, lines[i])
        for i in range(start, stop)
        if lines[i].strip() and not lines[i].lstrip().startswith("#")
    ]
    if len(numbered) < 4:
        raise InputError(f"{file}: line {start}: truncated: a subgrid needs four lines")
    x = _knots(file, *numbered[0], "x", minimum=4)
    if x[-1] > 1.0:
        raise InputError(f"{file}: line {numbered[0][0]}: x = {x[-1]}: an x knot is at most 1")
    q = _knots(file, *numbered[1], "Q", minimum=2)
    flavors = _flavors(file, *numbered[2])
    rows = numbered[3:]
    expected = len(x) * len(q)
    if len(rows) != expected:
        raise InputError(
            f"{file}: line {rows[-1][0]}: truncated: {len(rows)} rows of values, "
            f"{len(x)} x knots times {len(q)} Q knots make {expected}"
        )
    values = _rows(file, rows, len(flavors))
    return KnotGrid(x, q * q, flavors, values.reshape(len(x), len(q), len(flavors)), 0)


def _floats(file: Path, number: int, line: str) -> Floats:
    try:
        values = np.array(line.split(), dtype=np.float64)
    except ValueError:
        raise InputError(f"{file}: line {number}: not a number: {line.strip()[:60]}") from None
    if not np.all(np.isfinite(values)):
        raise InputError(f"{file}: line {number}: a value is not finite: {line.strip()[:60]}")
    return values


def _knots(file: Path, number: int, line: str, label: str, minimum: int) -> Floats:
    knots = _floats(file, number, line)
    if len(knots) < minimum:
        raise InputError(f"{file}: line {number}: {len(knots)} {label} knots: at least {minimum}")
    if knots[0] <= 0 or np.any(np.diff(knots) <= 0):
        raise InputError(f"{file}: line {number}: {label} knots must be positive and increasing")
    return knots


def _flavors(file: Path, number: int, line: str) -> tuple[int, ...]:
    try:
        ids = [int(token) for token in line.split()]
    except ValueError:
        raise InputError.at(file, f"line {number}: flavors", line.strip(), "PDG ids") from None
    # LHAPDF takes 0 as an alias of the gluon.
    flavors = tuple(GLUON if pid == 0 else pid for pid in ids)
    if not flavors or len(set(flavors)) != len(flavors):
        raise InputError.at(file, f"line {number}: flavors", line.strip(), "each PDG id once")
    return flavors


def _rows(file: Path, rows: list[tuple[int, str]], width: int) -> Floats:
    try:
        values = np.array([line.split() for _, line in rows], dtype=np.float64)
        if values.shape == (len(rows), width) and np.all(np.isfinite(values)):
            return values
    except ValueError:
        pass  # ragged or not numeric: the loop below names the line
    for number, line in rows:
        found = len(_floats(file, number, line))
        if found != width:
            raise InputError(f"{file}: line {number}: {found} values for {width} flavors")
    raise InputError(f"{file}: values cannot be read: expected LHAPDF's lhagrid1 format")
