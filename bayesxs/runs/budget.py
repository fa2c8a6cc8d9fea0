"""The budget of uncertainties: statistics alone, each systematic alone, all together."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from bayesxs.cards.card import Card
from bayesxs.errors import InputError
from bayesxs.experiment.channels import NEGLIGIBLE, Channels
from bayesxs.experiment.experiment import Experiment
from bayesxs.experiment.predictive import along
from bayesxs.inference.channel import FarChannel
from bayesxs.inference.folded import Folded
from bayesxs.inference.nuisances import GROUPS
from bayesxs.inference.posterior import posterior_tree, summarize
from bayesxs.inference.sampling import NutsSampler, joined
from bayesxs.inference.thinning import thinned_channels
from bayesxs.keys import Purpose, derive
from bayesxs.learning.near_term import NearTerm
from bayesxs.progress import Reporter
from bayesxs.report.budget import LABELS, PARAMETERS, STATISTICS, TOTAL, TWO_STEPS
from bayesxs.runs.files import BANDS, BUDGET
from bayesxs.runs.joint import fitted_nuisances
from bayesxs.runs.settings import RunSettings
from bayesxs.runs.stages import far_sampler, sample_far
from bayesxs.storage.atomic import write_csv, write_json
from bayesxs.storage.netcdf import write_netcdf
from bayesxs.storage.run_folder import Stage
from bayesxs.types import Floats as Float


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
    channels: Channels, settings: RunSettings, stage: Stage, reporter: Reporter
) -> None:
    """Sample Asimov data with no nuisances, each group alone, and all; tabulate what they cost."""
    experiment, sampling = channels.experiment, _Sampling(channels, settings, stage, reporter)
    present = [g for g in GROUPS if channels.chosen((g,))]
    sets: dict[str, tuple[str, ...]] = {STATISTICS: ()} | {g: (g,) for g in present}
    if len(present) > 1:
        if channels.near_terms():
            sets[TWO_STEPS] = tuple(present)
        sets[TOTAL] = tuple(present)
    reference = sampling.run(channels.reference, "truth", ())
    trees, results = {}, {}
    for name, groups in sets.items():
        trees[name], results[name] = sampling.run("learned", name, groups)
    budget = _tabulate(results, reference[1])
    last = list(sets)[-1]
    other = trees[TWO_STEPS]["posterior"].dataset if TWO_STEPS in trees else None
    budget["nuisances"] = fitted_nuisances(
        trees[last]["posterior"].dataset, channels, sets[last], other
    )
    write_json(stage.output(BUDGET), budget)
    sampled = [p for p in PARAMETERS if p in budget["rows"][0]]
    columns = ["name", *(f"{p}_{k}" for p in sampled for k in ("sd", "contribution", "shift"))]
    rows = [
        [row["name"], *(row[p][k] for p in sampled for k in ("sd", "contribution", "shift"))]
        for row in budget["rows"]
    ]
    write_csv(
        stage.output("budget.csv"),
        {name: [row[i] for row in rows] for i, name in enumerate(columns)},
    )
    bands = {}
    for number, sample in enumerate(experiment.samples):
        spectrum = FarSpectrum(experiment, channels, number)
        place = f"{sample.name}/" if len(experiment.samples) > 1 else ""
        bands[f"{place}spectrum"] = spectrum.band()
        if "flux" in present:
            bands[f"{place}flux"] = _cancellation(spectrum, channels)
    write_netcdf(stage.output(BANDS), xr.DataTree.from_dict(bands))


@dataclass(frozen=True)
class _Sampling:
    """Channels, settings and places that all rows of a budget share."""

    channels: Channels
    settings: RunSettings
    stage: Stage
    reporter: Reporter

    @cached_property
    def plain(self) -> NutsSampler:
        """Sampler of all data that have no nuisances."""
        data = self.channels.of_asimov(self.channels.reference, ())
        return far_sampler(self.channels.experiment, self.settings, data)

    def run(
        self, kind: str, name: str, groups: tuple[str, ...]
    ) -> tuple[xr.DataTree, dict[str, Any]]:
        """Sample Asimov data with some groups of nuisances; return the draws and their summary."""
        clock = time.perf_counter()
        experiment, settings = self.channels.experiment, self.settings
        data = self.channels.of_asimov(kind, groups)
        key = derive(settings.seed, Purpose.BUDGET)
        with self.reporter.bar(f"budget, {name}", settings.sampler.steps) as update:
            few = thinned_channels(data, experiment.priors, experiment.parameters)
            near = self.channels.near_terms(kind, groups)
            if name == TWO_STEPS:
                near = tuple(term.blind() for term in near)
            sampler = self._sampler(few, near)
            pieces = sample_far(sampler, few, key, self.stage, name, update, near)
        names = [n.name for n in self.channels.chosen(groups)] if kind == "learned" else []
        tree = posterior_tree(
            joined(pieces.draws()),
            derive(settings.seed, Purpose.OCTANT, 2),
            names,
            first_chain=settings.sampler.first_chain,
            priors=experiment.priors,
        )
        return tree, summarize(tree) | {"seconds": round(time.perf_counter() - clock, 3)}

    def _sampler(self, data: list[FarChannel], near: tuple[NearTerm, ...]) -> NutsSampler:
        if not data[0].nuisances:
            return self.plain
        return far_sampler(self.channels.experiment, self.settings, data, near)


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
            alone = results[STATISTICS][parameter]["sd"]
            excess = sd if name == STATISTICS else np.sqrt(max(sd**2 - alone**2, 0.0))
            moved = _apart(parameter, result[parameter]["mean"], reference[parameter]["mean"])
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


def _apart(parameter: str, values: Any, center: float) -> Any:
    """Return values less a center; of an angle the shorter way around."""
    apart = values - center
    return np.angle(np.exp(1j * apart)) if parameter == "dcp" else apart


class FarSpectrum:
    """The expected far spectrum of a sample in lepton energy, true and learned."""

    def __init__(self, experiment: Experiment, channels: Channels, number: int = 0) -> None:
        """Sum the true spectrum of the sample of that number."""
        self.experiment = experiment
        self.number = number
        self.sample = experiment.samples[number]
        self.geometry = experiment.geometry(experiment.targets[self.sample])
        self.oscillation = experiment.oscillation(self.sample, experiment.energies.points)
        self.edges, self._centers, self._areas = self.geometry.seen_rows(0)
        rows = channels.rows_as_seen(channels.reference, self.sample)
        truth = self.along(rows)[0] @ self.oscillation
        self.share = truth / truth.sum()
        self._channels = channels
        self.kept = self.share > NEGLIGIBLE

    @cached_property
    def folded(self) -> Folded:
        """The learned cross section and its nuisances."""
        return self._channels.rows_as_seen("learned", self.sample)

    def along(self, folded: Folded) -> Float:
        """Sum rows and modes to bins of lepton energy, shape (1 + modes, bins, E)."""
        return along(folded, self._centers, self._areas, self.edges)

    def coordinates(self) -> dict[str, Float]:
        """Return the lepton energies of the bins that are worth showing."""
        return {"lepton_energy": 0.5 * (self.edges[1:] + self.edges[:-1])[self.kept]}

    def ratio(self, values: Float) -> Float:
        """Return the normalised spectrum of values on the nodes over the true one, (bins,)."""
        response = self.geometry.seen.of_values(values, clamp=True)
        flux = self.experiment.source_flux(self.sample)
        folded = Folded(response, [], flux, np.zeros((0, len(flux))), ())
        return self._to_truth(self.along(folded)[0] @ self.oscillation)

    def _to_truth(self, spectrum: Float) -> Float:
        one = np.ones_like(self.share)
        return np.divide(spectrum / spectrum.sum(), self.share, out=one, where=self.share > 0.0)

    def band(self) -> xr.Dataset:
        """Return the learned far spectrum over the true one, with the 68 % band of its modes."""
        parts = self.along(self.folded) @ self.oscillation
        nominal, kept, share = parts[0], self.kept, self.share
        own = ("cross_section", "lepton_ratio")
        chosen = [i for i, n in enumerate(self._channels.nuisances, 1) if n.group in own]
        sd = np.sqrt(np.sum(_relative(nominal, parts[chosen]) ** 2, axis=0))
        ratio = self._to_truth(nominal)
        events = float(np.sum(self._channels.events["sample"].values == self.number))
        band = xr.Dataset(
            {
                "mean": (("source", "lepton_energy"), ratio[None, kept]),
                "low": (("source", "lepton_energy"), (ratio * (1.0 - sd))[None, kept]),
                "high": (("source", "lepton_energy"), (ratio * (1.0 + sd))[None, kept]),
                "weight": ("lepton_energy", share[kept]),
            },
            {"source": [self._channels.cross_section.source]} | self.coordinates(),
            {"reference": self._channels.reference},
        )
        if events > 0.0:
            band["statistical"] = ("lepton_energy", 1.0 / np.sqrt(events * share[kept]))
        return band


def _relative(nominal: Float, changes: Float) -> Float:
    """Return relative changes of the normalised spectrum, shape (changes, bins)."""
    total = nominal.sum()
    return np.reshape([c / nominal - c.sum() / total for c in changes], (-1, len(nominal)))


def _cancellation(spectrum: FarSpectrum, channels: Channels) -> xr.Dataset:
    """Return relative errors of the far spectrum from the flux shape, before the fit.

    With the cross section held fixed, and relearned.
    """
    experiment = spectrum.experiment
    learned, flux_modes = channels.learned, channels.flux_modes
    own, seen = learned[experiment.targets[spectrum.sample].name], spectrum.geometry.seen
    folded = spectrum.folded._replace(
        response=seen.of_values(own.mean, clamp=True),
        modes=seen.of_many(own.flux),
        flux=experiment.source_flux(spectrum.sample),
    )
    parts = spectrum.along(folded)
    nominal = parts[0] @ spectrum.oscillation
    direct = np.stack([parts[0] @ (mode * spectrum.oscillation) for mode in flux_modes])
    fixed = _relative(nominal, direct)
    followed = fixed
    if len(own.flux):
        followed = fixed + _relative(nominal, parts[1:] @ spectrum.oscillation)
    stages = {
        "prior": np.sum(fixed**2, axis=0),
        "response": np.sum(followed**2, axis=0),
    }
    kept = spectrum.kept
    sd = np.sqrt(np.stack([variance[kept] for variance in stages.values()]))
    return xr.Dataset(
        {
            "sd": (("stage", "lepton_energy"), sd),
            "weight": ("lepton_energy", spectrum.share[kept]),
        },
        {"stage": list(stages)} | spectrum.coordinates(),
    )
