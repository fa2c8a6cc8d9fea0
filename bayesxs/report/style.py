"""One look for every figure: colors, type, labels with units, and the way to PNG."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from bayesxs.inference.nuisances import GROUPS, group_label
from bayesxs.types import Json

# Truth is dark and neutral, what is learned is warm, what is merely assumed is cold: told apart by
# lightness and by dashes too, so that neither color blindness nor a grey printer merges them.
TRUTH: Final = "#2f3640"
LEARNED: Final = "#d9541e"
ASSUMED: Final = "#2a6db0"
SHADE: Final = "#9fb6cd"  # fluxes, behind everything else
STAR: Final = "#f2c230"  # the true value
CHAINS: Final = ("#2f3640", "#d9541e", "#3b7ea1", "#8a6fae", "#4f9d69", "#b08a2e")
SOURCES: Final = ("#d9541e", "#1f6f9f", "#9a5a94", "#3c8a5a")  # of one quantity, with dashes
GUIDE: Final = "#8a929c"  # lines of reference

DENSITY_MAP: Final = "YlGnBu"
DIFFERENCE_MAP: Final = "RdBu_r"
OUTSIDE: Final = "#ffffff"  # outside the physical region there is nothing to draw

type Dashes = str | tuple[int, tuple[float, ...]]  # of a line

DPI: Final = 130
_LARGE: Final = 200_000  # bytes

_RC: Final[Any] = {  # matplotlib's stubs want its keys one by one
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 11.5,
    "axes.titlesize": 12,
    "axes.labelsize": 12,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "legend.fontsize": 10.5,
    "legend.frameon": False,
    "axes.linewidth": 0.8,
    "axes.edgecolor": "#3c434c",
    "axes.labelcolor": "#1d2127",
    "text.color": "#1d2127",
    "xtick.color": "#3c434c",
    "ytick.color": "#3c434c",
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.major.size": 4.0,
    "ytick.major.size": 4.0,
    "xtick.minor.size": 2.2,
    "ytick.minor.size": 2.2,
    "lines.linewidth": 1.6,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.constrained_layout.use": True,
}


@contextmanager
def style() -> Iterator[None]:
    """Draw the figures inside in the shared look, and leave matplotlib's settings as they were.

    All but one: a notebook's backend that starts inside switches interaction on, without which it
    would not show the figures of later cells.
    """
    with mpl.rc_context(_RC):
        yield
        interactive = mpl.is_interactive()
    mpl.interactive(interactive)


def to_png(figure: Figure, dpi: int = DPI) -> bytes:
    """Return a figure as PNG; the bytes depend on nothing but the figure.

    One that is large, such as thousands of thin lines, is brought to 256 colors, a third of the
    size. They are chosen to cover those of the figure, so that rare ones stay: no channel moves by
    more than some ten of 255. Color maps would show the steps, but figures of them are small.
    """
    with style(), _at(figure, dpi):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()  # `savefig` would draw twice, once for the layout
        image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    drawn = _encoded(image, dpi)
    if len(drawn) <= _LARGE:
        return drawn
    image = image.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    return _encoded(image, dpi)


@contextmanager
def _at(figure: Figure, dpi: int) -> Iterator[None]:
    """Give a figure another resolution for a while, and its own canvas back afterwards."""
    own, canvas = figure.dpi, figure.canvas
    figure.dpi = dpi
    try:
        yield
    finally:
        figure.dpi = own
        figure.set_canvas(canvas)


def _encoded(image: Image.Image, dpi: int) -> bytes:
    """Return an image as PNG; the highest compression would take five times as long, for 3 %."""
    out = io.BytesIO()
    image.save(out, format="png", compress_level=6, dpi=(dpi, dpi))
    return out.getvalue()


class Plate(Figure):
    """A figure that notebooks show although pyplot, which they usually ask, does not know it."""

    def _repr_png_(self) -> bytes:
        return to_png(self)


class Quantity(NamedTuple):
    """Label, unit and scale with which a parameter is shown.

    Attributes:
        label: in mathtext.
        plain: the same in plain text.
        words: its name.
        scale: factor from the stored unit to the shown one.
        unit: shown unit in mathtext, empty where there is none.
        plain_unit: shown unit in plain text.
        low: physical lower bound in the stored unit, None where there is none.
        high: physical upper bound.
        periodic: whether the two bounds are the same point.
    """

    label: str
    plain: str
    words: str
    scale: float = 1.0
    unit: str = ""
    plain_unit: str = ""
    low: float | None = None
    high: float | None = None
    periodic: bool = False

    @property
    def axis(self) -> str:
        """Label of an axis: symbol and, in brackets, unit."""
        return f"{self.label} [{self.unit}]" if self.unit else self.label


QUANTITIES: Final[dict[str, Quantity]] = {
    "sin2_2theta23": Quantity(
        r"$\sin^2 2\theta_{23}$",
        "sin²2θ₂₃",
        "atmospheric mixing, blind to the octant",
        low=0.0,
        high=1.0,
    ),
    "dm31": Quantity(
        r"$\Delta m^2_{31}$",
        "Δm²₃₁",
        "atmospheric mass splitting",
        1e3,
        r"$10^{-3}\,\mathrm{eV}^2$",
        "10⁻³ eV²",
    ),
    "sin2_theta23": Quantity(
        r"$\sin^2\theta_{23}$", "sin²θ₂₃", "atmospheric mixing", low=0.0, high=1.0
    ),
    "sin2_theta13": Quantity(
        r"$\sin^2\theta_{13}$", "sin²θ₁₃", "reactor mixing", low=0.0, high=1.0
    ),
    "sin2_theta12": Quantity(r"$\sin^2\theta_{12}$", "sin²θ₁₂", "solar mixing", low=0.0, high=1.0),
    "dm21": Quantity(
        r"$\Delta m^2_{21}$",
        "Δm²₂₁",
        "solar mass splitting",
        1e5,
        r"$10^{-5}\,\mathrm{eV}^2$",
        "10⁻⁵ eV²",
        low=0.0,
    ),
    "dcp": Quantity(
        r"$\delta_\mathrm{CP}$",
        "δ_CP",
        "CP phase",
        180.0 / np.pi,
        "deg",
        "degrees",
        low=-np.pi,
        high=np.pi,
        periodic=True,
    ),
}


# An uncertainty is a small part of its parameter, and is shown in a smaller unit
_ERROR_UNITS: Final[dict[str, tuple[float, str, str]]] = {
    "dm31": (1e5, r"$10^{-5}\,\mathrm{eV}^2$", "10⁻⁵ eV²"),
    "sin2_2theta23": (1e3, r"$10^{-3}$", "10⁻³"),
}


# Kinds of cross section in words
CROSS_SECTIONS: Final = {
    "learned": "learned cross section",
    "truth": "true cross section",
    "assumed": "assumed cross section",
}

# The same where a generator's events are nature: its template stands where the truth would
OF_EVENTS: Final = {**CROSS_SECTIONS, "truth": "generator's template"}


class Group(NamedTuple):
    """A group of nuisance parameters: its words, and its color."""

    words: str
    color: str


# Of the rows of a budget; `bayesxs.inference.nuisances` names the groups
GROUP_COLORS: Final = {
    "statistics": GUIDE,
    "cross_section": LEARNED,
    "lepton_ratio": "#b8862b",
    "flux": "#1f6f9f",
    "response": "#9a5a94",
}


def group(name: str) -> Group:
    """Return how a group of nuisances is shown; one that is not known keeps its name."""
    return Group(group_label(name), GROUP_COLORS.get(name, TRUTH))


def grouped(members: Iterable[Json]) -> list[tuple[str, list[Json]]]:
    """Return nuisances by their entry `group`, the known groups first, in their order within."""
    found: dict[str, list[Json]] = {name: [] for name in GROUPS}
    for member in members:
        found.setdefault(str(member.get("group", "")), []).append(member)
    return [(name, entries) for name, entries in found.items() if entries]


def error_of(name: str) -> Quantity:
    """Return how uncertainties of a parameter are shown: its symbols, a smaller unit."""
    shown = quantity(name)
    if name not in _ERROR_UNITS:
        return shown
    scale, unit, plain_unit = _ERROR_UNITS[name]
    return shown._replace(scale=scale, unit=unit, plain_unit=plain_unit)


def quantity(name: str) -> Quantity:
    """Return how a parameter is shown; one that is not known keeps its name."""
    words = name.replace("_", " ")
    return QUANTITIES.get(name, Quantity(words, words, words))


def ordered(names: Iterable[str]) -> list[str]:
    """Return parameters, the known ones first and in the order of `QUANTITIES`."""
    given = list(names)
    return [*(n for n in QUANTITIES if n in given), *(n for n in given if n not in QUANTITIES)]
