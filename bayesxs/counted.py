"""Cards of samples from Python: scan sensitivities, and look at what was found."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from bayesxs.api import Finished, places
from bayesxs.cards.counted import CountedCard, CountedCardLike, load_counted_card
from bayesxs.session import available_cores, prepare_jax, prepare_run
from bayesxs.storage.run_folder import CONFIG

if TYPE_CHECKING:
    from bayesxs.inference.reweighting import OtherPrior, Reweighted


class _Counted(Finished):
    """A finished folder of a card of samples."""

    @cached_property
    def card(self) -> CountedCard:  # type: ignore[override]
        """The card that it was made with."""
        return load_counted_card(self._folder.path / CONFIG)


class Sensitivity(_Counted):
    """Finished scans of sensitivities. Files are read when first asked for.

    Example:
        >>> bayesxs.open_sensitivity("runs/empty")
        Traceback (most recent call last):
            ...
        bayesxs.errors.InputError: ...
    """

    last_stage = "sensitivity"
    summary_file = "sensitivity.json"
    report_file = "figures/dcp.png"

    def scan(self, name: Literal["dcp", "octant"] = "dcp") -> xr.Dataset:
        """Return a scan: over the true phase, or over the true mixing.

        Raises:
            InputError: the card did not ask for it.
        """
        from bayesxs.storage.netcdf import read_dataset

        return read_dataset(self._folder.output(f"{name}.nc"))

    def figure(self, name: Literal["dcp", "octant"] = "dcp") -> Figure:
        """Draw a scan.

        Raises:
            InputError: the card did not ask for it.
        """
        from bayesxs.report.plots_asimov import scan_figure

        return scan_figure(self.scan(name))


def sensitivity(
    card: CountedCardLike,
    *,
    out: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, object] | None = None,
    progress: bool = True,
) -> Sensitivity:
    """Scan sensitivities of a card of samples; scans that a folder holds are kept.

    Args:
        card: path of a card with `[configuration]` (TOML), the name of a bundled one, or a mapping
            of its tables.
        out: folder; bayesxs-runs/ and the name of the card's file, or sensitivity, if None.
        overrides: changes of single keys, e.g. {"scan.dcp_values": 19}.
        progress: show progress bars.

    Raises:
        InputError: bad input, in one line.

    Example:
        >>> few = {"configuration": {"type": "dune"}, "scan.dcp_values": 1}
        >>> bayesxs.sensitivity(few)
        Traceback (most recent call last):
            ...
        bayesxs.errors.InputError: ...
    """
    resolved = load_counted_card(card, overrides)
    prepare_jax(available_cores())
    from bayesxs.runs.sensitivity import run_sensitivity

    folder, _ = places(card, out, "sensitivity")
    return Sensitivity(run_sensitivity(resolved, folder, resume=True, progress=progress))


class Inference(_Counted):
    """A posterior over orderings and octants. Files are read when first asked for.

    Example:
        >>> bayesxs.open_inference("runs/empty")
        Traceback (most recent call last):
            ...
        bayesxs.errors.InputError: ...
    """

    last_stage = "report"
    summary_file = "summary.json"
    report_file = "report.html"

    @cached_property
    def posterior(self) -> xr.DataTree:
        """Draws of parameters and nuisances, over orderings and octants."""
        from bayesxs.storage.netcdf import read_tree

        return read_tree(self._folder.output("posterior.nc"))

    @cached_property
    def modes(self) -> xr.DataTree:
        """Draws of each ordering and octant on its own, over mode, however improbable it is."""
        from bayesxs.storage.netcdf import read_tree

        return read_tree(self._folder.output("modes.nc"))

    def reweighted(self, priors: Mapping[str, OtherPrior], *, seed: int = 0) -> Reweighted:
        """Return the posterior under other priors, by new weights of the draws.

        Its `ess` is the effective number of draws: where it is small, sample with the other priors.

        Args:
            priors: by the names of the posterior, e.g. {"sin2_theta13": Gaussian(0.0222, 0.0006)},
                in place of those that were sampled; a `Flat`, a `Gaussian`, or a function that
                returns the log density at an array of values, up to a constant. That of dm31 is one
                of its size, `|dm31 - s2_12 dm21|`, in either ordering.
            seed: of the choice of draws.

        Raises:
            InputError: a parameter that was not free, or a flat prior beyond the sampled range.
        """
        from bayesxs.inference.reweighting import reweighted

        return reweighted(self.modes, priors, np.random.default_rng(seed))

    def figure(self, name: str = "triangle") -> Figure:
        """Draw one of the report's figures.

        Raises:
            InputError: there is no such figure; the message lists those there are.
        """
        from bayesxs.runs.counted_report import counted_figures

        return self._draw(name, dict(counted_figures(self._folder)))

    @property
    def root(self) -> Path:
        """Path of the posterior in the form of official results, for numcmctools."""
        return Path(self._folder.output("posterior.root"))


def infer(
    card: CountedCardLike,
    *,
    out: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, object] | None = None,
    progress: bool = True,
) -> Inference:
    """Infer ordering, octant and dCP from a card of samples, as `bayesxs run` does.

    Args:
        card: path of a card with `[configuration]` (TOML), the name of a bundled one, or a mapping
            of its tables.
        out: folder; bayesxs-runs/ and the name of the card's file, or inference, if None.
        overrides: changes of single keys, e.g. {"sampler.draws": 2000}.
        progress: show progress bars.

    Raises:
        InputError: bad input, in one line.

    Example:
        >>> bayesxs.infer({"seed": 1})
        Traceback (most recent call last):
            ...
        bayesxs.errors.InputError: ...
    """
    resolved = load_counted_card(card, overrides)
    prepare_run(resolved.sampler.chains)
    from bayesxs.runs.counted import run_counted

    folder, _ = places(card, out, "inference")
    run_counted(resolved, folder, resume=True, progress=progress)
    return Inference(folder)


def open_inference(path: str | os.PathLike[str]) -> Inference:
    """Open the folder of a finished posterior over orderings and octants.

    Raises:
        InputError: it holds none.

    Example:
        >>> bayesxs.open_inference("runs/empty")
        Traceback (most recent call last):
            ...
        bayesxs.errors.InputError: ...
    """
    return Inference(Path(path))


def open_sensitivity(path: str | os.PathLike[str]) -> Sensitivity:
    """Open the folder of finished scans of sensitivities.

    Raises:
        InputError: it holds none.

    Example:
        >>> bayesxs.open_sensitivity("runs/empty")
        Traceback (most recent call last):
            ...
        bayesxs.errors.InputError: ...
    """
    return Sensitivity(Path(path))
