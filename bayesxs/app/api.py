"""The Python interface: run an analysis, or open one, and look at what it found."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import xarray as xr
from matplotlib.figure import Figure

from bayesxs.app.session import prepare_jax
from bayesxs.atomic import read_json
from bayesxs.config import Card, load_card
from bayesxs.errors import InputError
from bayesxs.store import CONFIG, RunFolder

# In notebooks without ipywidgets tqdm warns when NumPyro imports it; its bars are not drawn here
warnings.filterwarnings("ignore", "IProgress not found")


class Run:
    """A finished run. Files are read when first asked for."""

    def __init__(self, path: Path) -> None:
        """Open a run folder for reading.

        Raises:
            InputError: it holds no run, a run of another version, or an unfinished one.
        """
        self._folder = RunFolder.view(path)
        self.path = self._folder.path
        self._folder.check_outputs("posterior")

    def __repr__(self) -> str:
        return f"Run({os.fspath(self.path)!r})"

    @cached_property
    def card(self) -> Card:
        """The card that the run was made with."""
        return load_card(self.path / CONFIG)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What summary.json holds."""
        content: dict[str, Any] = read_json(self.path / "summary.json")
        return content

    @cached_property
    def near_detector(self) -> xr.DataTree:
        """Densities and cross sections, true and learned."""
        from bayesxs.app.netcdf import read_tree

        return read_tree(self.path / "near_detector.nc")

    @cached_property
    def events(self) -> xr.Dataset:
        """The far-detector events."""
        from bayesxs.app.netcdf import read_dataset

        return read_dataset(self.path / "events.nc")

    def posterior(self, cross_section: Literal["learned", "truth"] = "learned") -> xr.DataTree:
        """Return the posterior obtained with the learned or the true cross section."""
        from bayesxs.app.netcdf import read_tree

        return read_tree(self.path / f"posterior_{cross_section}.nc")

    def figure(self, name: str = "posterior") -> Figure:
        """Draw one of the report's figures.

        Raises:
            InputError: there is no such figure; the message lists those there are.
        """
        from bayesxs.app.figures import figures

        drawn = dict(figures(self._folder))
        if name not in drawn:
            raise InputError.at(self.path, "figure", name, f"one of {', '.join(drawn)}")
        return drawn[name]()

    @property
    def report(self) -> Path:
        """Path of the HTML report."""
        return self.path / "report.html"


def run(
    card: str | os.PathLike[str] | None = None,
    *,
    preset: str | None = None,
    out: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Run:
    """Run an analysis; stages that a folder already holds for the same card are not run again.

    Args:
        card: analysis card (TOML); the preset alone if None.
        preset: "quick", "default" or "paper".
        out: run folder; bayesxs-runs/ and the card's or preset's name if None.
        overrides: changes of single keys, e.g. {"far.events": 1000}.
        progress: show progress bars.

    Raises:
        InputError: bad input, in one line.
    """
    settings = [f"{key}={_as_toml(key, value)}" for key, value in (overrides or {}).items()]
    resolved = load_card(card, preset, settings)
    prepare_jax(resolved.sampler.chains)
    from bayesxs.app import pipeline

    name = Path(card).stem if card is not None else preset or "default"
    folder = Path(out) if out is not None else Path("bayesxs-runs") / name
    source = os.fspath(card) if card is not None else "card"
    pipeline.run(resolved, folder, resume=True, progress=progress, source=source)
    return Run(folder)


def _as_toml(key: str, value: Any) -> str:
    """Write a value, or a whole table, in the one line of TOML that ``--set`` takes."""
    import tomli_w

    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k} = {_as_toml(key, v)}" for k, v in value.items()) + "}"
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    elif hasattr(value, "item"):  # NumPy's numbers
        value = value.item()
    try:
        return tomli_w.dumps({"v": value}).strip().removeprefix("v = ")
    except TypeError:
        allowed = "a value that TOML knows: number, string, true or false, list, table"
        raise InputError.at("overrides", key, value, allowed) from None


def open_run(path: str | os.PathLike[str]) -> Run:
    """Open the folder of a finished run.

    Raises:
        InputError: it holds none.
    """
    return Run(Path(path))
