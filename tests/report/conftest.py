"""Inputs of the report made from smooth functions and random draws, shaped as a run writes them."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

MASS = 0.9389187
TRUE_VALUES = {"dm31": 2.513e-3, "sin2_theta23": 0.470, "sin2_2theta23": 4 * 0.470 * 0.530}


@pytest.fixture
def density() -> xr.Dataset:
    """Densities that fall off in E_l and z, zero in a corner; the model is off by a percent."""
    edges, z_edges = np.linspace(0.1, 20.0, 41), np.linspace(0.0, 1.0, 31)
    energy, z = 0.5 * (edges[1:] + edges[:-1]), 0.5 * (z_edges[1:] + z_edges[:-1])
    e, zz = np.meshgrid(energy, z, indexing="ij")
    near = e**1.5 * np.exp(-e / 1.2) * (0.05 + zz) * np.exp(-4.0 * zz) * (zz < 1.0 - 0.02 * e)
    far = near * (1.0 - 0.9 * np.exp(-((np.log(e / 1.8)) ** 2) / 0.15))
    wiggle = 1.0 + 0.01 * np.sin(3.0 * e) * np.cos(9.0 * zz)
    area = (edges[1] - edges[0]) * (z_edges[1] - z_edges[0])
    values = {
        "near_truth": near,
        "near_model": near * wiggle,
        "far_truth": far,
        "far_model": far * wiggle,
    }
    return xr.Dataset(
        {name: (("lepton_energy", "z"), v / (v.sum() * area)) for name, v in values.items()}
        | {
            "lepton_energy_edges": ("lepton_energy_edge", edges),
            "z_edges": ("z_edge", z_edges),
        },
        coords={"lepton_energy": energy, "z": z},
    )


@pytest.fixture
def slices() -> xr.Dataset:
    """Slices that end at E_l = E."""
    chosen = np.array([0.8, 1.5, 2.5, 4.0, 8.0])
    energy, z = np.linspace(0.15, 9.95, 80), np.linspace(0.0125, 0.9875, 40)
    one, e, zz = np.meshgrid(chosen, energy, z, indexing="ij")
    truth = np.where(
        (e < one) & (zz < 1.0 - e / one * 0.3), e * (1.0 + one) * np.exp(-3.0 * zz), 0.0
    )
    model = truth * (1.0 + 0.02 * np.sin(4.0 * e + 3.0 * zz))
    dims = ("slice_energy", "lepton_energy", "z")
    return xr.Dataset(
        {"truth": (dims, truth), "model": (dims, model)},
        coords={"slice_energy": chosen, "lepton_energy": energy, "z": z},
    )


@pytest.fixture
def total() -> xr.Dataset:
    """Cross section that grows linearly above a threshold, under a falling flux."""
    energy = np.linspace(0.5, 20.0, 120)
    truth = 28.0 * energy * (1.0 - np.exp(-energy))
    flux = 3e-5 * np.exp(-(((energy - 2.5) / 1.3) ** 2)) + 1e-6
    probability = 1.0 - 0.99 * np.sin(1.267 * 2.5e-3 * 1300.0 / energy) ** 2
    model = truth * (1.0 + 0.01 * np.sin(energy))
    columns = {"truth": truth, "model": model, "flux": flux, "probability": probability}
    return xr.Dataset({k: ("energy", v) for k, v in columns.items()}, coords={"energy": energy})


@pytest.fixture
def functions() -> xr.Dataset:
    """Three functions, the first seen by the near detector far better than the others."""
    x = np.linspace(0.05, 1.0, 24) ** 3
    q2 = np.exp(np.linspace(np.log(0.1), np.log(37.0), 30)) - 0.09
    xx, qq = np.meshgrid(x, q2, indexing="ij")
    valence = xx**0.5 * (1.0 - xx) ** 3 * qq / (qq + 0.7)
    truth = np.stack([20.0 * valence, 18.0 * valence * (1.0 - xx), 9.0 * valence])
    share = np.array([1.0, 0.3, 0.05])[:, None, None]
    weight = share * np.exp(-((np.log(qq / 0.8)) ** 2)) * (1.0 - xx)
    unseen = qq > 2.0 * MASS * 20.0 * xx
    truth = np.where(unseen, np.nan, truth)
    model = truth * (1.0 + 0.1 * (1.0 - share) * np.sin(6.0 * xx + np.log(qq)))
    dims = ("function", "x", "q2")
    return xr.Dataset(
        {
            "truth": (dims, truth),
            "model": (dims, model),
            "weight": (dims, np.where(unseen, np.nan, weight)),
        },
        coords={"function": ["b0", "b1", "b2"], "x": x, "q2": q2},
    )


@pytest.fixture
def training() -> dict[str, np.ndarray]:
    """Curves that fall as powers of the step, with spikes in the loss."""
    step = np.arange(0, 2000, 10)
    loss = 1e-2 / (1.0 + step) ** 1.3
    loss[::17] *= 8.0
    return {
        "step": step,
        "loss": loss,
        "near_rel_l2": 0.3 / (1.0 + step) ** 0.7,
        "far_rel_l2": 0.4 / (1.0 + step) ** 0.5,
        "cross_section_3d_rel_l2": 0.5 / (1.0 + step) ** 0.4,
    }


def make_posterior(shift: float = 0.0, more: tuple[str, ...] = (), seed: int = 1) -> xr.DataTree:
    """Draws of an octant-degenerate posterior, with all groups that the report reads.

    Args:
        shift: of dm31 in standard deviations.
        more: further parameters, drawn as Gaussians.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    shape = (4, 500)
    octant = np.where(rng.uniform(size=shape) < 0.4, 1.0, -1.0)
    offset = np.abs(0.028 + 0.012 * rng.standard_normal(shape))
    s2 = 0.5 + octant * offset
    pull = 0.5 * (offset - 0.028) / 0.012 + np.sqrt(0.75) * rng.standard_normal(shape)
    draws = {
        "dm31": 2.513e-3 + 0.018e-3 * (pull + shift),
        "sin2_theta23": s2,
        "sin2_2theta23": 4.0 * s2 * (1.0 - s2),
        "octant_upper_probability": np.full(shape, 0.4) + 0.01 * rng.standard_normal(shape),
        "sin2_theta12": np.full(shape, 0.308),
    }
    others = {"sin2_theta13": (0.02215, 6e-4), "dm21": (7.49e-5, 1.9e-6), "dcp": (2.9, 0.6)}
    for name in more:
        mean, sd = others[name]
        value = mean + sd * rng.standard_normal(shape)
        draws[name] = (value + np.pi) % (2.0 * np.pi) - np.pi if name == "dcp" else value
    boot_s2 = np.clip(0.5 - 0.028 + 0.014 * rng.standard_normal(300), 0.4, 0.5)
    bootstrap = {
        "dm31": 2.513e-3 + 0.018e-3 * (rng.standard_normal(300) + shift),
        "sin2_theta23": boot_s2,
        "sin2_2theta23": 4.0 * boot_s2 * (1.0 - boot_s2),
    }
    edges = {"lepton_energy": np.linspace(0.1, 20.0, 51), "z": np.linspace(0.0, 1.0, 41)}
    observed, predicted = {}, {}
    for name, e in edges.items():
        center = 0.5 * (e[1:] + e[:-1]) / e[-1]
        mean = center**0.7 * np.exp(-9.0 * center)
        mean *= 6200.0 / mean.sum()
        bins = f"{name}_bin" if name == "lepton_energy" else "z_bin"
        observed[f"{name}_counts"] = (bins, rng.poisson(mean))
        counts = rng.poisson(mean, (4, 50, len(mean)))
        predicted[f"{name}_counts"] = (("chain", "draw", bins), counts)
    constants = {f"{k}_edges": (f"{k}_edge", v) for k, v in edges.items()}
    constants |= {f"true_{k}": ((), v) for k, v in TRUE_VALUES.items()}
    both = ("chain", "draw")
    tree = xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset(
                {k: (both, v) for k, v in draws.items()},
                coords={"chain": np.arange(shape[0]), "draw": np.arange(shape[1])},
            ),
            "sample_stats": xr.Dataset({"diverging": (both, rng.uniform(size=shape) < 2e-3)}),
            "observed_data": xr.Dataset(observed),
            "posterior_predictive": xr.Dataset(predicted),
            "constant_data": xr.Dataset(constants),
            "bootstrap": xr.Dataset({k: ("replica", v) for k, v in bootstrap.items()}),
        }
    )
    tree.attrs["source"] = "simulated"
    return tree


