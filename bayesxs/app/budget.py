"""The budget of uncertainties: statistics alone, each systematic alone, all together."""

from __future__ import annotations

import time
from typing import Any, Final

import numpy as np
import xarray as xr

from bayesxs.app.channels import GROUPS, Channels
from bayesxs.app.experiment import Experiment
from bayesxs.app.netcdf import write_netcdf
from bayesxs.app.predictive import along
from bayesxs.app.progress import Reporter
from bayesxs.app.seeds import BUDGET_KEY, OCTANT_KEY, stage_key
from bayesxs.app.stages import far_sampler
from bayesxs.app.uncertainty import read_learned
from bayesxs.atomic import write_csv, write_json
from bayesxs.config import Card
from bayesxs.detector.grid import Float
from bayesxs.errors import InputError
from bayesxs.inference.posterior import posterior_tree, summarize
from bayesxs.inference.sampling import SamplerSettings
from bayesxs.store import RunFolder, Stage

BUDGET, BANDS = "budget.json", "budget.nc"

PARAMETERS: Final = ("dm31", "sin2_2theta23")

LABELS: Final = {
    "statistics": "statistics",
    "cross_section": "cross section",
    "flux": "flux shape",
    "response": "detector response",
    "all": "all together",
}


def require_systematics(card: Card, source: str) -> None:
    """Refuse a card whose budget would be statistics only.

    Raises:
        InputError: no systematic is switched on.
    """
    sections = (card.uncertainty, card.flux_shape, card.response)
    if all(section.type == "none" for section in sections):
        allowed = "a budget needs systematics: switch on uncertainty, flux_shape or response"
        raise InputError.at(source, "uncertainty.type", '"none"', allowed)


def budget_stage(
    experiment: Experiment, folder: RunFolder, channels: Channels, stage: Stage, reporter: Reporter
) -> None:
    """Sample Asimov data with no nuisances, each group alone, and all; tabulate what they cost."""
    present = [g for g in GROUPS if channels.chosen((g,))]
    sets: dict[str, tuple[str, ...]] = {"statistics": ()} | {g: (g,) for g in present}
    if len(present) > 1:
        sets["all"] = tuple(present)
    reference = _sample(experiment, channels, stage, reporter, "truth", "truth", ())
    trees, results = {}, {}
    for name, groups in sets.items():
        trees[name], results[name] = _sample(
            experiment, channels, stage, reporter, "learned", name, groups
        )
    budget = _tabulate(results, reference[1])
    last = list(sets)[-1]
    budget["nuisances"] = _nuisances(trees[last], channels, sets[last])
    write_json(stage.output(BUDGET), budget)
    columns = ["name", *(f"{p}_{k}" for p in PARAMETERS for k in ("sd", "contribution", "shift"))]
    rows = [
        [row["name"], *(row[p][k] for p in PARAMETERS for k in ("sd", "contribution", "shift"))]
        for row in budget["rows"]
    ]
    write_csv(
        stage.output("budget.csv"),
        {name: [row[i] for row in rows] for i, name in enumerate(columns)},
    )
    write_netcdf(stage.output(BANDS), _bands(experiment, folder, channels))


def _sample(
    experiment: Experiment,
    channels: Channels,
    stage: Stage,
    reporter: Reporter,
    kind: str,
    name: str,
    groups: tuple[str, ...],
) -> tuple[xr.DataTree, dict[str, Any]]:
    """Sample Asimov data with some groups of nuisances; return the draws and their summary."""
    card = experiment.card
    settings = SamplerSettings(
        card.sampler.chains, card.sampler.warmup, card.sampler.draws, card.sampler.target_accept
    )
    clock = time.perf_counter()
    kept = stage.load_checkpoint(name)
    with reporter.bar(f"budget, {name}", settings.warmup + settings.draws) as update:

        def record(done: int, state: dict[str, np.ndarray]) -> None:
            stage.save_checkpoint(state, label=name)
            update(done)

        data = channels.of_asimov(kind, groups)
        draws = far_sampler(experiment, settings, data).run(
            (data,),
            stage_key(experiment.seed, BUDGET_KEY),
            resume=None if kept is None else kept[0],
            record=record,
        )
    names = [n.name for n in channels.chosen(groups)] if kind == "learned" else []
    tree = posterior_tree(draws, stage_key(experiment.seed, OCTANT_KEY, 2), names)
    return tree, summarize(tree) | {"seconds": round(time.perf_counter() - clock, 3)}


