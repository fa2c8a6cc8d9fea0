"""The functions of the library: fluxes, learning, sampling, bootstrap."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import jax
import numpy as np
import xarray as xr
from jax.typing import ArrayLike

from bayesxs.errors import InputError
from bayesxs.experiment.beams import learn_beams
from bayesxs.experiment.cross_section import LearnedCrossSection
from bayesxs.experiment.cross_section import read_cross_section as read_learned
from bayesxs.experiment.experiment import Experiment
from bayesxs.experiment.learn import Training
from bayesxs.experiment.near import NearData
from bayesxs.experiment.shared import with_truth
from bayesxs.experiment.uncertainty import (
    Uncertainty,
)
from bayesxs.inference.bootstrap import bootstrap as fit_bootstrap
from bayesxs.inference.likelihood import Likelihood
from bayesxs.inference.model import initial_values, sampler_of
from bayesxs.inference.points import check_names
from bayesxs.inference.posterior import add_bootstrap, posterior_tree
from bayesxs.inference.priors import Prior, check_ordering, check_priors
from bayesxs.inference.sampling import SamplerSettings, joined
from bayesxs.inputs.flux import (
    COLUMNS,
    Flux,
    embedded_dune_flux,
    load_csv_flux,
    load_globes_flux,
    make_flux,
)
from bayesxs.inputs.fluxroot import load_root_flux
from bayesxs.inputs.pdf import (
    PDF,
    GridPDF,
    embedded_ct18nnlo,
    embedded_les_houches,
    find_pdf_set,
    load_lhapdf_grid,
    require_flavors,
    with_heavy_flavors,
)
from bayesxs.keys import Purpose, derive
from bayesxs.physics.structure_functions import PARTONS
from bayesxs.progress import Reporter


def flux(energy: ArrayLike, values: Mapping[str, ArrayLike], source: str = "own flux") -> Flux:
    """Return a flux from arrays, linear between energies and zero outside.

    Args:
        energy: in GeV, increasing, shape (n,).
        values: flux per GeV by species, each of shape (n,): nu_e, nu_mu, nu_tau, anti_nu_e,
            anti_nu_mu, anti_nu_tau; those left out are zero.
        source: what messages call it.

    Raises:
        InputError: an unknown species, other shapes, values that are negative or not finite,
            energies that do not increase.

    Example:
        >>> own = bayesxs.flux([0.5, 2.0, 10.0], {"nu_mu": [1.0, 4.0, 0.5]})
        >>> float(own(14, 2.0))
        4.0
    """
    energy = np.asarray(energy, float)
    table = np.zeros((energy.size, len(COLUMNS)))
    for name, column in values.items():
        if name not in COLUMNS:
            raise InputError.at(source, "species", name, f"one of {', '.join(COLUMNS)}")
        own = np.asarray(column, float)
        if own.shape != energy.shape:
            raise InputError.at(source, f"shape of {name}", own.shape, f"{energy.shape}")
        table[:, COLUMNS.index(name)] = own
    return make_flux(energy, table, source)


def dune_flux(
    mode: Literal["neutrino", "antineutrino"] = "neutrino",
    detector: Literal["near", "far"] = "near",
) -> Flux:
    """Return the embedded DUNE flux at a detector (arXiv:2103.04797), per GeV, m^2 and POT.

    Args:
        mode: polarity of the horns.
        detector: the far flux is that before oscillation.

    Example:
        >>> near, far = (bayesxs.dune_flux("neutrino", detector) for detector in ("near", "far"))
        >>> bool(near(14, 2.5) > far(14, 2.5))
        True
    """
    return embedded_dune_flux(mode, detector)


def ct18nnlo() -> GridPDF:
    """Return the embedded table of CT18NNLO (arXiv:1912.10053), evolved with HOPPET.

    Example:
        >>> bayesxs.ct18nnlo().xf(0.1, 10.0, (1, 2, -1)).shape
        (3,)
    """
    return embedded_ct18nnlo()


def les_houches() -> GridPDF:
    """Return the embedded table of the Les Houches benchmark (hep-ph/0204316).

    Example:
        >>> bayesxs.les_houches().xf(np.array([0.1, 0.3]), 10.0, (1, 2, -1)).shape
        (2, 3)
    """
    return embedded_les_houches()


def lhapdf(name: str, member: int = 0) -> PDF:
    """Return a PDF set in the LHAPDF6 format.

    Args:
        name: of a set on ``$LHAPDF_DATA_PATH``, or the path of its folder.
        member: of the set; 0 is the central one.

    Raises:
        InputError: there is no such set, or it lacks a light flavor.

    Example:
        >>> bayesxs.lhapdf("no_such_set")
        Traceback (most recent call last):
            ...
        bayesxs.errors.InputError: ...
    """
    pdf = with_heavy_flavors(load_lhapdf_grid(find_pdf_set(name), member))
    require_flavors(pdf, PARTONS)
    return pdf


def read_flux(path: str | Path, energies: Literal["centers", "low_edges"] | None = None) -> Flux:
    """Read a flux from a CSV file, a GLoBES file or histograms of a ROOT file, by its name.

    Args:
        path: NAME.csv, FILE.root:HISTOGRAM, or any other name for the GLoBES format.
        energies: whether one energy per row is the center of a bin or its low edge, where unclear.

    Raises:
        InputError: a file that cannot be read, or is no flux.

    Example:
        >>> rows = [[0.5, 1.0], [2.0, 4.0], [10.0, 0.5]]
        >>> np.savetxt("flux.csv", rows, delimiter=",", header="energy,nu_mu", comments="")
        >>> bayesxs.read_flux("flux.csv").support
        (0.5, 10.0)
    """
    name = str(path)
    if ".root" in name:
        return load_root_flux(name)
    return (load_csv_flux if name.endswith(".csv") else load_globes_flux)(path, energies)


def learn(
    near: NearData,
    *,
    training: Training | None = None,
    uncertainty: Uncertainty | Literal["none", "gaussian_process", "laplace", "ensemble"] = "none",
    key: jax.Array | int = 0,
    progress: bool = True,
) -> LearnedCrossSection:
    """Learn the structure functions of every target from near-detector data.

    Args:
        near: from `Experiment.near_data`.
        training: architecture and schedule; the defaults suit most data.
        uncertainty: source of the modes that near data leave open, an object or its name.
        key: random key or seed.
        progress: show progress bars.

    Raises:
        InputError: double precision is off, an unknown source of modes, or a source that needs
            other numbers of networks or networks that are not shared; near samples that networks
            are not fitted to.

    Example:
        >>> short = bayesxs.Training(schedule=bayesxs.Schedule(adam_steps=3, lbfgs_steps=0))
        >>> learned = bayesxs.learn(near, training=short, progress=False)
        >>> learned.structure_functions()(0.3, 2.0).shape
        (3,)
    """
    return learn_beams((near,), training, uncertainty, key, progress)[0]


def read_cross_section(path: str | Path, experiment: Experiment) -> LearnedCrossSection:
    """Read a cross section that `LearnedCrossSection.save` wrote.

    Args:
        path: of the netCDF file; a run's cross_section.nc is one.
        experiment: of the same grid, energy range and targets.

    Raises:
        InputError: it is no such file, or belongs to another experiment.

    Example:
        >>> xsec.save("cross_section.nc")
        >>> bayesxs.read_cross_section("cross_section.nc", exp).source
        'none'
    """
    return read_learned(Path(path), experiment.nodes)


def cross_section_ratio(
    cross_section: LearnedCrossSection,
    numerator: str = "e",
    denominator: str = "mu",
    *,
    experiment: Experiment | None = None,
) -> xr.Dataset:
    """Return a ratio of total cross sections against energy as near data leave it, with its band.

    The lepton masses tell the cross sections apart: where leptons share five functions, near data
    of one leave those of another open by LS and SS alone, and by what they do not resolve.

    Args:
        cross_section: learned with `uncertainty="gaussian_process"` and
            `Training(share="helicity")`.
        numerator: target, such as "e".
        denominator: target whose near data came first, such as "mu".
        experiment: whose nature gives the true ratio; None where it is not known.

    Returns:
        Over energy in GeV: ratio, sd, and with an experiment truth and pull, (ratio - truth)/sd.

    Raises:
        InputError: no such ratio, or a nature without total cross section.

    Example:
        >>> bayesxs.cross_section_ratio(xsec)  # muons alone were learned
        Traceback (most recent call last):
            ...
        bayesxs.errors.InputError: ...
    """
    name = f"{numerator}_over_{denominator}"
    if name not in cross_section.ratios:
        there = ", ".join(own.replace("_over_", " over ") for own in cross_section.ratios)
        needed = 'learned with share = "helicity" and uncertainty = "gaussian_process"'
        allowed = f"one of {there}" if there else f"a cross section {needed}"
        wanted = f"{numerator} over {denominator}"
        raise InputError.at("cross_section_ratio", "ratio", wanted, allowed)
    found = cross_section.ratios[name].copy()
    return found if experiment is None else with_truth(found, experiment)


def sample(
    likelihood: Likelihood,
    priors: Mapping[str, Prior],
    *,
    settings: SamplerSettings | None = None,
    key: jax.Array | int = 0,
    progress: bool = True,
) -> xr.DataTree:
    """Sample the package's own posterior of a likelihood with NUTS.

    The octant of s2_23 is summed over exactly where its prior spans both.

    Args:
        likelihood: of the data.
        priors: of the free parameters, such as `Experiment.priors`; others are as in the
            likelihood.
        settings: chains and their lengths.
        key: random key or seed.
        progress: show a progress bar.

    Returns:
        Groups posterior and sample_stats, as ArviZ takes them.

    Raises:
        InputError: a prior of an unknown parameter, one that cannot be normalised, or one of dm31
            that holds both orderings.

    Example:
        >>> few = bayesxs.SamplerSettings(chains=1, warmup=5, draws=5)
        >>> tree = bayesxs.sample(far, exp.priors, settings=few, progress=False)
        >>> tree["posterior"]["dm31"].shape
        (1, 5)
    """
    chosen = settings or SamplerSettings()
    check_ordering("sample", priors)
    model = likelihood.model(priors)
    count = len(likelihood.nuisances)
    start = initial_values(priors, likelihood.parameters, count, near=likelihood.near)
    sampler = sampler_of(model, (), chosen, start)
    pieces = []
    with Reporter(progress).bar("sampling", chosen.steps) as update:
        for piece in sampler.pieces((), derive(key, Purpose.SAMPLER, 0)):
            update(piece.done)
            if piece.draws is not None:
                pieces.append(piece.draws)
    names = [n.name for n in likelihood.nuisances]
    octant_key = derive(key, Purpose.OCTANT, 0, 0)
    return posterior_tree(joined(pieces), octant_key, names, priors=priors)


def bootstrap(
    likelihood: Likelihood,
    priors: Mapping[str, Prior],
    *,
    replicas: int = 1000,
    key: jax.Array | int = 0,
    progress: bool = True,
) -> xr.DataTree:
    """Maximise the likelihood of the data and of bootstrap samples of the events.

    Args:
        likelihood: of the data.
        priors: of the free parameters: flat ones are bounds, Gaussian ones penalties.
        replicas: bootstrap samples.
        key: random key or seed.
        progress: show a progress bar.

    Returns:
        Group bootstrap: estimates over replica; those of the data are its attributes mle_NAME.

    Raises:
        InputError: as `sample`.

    Example:
        >>> tree = bayesxs.bootstrap(far, exp.priors, replicas=5, progress=False)
        >>> tree["bootstrap"]["dm31"].shape
        (5,)
    """
    check_names("priors", priors)
    check_priors("bootstrap", priors)
    check_ordering("bootstrap", priors)
    channels, fixed = likelihood.channels, likelihood.parameters
    start = {name: float(getattr(fixed, name)) for name in priors}
    tree = xr.DataTree()
    with Reporter(progress).bar("bootstrap", replicas) as update:
        found = fit_bootstrap(
            derive(key, Purpose.BOOTSTRAP),
            channels,
            priors,
            fixed,
            start,
            replicas,
            update,
            likelihood.near,
        )
    add_bootstrap(tree, found, priors)
    return tree