def make_summary(parameters: tuple[str, ...] = ("dm31", "sin2_theta23", "sin2_2theta23")) -> dict:
    """Numbers of a run under the stable keys of summary.json."""
    centers = {
        "dm31": (2.5142e-3, 1.83e-5),
        "sin2_theta23": (0.4871, 0.0304),
        "sin2_2theta23": (0.9957, 0.0031),
        "sin2_theta13": (0.0221, 0.0006),
        "sin2_theta12": (0.308, 0.012),
        "dm21": (7.49e-5, 1.9e-6),
        "dcp": (2.91, 0.61),
    }
    posterior: dict = {}
    for name in parameters:
        mean, sd = centers[name]
        posterior[name] = {
            "mean": mean,
            "sd": sd,
            "median": mean,
            "hdi68": [mean - sd, mean + sd],
            "hdi90": [mean - 1.6 * sd, mean + 1.6 * sd],
            "ess_bulk": 2310.0,
            "ess_tail": 1980.0,
            "r_hat": 1.0012,
            "mle": mean + 0.2 * sd,
            "bootstrap_sd": 1.05 * sd,
        }
    posterior |= {"octant_upper_probability": 0.431, "divergences": 0, "seconds": 7.31}
    shifts = {name: 0.0412 for name in parameters if name in ("dm31", "sin2_2theta23")}
    return {
        "near": {"rel_l2": 2.13e-4},
        "far": {"rel_l2": 4.4e-3},
        "cross_section_3d": {"rel_l2": 1.02e-2, "negative_fraction": 0.0},
        "asimov": {"shift_sigma": shifts},
        "truth": posterior,
        "learned": {k: dict(v) if isinstance(v, dict) else v for k, v in posterior.items()},
        "seconds": {"operator": 5.2, "train": 31.0, "sample": 14.2, "report": 6.1, "total": 60.9},
    }


