"""The uncertainty of the shape of a flux: a relative covariance, and its modes.

phi(E) -> phi(E) (1 + sum_k b_k f_k(E)) with b_k ~ N(0, 1) has the relative covariance
C(E, E') = sum_k f_k(E) f_k(E').
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from bayesxs.errors import InputError
from bayesxs.inputs.npz import read_arrays
from bayesxs.inputs.tables import read_lines
from bayesxs.types import Floats as Float

EDGE_COLUMNS = ("energy_low_GeV", "energy_high_GeV")
EDGES_KEY, MATRIX_KEY = "energy_edges_GeV", "covariance"
# What rounding may leave in a file: relative to the largest element, and to the largest eigenvalue
SYMMETRY_TOLERANCE = 1e-8
NEGATIVE_TOLERANCE = 1e-8
# Bounds the request of a file: standard deviations of a hundred times the flux, bins of 5 MeV
MAX_ELEMENT = 1e4
MAX_BINS = 2_000
# Edges in GeV that differ by less than this, relatively, are the same edge
EDGE_TOLERANCE = 1e-9
# Elements that differ by less than this count as equally large where a sign is chosen
TIE = 1e-6


@dataclass(frozen=True, eq=False)
class FluxCovariance:
    """Hold the relative covariance of a flux in bins of energy.

    Build one with `make_covariance` or `load_covariance`: they check it.
    """

    edges: Float  # (n + 1,), GeV, increasing
    matrix: Float  # (n, n), dimensionless, symmetric and positive semi-definite
    source: str

    @property
    def centers(self) -> Float:
        """Bin centers in GeV, shape (n,)."""
        return 0.5 * (self.edges[:-1] + self.edges[1:])


def parametric_covariance(energy: ArrayLike, amplitude: float, correlation_length: float) -> Float:
    """Return C(E, E') = amplitude^2 exp(-(ln E - ln E')^2 / (2 l^2)).

    Args:
        energy: GeV, shape (n,), each > 0.
        amplitude: relative standard deviation at every energy, dimensionless, >= 0.
        correlation_length: l in ln E, dimensionless, > 0: 0.7 correlates a factor of two by 0.61.

    Returns:
        Shape (n, n), dimensionless.

    Raises:
        InputError: naming the value that is out of range.
    """
    source = "flux covariance"
    if not (np.isfinite(amplitude) and amplitude >= 0):
        raise InputError.at(source, "amplitude", amplitude, "finite and >= 0")
    if not (np.isfinite(correlation_length) and correlation_length > 0):
        raise InputError.at(source, "correlation_length", correlation_length, "finite and > 0")
    energy = np.asarray(energy, float)
    bad = energy[~(np.isfinite(energy) & (energy > 0))]
    if bad.size:
        raise InputError.at(source, "energy", bad[0], "finite and > 0, in GeV")
    steps = np.subtract.outer(np.log(energy), np.log(energy)) / correlation_length
    return amplitude**2 * np.exp(-0.5 * steps**2)


def make_covariance(
    edges: ArrayLike,
    matrix: ArrayLike,
    source: str,
    energy_range: tuple[float, float] | None = None,
) -> FluxCovariance:
    """Check a binned relative covariance and return it.

    Args:
        edges: bin edges in GeV, shape (n + 1,).
        matrix: shape (n, n), dimensionless.
        source: file name or description, named in messages.
        energy_range: lowest and highest energy in GeV that the bins must cover, if any.

    Raises:
        InputError: naming source, key and value, unless the matrix is square, of at most 2000 bins,
            finite, at most 1e4, symmetric (to 1e-8 of its largest element) and positive
            semi-definite (eigenvalues above -1e-8 of the largest), and the edges are n + 1, finite,
            >= 0, increasing and cover the range.
    """
    edges, matrix = np.array(edges, float), np.array(matrix, float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        shape = " x ".join(map(str, matrix.shape)) or "a number"
        raise InputError.at(source, f"{MATRIX_KEY}: shape", shape, "a square matrix")
    if len(matrix) > MAX_BINS:
        raise InputError.at(source, f"{MATRIX_KEY}: bins", len(matrix), f"at most {MAX_BINS}")
    _check_edges(edges, len(matrix), source)
    _check_matrix(matrix, source)
    covariance = FluxCovariance(edges, 0.5 * (matrix + matrix.T), source)
    if energy_range is not None:
        _check_range(covariance, *energy_range)
    return covariance


def _check_edges(edges: Float, bins: int, source: str) -> None:
    if edges.shape != (bins + 1,):
        shape = " x ".join(map(str, edges.shape)) or "a number"
        allowed = f"{bins + 1} edges for {bins} bins"
        raise InputError.at(source, f"{EDGES_KEY}: shape", shape, allowed)
    bad = np.flatnonzero(~(np.isfinite(edges) & (edges >= 0)))
    if bad.size:
        key = f"{EDGES_KEY}: edge {bad[0] + 1}"
        raise InputError.at(source, key, edges[bad[0]], "an energy in GeV is finite and >= 0")
    unsorted = np.flatnonzero(np.diff(edges) <= 0)
    if unsorted.size:
        i = unsorted[0]
        key = f"{EDGES_KEY}: edge {i + 2}"
        raise InputError.at(source, key, edges[i + 1], f"above the previous {edges[i]}")


def _check_matrix(matrix: Float, source: str) -> None:
    bad = np.argwhere(~np.isfinite(matrix))
    if bad.size:
        i, j = bad[0]
        key = f"{MATRIX_KEY}: row {i + 1}, column {j + 1}"
        raise InputError.at(source, key, matrix[i, j], "a relative covariance is finite")
    large = np.argwhere(np.abs(matrix) > MAX_ELEMENT)
    if large.size:
        i, j = large[0]
        key = f"{MATRIX_KEY}: row {i + 1}, column {j + 1}"
        allowed = f"a relative covariance, at most {MAX_ELEMENT:g}"
        raise InputError.at(source, key, matrix[i, j], allowed)
    difference = np.abs(matrix - matrix.T)
    if difference.max() > SYMMETRY_TOLERANCE * np.abs(matrix).max():
        i, j = sorted(int(k) for k in np.unravel_index(difference.argmax(), matrix.shape))
        key = f"{MATRIX_KEY}: row {i + 1}, column {j + 1}"
        allowed = f"symmetric, but row {j + 1}, column {i + 1} is {matrix[j, i]}"
        raise InputError.at(source, key, matrix[i, j], allowed)
    try:
        values = np.linalg.eigvalsh(0.5 * (matrix + matrix.T))
    except np.linalg.LinAlgError:
        raise InputError(f"{source}: {MATRIX_KEY}: its eigenvalues cannot be computed") from None
    if values[0] < -NEGATIVE_TOLERANCE * values[-1]:
        allowed = (
            "positive semi-definite: no eigenvalue below "
            f"-{NEGATIVE_TOLERANCE:g} of the largest, {values[-1]:.6g}"
        )
        raise InputError.at(source, f"{MATRIX_KEY}: eigenvalue", f"{values[0]:.6g}", allowed)


def _check_range(covariance: FluxCovariance, low: float, high: float) -> None:
    first, last = covariance.edges[0], covariance.edges[-1]
    slack = EDGE_TOLERANCE * high
    if first > low + slack or last < high - slack:
        raise InputError.at(
            covariance.source,
            EDGES_KEY,
            f"{first:g} to {last:g} GeV",
            f"the bins cover the analysis, {low:g} to {high:g} GeV",
        )


def load_covariance(
    path: str | Path, energy_range: tuple[float, float] | None = None
) -> FluxCovariance:
    """Load the relative covariance of a flux from a file; a name in .npz is NPZ, any other CSV.

    NPZ: arrays energy_edges_GeV (n + 1,) and covariance (n, n). CSV: a header line
    energy_low_GeV,energy_high_GeV,c1,...,cn, then one row per bin in order of energy: its two edges
    and its row of the matrix; each bin starts where the one before ends; lines that start with "#"
    are comments. The covariance is that of relative deviations, dimensionless.

    Args:
        path: the file.
        energy_range: lowest and highest energy in GeV that the bins must cover, if any.

    Raises:
        InputError: naming file, key and value at fault: see `make_covariance`.
    """
    read = _read_npz if Path(path).suffix.lower() == ".npz" else _read_csv
    edges, matrix = read(path)
    return make_covariance(edges, matrix, str(path), energy_range)


def _read_npz(path: str | Path) -> tuple[Float, Float]:
    edges, matrix = read_arrays(path, (EDGES_KEY, MATRIX_KEY))
    return edges, matrix


def _read_csv(path: str | Path) -> tuple[Float, Float]:
    numbered = [
        (number, [cell.strip() for cell in line.split(",")])
        for number, line in enumerate(read_lines(path, "a table of a covariance"), start=1)
        if line.strip(", \t") and not line.lstrip().startswith("#")
    ]
    if not numbered:
        raise InputError(f"{path}: empty: a header line and one row per bin are needed")
    names = numbered[0][1]
    expected = [*EDGE_COLUMNS, *(f"c{i}" for i in range(1, max(len(names) - 1, 2)))]
    if names != expected:
        wanted = ",".join([*EDGE_COLUMNS, "c1", "...", "cn"])
        raise InputError.at(path, "header", ",".join(names), wanted)
    bins = len(names) - len(EDGE_COLUMNS)
    if bins > MAX_BINS:
        raise InputError.at(path, f"{MATRIX_KEY}: bins", bins, f"at most {MAX_BINS}")
    if len(numbered) - 1 != bins:
        shape = f"{len(numbered) - 1} x {bins}"
        raise InputError.at(path, f"{MATRIX_KEY}: shape", shape, "a square matrix")
    table = np.array([_numbers(path, number, names, cells) for number, cells in numbered[1:]])
    low, high = table[:, 0], table[:, 1]
    apart = np.flatnonzero(~np.isclose(low[1:], high[:-1], rtol=EDGE_TOLERANCE, atol=0.0))
    if apart.size:
        row = apart[0] + 1
        key = f"row {numbered[row + 1][0]}: {EDGE_COLUMNS[0]}"
        raise InputError.at(path, key, low[row], f"where the bin before ends, {high[row - 1]}")
    return np.append(low, high[-1]), table[:, 2:]


def _numbers(path: str | Path, row: int, names: list[str], cells: list[str]) -> list[float]:
    if len(cells) != len(names):
        raise InputError.at(path, f"row {row}: columns", len(cells), f"{len(names)} as the header")
    values = []
    for name, cell in zip(names, cells, strict=True):
        try:
            values.append(float(cell))
        except ValueError:
            key = f"row {row}: {name}"
            raise InputError.at(path, key, cell or "(empty)", "a number") from None
    return values


def flux_modes(
    covariance: FluxCovariance | ArrayLike, energy: ArrayLike, tolerance: float = 1e-3
) -> Float:
    """Return the modes f_k(E): eigenvectors times the square roots of their eigenvalues.

    They come in falling order of eigenvalue, as few as hold 1 - tolerance of the trace, each with
    the sign that makes its largest element positive (the first of equally large ones). A binned
    covariance is piecewise constant; its modes are evaluated by linear interpolation between bin
    centers, constant beyond the outermost ones, so that between two centers the variance is at most
    the larger one of the two bins.

    Args:
        covariance: binned, or a matrix at the energies, shape (n, n).
        energy: GeV, shape (n,).
        tolerance: fraction of the trace that may be left out, 0 <= tolerance < 1.

    Returns:
        Shape (K, n), dimensionless; K is 0 where the covariance vanishes.

    Raises:
        InputError: the matrix is not a covariance at the energies, the bins do not cover the
            energies, or the tolerance is out of range.
    """
    if not 0 <= tolerance < 1:
        raise InputError.at("flux modes", "tolerance", tolerance, "0 <= tolerance < 1")
    energy = np.asarray(energy, float)
    if isinstance(covariance, FluxCovariance):
        _check_range(covariance, float(energy.min()), float(energy.max()))
        modes = _principal(covariance.matrix, tolerance)
        return np.array(
            [np.interp(energy, covariance.centers, mode) for mode in modes], float
        ).reshape(-1, energy.size)
    matrix = np.asarray(covariance, float)
    if matrix.shape != (energy.size, energy.size):
        shape = " x ".join(map(str, matrix.shape))
        allowed = f"{energy.size} x {energy.size}, as the energies"
        raise InputError.at("flux modes", f"{MATRIX_KEY}: shape", shape, allowed)
    _check_matrix(matrix, "flux modes")
    return _principal(0.5 * (matrix + matrix.T), tolerance)


def _principal(matrix: Float, tolerance: float) -> Float:
    """Return the leading eigenvectors times the roots of their eigenvalues, shape (K, n)."""
    values, vectors = np.linalg.eigh(matrix)
    values = np.maximum(values[::-1], 0.0)
    held = np.cumsum(values)
    if held[-1] == 0.0:
        return np.zeros((0, len(matrix)))
    count = int(np.searchsorted(held, (1 - tolerance) * held[-1])) + 1
    modes = (vectors[:, ::-1] * np.sqrt(values)).T[:count]
    size = np.abs(modes)
    largest = np.argmax(size >= (1 - TIE) * size.max(axis=1, keepdims=True), axis=1)
    return modes * np.sign(modes[np.arange(count), largest])[:, None]
