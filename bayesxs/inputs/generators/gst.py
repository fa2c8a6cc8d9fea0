"""GENIE's summary trees, gst: energies in GeV, no cross section."""

from __future__ import annotations

from typing import Final

import numpy as np

from bayesxs.inputs.generators.events import Chunk, make_chunk
from bayesxs.inputs.generators.rootfile import Columns, Layout, optional

# Flags of channels (GENIE Physics and User Manual, chapter on the analysis of output samples)
FLAGS: Final = {"qel": "qe", "mec": "mec", "res": "res", "dis": "dis", "coh": "coh"}
AXES: Final = ("pxl", "pyl", "pzl")
NAMES: Final = (*FLAGS.values(), "other")


def _chunk(columns: Columns) -> Chunk:
    channel = np.full(len(columns["Ev"]), len(FLAGS))
    for code, flag in enumerate(FLAGS):
        if flag in columns:
            channel[columns[flag].astype(bool)] = code
    momentum = optional(columns, "pl")
    if momentum is None and all(name in columns for name in AXES):
        momentum = np.sqrt(sum(columns[name].astype(np.float64) ** 2 for name in AXES))
    return make_chunk(
        columns["Ev"],
        columns["El"],
        columns["cthl"],
        lepton_momentum=momentum,
        weight=optional(columns, "wght"),
        pdg_nu=columns["neu"],
        pdg_l=columns["fspl"],
        target=columns.get("tgt", 0),
        channel=channel,
        charged=columns["cc"],
    )


GST: Final = Layout(
    "gst",
    "GENIE gst",
    ("neu", "fspl", "cc", "Ev", "El", "cthl"),
    ("tgt", "wght", "pl", *AXES, *FLAGS),
    _chunk,
    NAMES,
    lambda path, scales: None,
)