def make_manifest() -> dict:
    """Facts about a run in the layout of manifest.json."""
    record = {"key": "0f3a" * 16, "seconds": 31.0, "finished": "2026-01-01T10:00:00+00:00"}
    return {
        "format": "bayesxs run",
        "schema": 1,
        "created": "2026-01-01T09:59:00+00:00",
        "package": "0.1.0",
        "python": "3.12.4",
        "platform": "Linux-x86_64",
        "libraries": {"jax": "0.12.0", "numpyro": "0.22.0", "arviz": "1.3.0"},
        "device": "cpu x 4",
        "seeds": {"run": 0},
        "stages": {"train": {**record, "outputs": {}}, "sample": {**record, "outputs": {}}},
    }


def make_budget(modes: int = 3) -> dict:
    """Budget in which systematics add to statistics in quadrature.

    Args:
        modes: how many nuisances the cross section and the flux have each.
    """
    groups = {
        "statistics": ("statistics", 0.0, 0.0),
        "cross_section": ("learned cross section", 0.62e-5, 0.9e-3),
        "flux": ("flux shape", 0.41e-5, 0.3e-3),
        "response": ("detector response", 1.10e-5, 0.7e-3),
        "all": ("everything", 1.33e-5, 1.19e-3),
    }
    centers = {"dm31": (2.514e-3, 1.83e-5), "sin2_2theta23": (0.9957, 3.1e-3)}
    rows = []
    for number, (name, (label, *added)) in enumerate(groups.items()):
        row: dict = {"name": name, "label": label, "divergences": 0, "ess_bulk": 1850.0 + number}
        for (parameter, (mean, sd)), extra in zip(centers.items(), added, strict=True):
            row[parameter] = {
                "mean": mean,
                "sd": float(np.hypot(sd, extra)),
                "contribution": extra or sd,
                "shift": 0.03 * number * (-1) ** number,
            }
        rows.append(row | {"seconds": 14.2})
    names = [(f"flux_{k}", "flux", f"flux mode {k + 1}") for k in range(modes)]
    names += [(f"eta_{k}", "cross_section", f"cross-section mode {k + 1}") for k in range(modes)]
    names += [
        ("energy_scale", "response", "energy scale"),
        ("angular_resolution", "response", "angular resolution"),
    ]
    rng = np.random.default_rng(7)
    nuisances = [
        {
            "name": name,
            "group": group,
            "label": label,
            "mean": float(0.3 * rng.standard_normal()),
            "sd": float(rng.uniform(0.4, 1.0)),
            "correlation": {
                "dm31": float(0.2 * rng.standard_normal()),
                "sin2_2theta23": float(0.1 * rng.standard_normal()),
            },
        }
        for name, group, label in names
    ]
    return {"rows": rows, "nuisances": nuisances}


