"""The commands `bayesxs pdf`: list, check and install PDF sets."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from bayesxs.errors import InputError
from bayesxs.inputs.lhagrid import DATA_PATH_VARIABLE, data_paths, find_pdf_set, list_pdf_sets

if TYPE_CHECKING:
    from bayesxs.inputs.pdf import GridPDF

EMBEDDED = "embedded"
_CHECKED_Q2 = (2.0, 10.0, 100.0, 1000.0)  # GeV^2


def list_table() -> Table:
    """Return the sets at hand: the package's own, and those on the data path."""
    table = Table("set", "folder")
    table.add_row(EMBEDDED, "(the package's own CT18NNLO, central member)")
    for name in list_pdf_sets():
        table.add_row(name, str(find_pdf_set(name)))
    if not data_paths():
        table.caption = f"${DATA_PATH_VARIABLE} is not set: name a folder of LHAPDF6 sets there."
        table.caption_justify = "left"
    return table


def check_table(name: str, member: int) -> Table:
    """Load a set and return a table of its content, with its momentum sum.

    Raises:
        InputError: the set is missing, truncated or of another format.
    """
    from bayesxs.inputs.pdf import HEAVY, embedded_ct18nnlo, load_lhapdf_grid  # JAX starts here
    from bayesxs.physics.structure_functions import PARTONS

    if name == EMBEDDED and member:
        raise InputError.at(f"PDF set {name}", "member", member, "holds member 0 only")
    pdf = embedded_ct18nnlo() if name == EMBEDDED else load_lhapdf_grid(find_pdf_set(name), member)
    x, q2 = pdf.x_axis.knots, pdf.q2_axis.knots
    table = Table(title=pdf.name, title_justify="left", show_header=False)
    table.add_row("flavors", " ".join(map(str, pdf.flavors)))
    absent = [pid for pid in PARTONS if pid not in pdf.flavors]
    for pids, what in (
        ([pid for pid in absent if pid in HEAVY], "taken as 0, as in LHAPDF"),
        ([pid for pid in absent if pid not in HEAVY], "a run needs them"),
    ):
        if pids:
            table.add_row("absent flavors", f"{' '.join(map(str, pids))}: {what}")
    table.add_row("x", f"{x[0]:.3g} to {x[-1]:.3g}, {len(x)} knots")
    table.add_row("Q^2 / GeV^2", f"{q2[0]:.4g} to {q2[-1]:.4g}, {len(q2)} knots")
    inside = [value for value in _CHECKED_Q2 if q2[0] <= value <= q2[-1]] or [float(q2[0])]
    for value, total in zip(inside, momentum_sum(pdf, inside), strict=True):
        table.add_row(f"momentum sum at {value:g} GeV^2", f"{total:.4f} (1 expected)")
    return table


def momentum_sum(pdf: GridPDF, q2: Sequence[float]) -> list[float]:
    """Return the momentum fraction of all partons, sum_i int dx x f_i, at each Q^2 in GeV^2.

    Gauss-Legendre in u with x = u^4, which resolves small x; what lies below the first knot is
    left out.
    """
    nodes, weights = np.polynomial.legendre.leggauss(400)
    first, last = pdf.x_axis.knots[0] ** 0.25, pdf.x_axis.knots[-1] ** 0.25
    u = first + (last - first) * (nodes + 1.0) / 2.0
    measure = 4.0 * u**3 * weights * (last - first) / 2.0
    return [
        float(measure @ np.asarray(pdf.xf(u**4, value, pdf.flavors)).sum(axis=1)) for value in q2
    ]


def install(name: str) -> str:
    """Fetch a set through lhapdf-management into the first folder on the data path; say where.

    Raises:
        InputError: it is no set's name, that package is not installed, no folder is named, or the
            download failed.
    """
    source = f"PDF set {name}"
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise InputError(f"{source}: must be the name of one set, such as CT18NNLO")
    if importlib.util.find_spec("lhapdf_management") is None:
        raise InputError(
            f"{source}: installing needs the package lhapdf-management (pip install "
            f"lhapdf-management); or unpack the set in a folder named in ${DATA_PATH_VARIABLE}"
        )
    folders = data_paths()
    if not folders or not folders[0].is_dir():
        raise InputError(
            f"{source}: set ${DATA_PATH_VARIABLE} to an existing folder to install into"
        )
    management = importlib.import_module("lhapdf_management")
    management.environment.datapath = folders[0]
    try:
        management.pdf_update()
        management.pdf_install(name)
    except Exception as error:  # network, disk and archive faults of another package
        reason = " ".join(str(error).split())
        raise InputError(f"{source}: lhapdf-management failed: {reason}") from error
    # What pdf_install returns differs between its versions.
    if not (folders[0] / name).is_dir():
        raise InputError(f"{source}: lhapdf-management did not install it in {folders[0]}")
    return str(folders[0] / name)
