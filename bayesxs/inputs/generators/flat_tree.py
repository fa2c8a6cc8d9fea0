"""NUISANCE's flat trees, FlatTree_VARS: energies in GeV, weights times fScaleFactor in cm^2."""

from __future__ import annotations

from typing import Final

import numpy as np

from bayesxs.constants import CROSS_SECTION_UNIT
from bayesxs.errors import InputError
from bayesxs.inputs.generators.events import Chunk, make_chunk
from bayesxs.inputs.generators.rootfile import SCALE, Columns, Layout, optional
from bayesxs.inputs.generators.source import CrossSection

# NEUT's codes of charged-current channels, which NUISANCE gives every generator's events (their
# absolute value; antineutrinos have a minus): Hayato, Acta Phys. Polon. B 40 (2009) 2477
MODES: Final = {
    1: "qe",
    2: "mec",
    11: "res",
    12: "res",
    13: "res",
    16: "coh",
    17: "res",
    21: "sis",
    22: "res",
    23: "res",
    26: "dis",
}
NAMES: Final = ("qe", "mec", "res", "coh", "sis", "dis", "other")


def _chunk(columns: Columns) -> Chunk:
    channel = np.full(len(columns["Enu_true"]), -1)
    if "Mode" in columns:
        modes = np.abs(columns["Mode"].astype(np.int64))
        channel = np.full(len(modes), NAMES.index("other"))
        for mode, name in MODES.items():
            channel[modes == mode] = NAMES.index(name)
    return make_chunk(
        columns["Enu_true"],
        columns["ELep"],
        columns["CosLep"],
        weight=optional(columns, "Weight"),
        pdg_nu=columns["PDGnu"],
        pdg_l=columns["PDGLep"],
        target=columns.get("tgt", 0),
        channel=channel,
        charged=columns["cc"],
    )


def _scale(path: str, scales: set[float]) -> CrossSection | None:
    """Weights times fScaleFactor add up to the flux-averaged cross section in cm^2 per nucleon."""
    if not scales:
        return None
    if len(scales) > 1:
        allowed = "one value: files that were put together count their events twice"
        raise InputError.at(path, SCALE, ", ".join(f"{s:g}" for s in sorted(scales)), allowed)
    (scale,) = scales
    if not 0.0 < scale < np.inf:
        raise InputError.at(path, SCALE, scale, "cm^2 per nucleon, above zero")
    return CrossSection(scale / CROSS_SECTION_UNIT, False, f"fScaleFactor {scale:.6g} cm2/nucleon")


FLAT_TREE: Final = Layout(
    "FlatTree_VARS",
    "NUISANCE flat tree",
    ("PDGnu", "PDGLep", "cc", "Enu_true", "ELep", "CosLep"),
    ("Mode", "tgt", "Weight", SCALE),
    _chunk,
    NAMES,
    _scale,
)