@pytest.fixture
def budget() -> dict:
    """Budget with three groups of systematics."""
    return make_budget()


@pytest.fixture
def long_budget() -> dict:
    """Budget with forty nuisances."""
    return make_budget(19)


@pytest.fixture
def spectrum() -> tuple[np.ndarray, np.ndarray]:
    """Lepton energies and a far density over them that has died out before the last."""
    energy = np.linspace(0.1, 20.0, 150)
    density = energy**1.5 * np.exp(-energy / 1.2)
    return energy, density / density.sum()


@pytest.fixture
def sources(spectrum) -> xr.Dataset:
    """Three sources that agree, bands a tenth of the statistical error."""
    energy, density = spectrum
    mean = np.stack([1.0 + 0.003 * np.sin(energy + i) for i in range(3)])
    half = 0.004 + 0.001 * np.arange(3)[:, None] + 0.0 * energy
    both = ("source", "lepton_energy")
    return xr.Dataset(
        {
            "mean": (both, mean),
            "low": (both, mean - half),
            "high": (both, mean + half),
            "weight": ("lepton_energy", density),
            "statistical": ("lepton_energy", 0.05 + 0.01 * energy),
        },
        coords={"source": ["ensemble", "gaussian_process", "laplace"], "lepton_energy": energy},
    )


@pytest.fixture
def cancellation(spectrum) -> xr.Dataset:
    """Flux uncertainty that falls from stage to stage, and grows where there are no events."""
    energy, density = spectrum
    sd = np.stack([level * (1.0 + 1e-3 * energy**3) for level in (0.05, 0.012)])
    return xr.Dataset(
        {"sd": (("stage", "lepton_energy"), sd), "weight": ("lepton_energy", density)},
        coords={"stage": ["prior", "response"], "lepton_energy": energy},
    )


@pytest.fixture
def truth() -> xr.DataTree:
    """Posterior of two parameters with the true cross section."""
    return make_posterior()


@pytest.fixture
def learned() -> xr.DataTree:
    """The same with another cross section, dm31 shifted."""
    return make_posterior(0.3, seed=2)


@pytest.fixture
def assumed() -> xr.DataTree:
    """The same with a wrong cross section: dm31 far off."""
    return make_posterior(4.0, seed=4)


@pytest.fixture
def several() -> tuple[xr.DataTree, xr.DataTree]:
    """Posteriors of five parameters, one of them on a circle."""
    more = ("sin2_theta13", "dcp", "dm21")
    return make_posterior(0.0, more), make_posterior(0.3, more, seed=3)


@pytest.fixture
def summary() -> dict:
    """Summary of a run with two free parameters."""
    return make_summary()


@pytest.fixture
def summary_of_all() -> dict:
    """Summary of a run that frees every parameter."""
    names = ("sin2_theta12", "sin2_theta13", "sin2_theta23", "sin2_2theta23", "dcp", "dm21", "dm31")
    return make_summary(names)


@pytest.fixture
def manifest() -> dict:
    """Manifest of a run."""
    return make_manifest()


@pytest.fixture
def true_values() -> dict[str, float]:
    """Parameters that the events were made with."""
    return dict(TRUE_VALUES)