def _tabulate(results: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    """Subtract statistics in quadrature; measure shifts against the true cross section.

    A contribution is sqrt(sd^2 - sd_statistics^2); the shift is that of the mean in units of the
    last row's sd, the total.
    """
    last = list(results)[-1]
    rows = []
    for name, result in results.items():
        row: dict[str, Any] = {"name": name, "label": LABELS[name]}
        for parameter in PARAMETERS:
            if parameter not in result:
                continue
            sd = result[parameter]["sd"]
            alone = results["statistics"][parameter]["sd"]
            excess = sd if name == "statistics" else np.sqrt(max(sd**2 - alone**2, 0.0))
            moved = result[parameter]["mean"] - reference[parameter]["mean"]
            row[parameter] = {
                "sd": sd,
                "mean": result[parameter]["mean"],
                "contribution": float(excess),
                "shift": moved / results[last][parameter]["sd"],
            }
        row["divergences"] = result["divergences"]
        row["ess_bulk"] = min(result[p]["ess_bulk"] for p in PARAMETERS if p in result)
        row["seconds"] = result["seconds"]
        rows.append(row)
    return {"rows": rows}


def _nuisances(
    tree: xr.DataTree, channels: Channels, groups: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Return pull, constraint and correlations of every nuisance after the fit."""
    posterior = tree["posterior"].dataset
    values = posterior["nuisance"].transpose("chain", "draw", ...).values
    values = values.reshape(-1, values.shape[-1])
    out = []
    for nuisance, column in zip(channels.chosen(groups), values.T, strict=True):
        correlation = {
            p: float(np.corrcoef(column, posterior[p].values.ravel())[0, 1])
            for p in PARAMETERS
            if p in posterior
        }
        out.append(
            {
                "name": nuisance.name,
                "group": nuisance.group,
                "label": nuisance.name.replace("_", " "),
                "mean": float(column.mean()),
                "sd": float(column.std(ddof=1)),
                "correlation": correlation,
            }
        )
    return out


def _bands(experiment: Experiment, folder: RunFolder, channels: Channels) -> xr.DataTree:
    """Return the far lepton-energy spectrum of the first sample: its errors before the fit.

    Group spectrum: learned over true, with the 68 % band of the cross-section modes. Group flux:
    relative errors from the flux shape with the cross section held fixed, relearned, and with the
    flux constrained by the near detector too.
    """
    sample = experiment.samples[0]
    geometry = experiment.geometry(experiment.targets[sample])
    oscillation = experiment.oscillation(sample, experiment.energies.points)
    edges, centers, areas = geometry.seen_rows(0)
    truth = along(channels.rows_as_seen("truth", sample), centers, areas, edges)[0] @ oscillation
    folded = channels.rows_as_seen("learned", sample)
    parts = along(folded, centers, areas, edges)
    nominal = parts[0] @ oscillation
    names = [n.name for n in channels.nuisances]

    def relative(change: Float) -> Float:
        """Change of the normalised spectrum, over the spectrum."""
        return change / nominal - change.sum() / nominal.sum()

    cross_section = [
        relative(parts[1 + i] @ oscillation)
        for i, n in enumerate(channels.nuisances)
        if n.group == "cross_section"
    ]
    sd = np.sqrt(np.sum(np.square(cross_section), axis=0)) if cross_section else 0.0 * nominal
    ratio = (nominal / nominal.sum()) / (truth / truth.sum())
    share = truth / truth.sum()
    events = float(len(channels.events.event))
    middle = 0.5 * (edges[1:] + edges[:-1])
    kept = share > 1e-4
    spectrum = xr.Dataset(
        {
            "mean": (("source", "lepton_energy"), ratio[None, kept]),
            "low": (("source", "lepton_energy"), (ratio * (1.0 - sd))[None, kept]),
            "high": (("source", "lepton_energy"), (ratio * (1.0 + sd))[None, kept]),
            "weight": ("lepton_energy", share[kept]),
            "statistical": ("lepton_energy", 1.0 / np.sqrt(events * share[kept])),
        },
        {"source": [experiment.card.uncertainty.type], "lepton_energy": middle[kept]},
    )
    tree = {"spectrum": spectrum}
    if "flux_0" in names:
        shape = read_learned(experiment, folder, near_constraint=False)
        plain = Channels(experiment, folder, *shape).rows_as_seen("learned", sample)
        unrotated = along(plain, centers, areas, edges)
        first = names.index("flux_0")
        modes = shape[1].modes
        fixed = np.stack([relative(unrotated[0] @ (m * oscillation)) for m in modes])
        followed = fixed + np.stack(
            [relative(unrotated[1 + first + j] @ oscillation) for j in range(len(modes))]
        )
        stages = {
            "prior": np.sqrt(np.sum(fixed**2, axis=0)),
            "response": np.sqrt(np.sum(followed**2, axis=0)),
            "constrained": np.sqrt(
                np.einsum("jb,jk,kb->b", followed, shape[1].covariance, followed)
            ),
        }
        tree["flux"] = xr.Dataset(
            {
                "sd": (("stage", "lepton_energy"), np.stack([s[kept] for s in stages.values()])),
                "weight": ("lepton_energy", share[kept]),
            },
            {"stage": list(stages), "lepton_energy": middle[kept]},
        )
    return xr.DataTree.from_dict(tree)
