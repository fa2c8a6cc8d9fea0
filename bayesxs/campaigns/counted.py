"""Campaigns of cards of samples, over orderings and octants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from math import pi
from typing import Any, Final

import numpy as np
import xarray as xr
from scipy import stats

from bayesxs.campaigns.coverage import coverage_rows, coverage_table, points_of
from bayesxs.campaigns.kind import (
    POINT_STRIDE,
    Figures,
    Planned,
    Stored,
    batches,
    joined,
    piece_of,
)
from bayesxs.campaigns.sbc import pits_of, rank_table, ranks_of
from bayesxs.cards.build_counted import build_likelihood, build_modes, build_truth
from bayesxs.cards.counted import CountedCard
from bayesxs.cards.counted_campaign import (
    ModeSbcCampaign,
    PhaseCoverageCampaign,
    StatisticCampaign,
)
from bayesxs.detector.samples import CountedSamples
from bayesxs.engine.results import Task
from bayesxs.inference.calibration import rank_statistics
from bayesxs.inference.counted import CountedLikelihood
from bayesxs.inference.cp_statistic import CONSERVED, StatisticExperiment
from bayesxs.inference.mode_experiments import (
    CalibrationExperiment,
    ModeExperiment,
    PhaseExperiment,
)
from bayesxs.inference.nuisances import Nuisance
from bayesxs.inference.probability_calibration import Probabilities, probabilities
from bayesxs.inference.sampling import SamplerSettings
from bayesxs.keys import Purpose, derive, generator
from bayesxs.report.calibration import verdict
from bayesxs.report.campaigns import coverage_verdict
from bayesxs.report.modes_calibration import probability_verdict, statistic_verdict
from bayesxs.report.plots_calibration import coverage_figure, ecdf_figure, rank_histogram_figure
from bayesxs.report.plots_probabilities import probability_figure, statistic_figure
from bayesxs.storage.run_folder import Stage

LEVELS: Final = (0.68, 0.9)
_HDI: Final = ("hdi",)
# Of critical values: one, two and three standard deviations, and percentages that are in use
_CRITICAL: Final = (*stats.chi2.cdf((1.0, 4.0, 9.0), 1).tolist(), 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class CountedKind[Plan: ModeSbcCampaign | PhaseCoverageCampaign | StatisticCampaign](Planned):
    """One campaign of a card of samples.

    Attributes:
        card: the analysis.
        plan: its section `campaign`.
        samples: that are fitted; None to draw what was collected.
    """

    card: CountedCard
    plan: Plan
    samples: CountedSamples | None

    @cached_property
    def _likelihood(self) -> tuple[CountedLikelihood, float]:
        assert self.samples is not None
        density = build_truth(self.card, self.samples)[1]
        return build_likelihood(self.card, self.samples), density

    @property
    def nuisances(self) -> tuple[Nuisance, ...]:
        """The nuisances."""
        return tuple(self._likelihood[0].nuisances)

    def _experiment(self, settings: SamplerSettings, thin: int) -> ModeExperiment:
        likelihood, density = self._likelihood
        posterior = build_modes(self.card, likelihood, density)
        return ModeExperiment(posterior, settings, self.plan.batch, thin, self.card.seed)

    def _sampled(self) -> ModeExperiment:
        plan = self.plan
        assert not isinstance(plan, StatisticCampaign)
        settings = SamplerSettings(
            *(plan.together, plan.warmup, plan.draws, plan.target_accept),
            record_every=piece_of(plan.warmup, plan.draws),
            tree_depth=plan.tree_depth,
        )
        return self._experiment(settings, plan.thin)


class ModeSbc(CountedKind[ModeSbcCampaign]):
    """Simulation-based calibration over orderings and octants."""

    function = staticmethod(CalibrationExperiment.run)

    def tasks(self, key: str) -> list[Task]:
        """Cut the campaign into batches."""
        return batches(self.plan, key, self.plan.experiments)

    def shared(self) -> CalibrationExperiment:
        """Return the experiment."""
        return CalibrationExperiment(self._sampled())

    def assemble(self, stored: Stored, stage: Stage) -> xr.Dataset:
        """Collect truths, ranks and probabilities.

        Variables by experiment: truth_NAME and rank_NAME, that of dcp counted from the direction
        opposite to the best fit; normal and upper, probabilities of the ordering and the octant,
        and truth_ordering, truth_upper; error, of the log evidence; modes, how many were sampled;
        diverging, n_steps. The nuisances have a second dimension.
        """
        arrays, numbers = joined(stored, self.plan.experiments, self.plan.batch)
        rng = generator(derive(self.card.seed, Purpose.RANKS, 0))
        out: dict[str, Any] = {}
        for name in (n.removeprefix("draws/") for n in arrays if n.startswith("draws/")):
            truth, draws = arrays[f"truth/{name}"], arrays[f"draws/{name}"]
            out[f"truth_{name}"] = "experiment", truth
            out[f"rank_{name}"] = "experiment", rank_statistics(draws, truth, 1, rng)
        for name in ("truth/ordering", "truth/upper"):
            out[name.replace("/", "_")] = "experiment", arrays[name]
        for name in ("normal", "upper", "error", "modes", "diverging", "n_steps"):
            out[name] = "experiment", arrays[name]
        coordinates: dict[str, Any] = {"experiment": numbers}
        if arrays["below/nuisance"].shape[1]:
            out["rank_nuisance"] = ("experiment", "nuisance"), arrays["below/nuisance"].astype(int)
            coordinates["nuisance"] = [n.name for n in self.nuisances]
            coordinates["group"] = "nuisance", [n.group for n in self.nuisances]
        kept = self.plan.draws // self.plan.thin
        return xr.Dataset(out, coordinates, {"kind": self.plan.kind, "draws_kept": kept})

    def _pits(self, data: xr.Dataset) -> dict[str, np.ndarray]:
        """Return numbers that are uniform where posteriors and probabilities are calibrated."""
        rng = generator(derive(self.card.seed, Purpose.RANKS, 2))
        pits = pits_of(data, self.card.seed)
        return pits | {name: found.pit(rng) for name, found in _probabilities(data).items()}

    def tabulate(self, data: xr.Dataset) -> dict[str, Any]:
        """Judge the ranks of every parameter, and the probabilities of ordering and octant."""
        table, judged = rank_table(data, self.plan, self._pits(data))
        chances = {name: found.judged() for name, found in _probabilities(data).items()}
        return table | {
            "probabilities": chances,
            "verdict": f"{verdict(judged)} {probability_verdict(chances)}",
        }

    def figures(self, data: xr.Dataset, summary: Mapping[str, Any]) -> Figures:
        """Draw ranks, nuisances by group, and predicted against found probabilities."""
        groups = {}
        if "group" in data.coords:
            groups = dict(zip(data["nuisance"].values, data["group"].values, strict=True))
        alone = {n: ranks for n, ranks in ranks_of(data).items() if n not in groups}
        return {
            "ecdf": partial(ecdf_figure, self._pits(data), groups=groups),
            "ranks": partial(rank_histogram_figure, alone, int(data.attrs["draws_kept"])),
            "probabilities": partial(probability_figure, summary["probabilities"]),
        }


class PhaseCoverage(CountedKind[PhaseCoverageCampaign]):
    """Coverage of the highest-density interval of dCP on the circle."""

    function = staticmethod(PhaseExperiment.run)

    def tasks(self, key: str) -> list[Task]:
        """Cut every point into batches."""
        return batches(self.plan, key, self.plan.experiments, len(self.plan.dcp_deg))

    def shared(self) -> PhaseExperiment:
        """Return the experiment and the true phases."""
        phases = tuple(value * pi / 180.0 for value in self.plan.dcp_deg)
        return PhaseExperiment(self._sampled(), phases, LEVELS)

    def assemble(self, stored: Stored, stage: Stage) -> xr.Dataset:
        """Collect the intervals: ends_dcp over (interval, trial, level, side), and by trial."""
        arrays, numbers = joined(stored, self.plan.experiments, self.plan.batch)
        out: dict[str, Any] = {
            "point": ("trial", numbers // POINT_STRIDE),
            "ends_dcp": (
                ("interval", "trial", "level", "side"),
                arrays["interval/hdi/dcp"][None],
            ),
        }
        for name in ("truth/dcp", "estimate/dcp", "sd/dcp", "diverging", "n_steps"):
            out[name.replace("/", "_")] = "trial", arrays[name]
        coordinates = {"interval": list(_HDI), "level": list(LEVELS), "side": ["low", "high"]}
        return xr.Dataset(out, coordinates, {"kind": self.plan.kind})

    def tabulate(self, data: xr.Dataset) -> dict[str, Any]:
        """Count how often intervals hold the truth, and how long they are."""
        rows = coverage_rows(data, _HDI, LEVELS, ("dcp",))
        counts = np.bincount(data["point"].values)
        return {
            "experiments": int(counts[counts > 0].min()),
            "points": len(points_of(data)),
            "draws": self.plan.draws,
            "divergences": int(data["diverging"].sum()),
            "intervals": rows,
            "verdict": coverage_verdict(rows),
        }

    def figures(self, data: xr.Dataset, summary: Mapping[str, Any]) -> Figures:
        """Draw coverage and lengths."""
        table = coverage_table("dcp", summary["intervals"]["dcp"], _HDI)
        return {"coverage_dcp": partial(coverage_figure, table)}


class Statistic(CountedKind[StatisticCampaign]):
    """Distribution of the statistic of CP violation where CP is conserved."""

    function = staticmethod(StatisticExperiment.run)

    def tasks(self, key: str) -> list[Task]:
        """Cut both phases into batches."""
        return batches(self.plan, key, self.plan.experiments, len(CONSERVED))

    def shared(self) -> StatisticExperiment:
        """Return the experiment."""
        return StatisticExperiment(self._experiment(SamplerSettings(), 1))

    def assemble(self, stored: Stored, stage: Stage) -> xr.Dataset:
        """Collect q, the phase of the best fit, estimate, and true_dcp, over trial."""
        arrays, numbers = joined(stored, self.plan.experiments, self.plan.batch)
        columns = {name: ("trial", arrays[name]) for name in ("q", "estimate")}
        truth = np.array(CONSERVED)[numbers // POINT_STRIDE]
        return xr.Dataset(columns | {"true_dcp": ("trial", truth)}, attrs={"kind": self.plan.kind})

    def tabulate(self, data: xr.Dataset) -> dict[str, Any]:
        """Compare the statistic with chi2 of one degree of freedom at each phase."""
        found: dict[str, dict[str, Any]] = {}
        for truth in np.unique(data["true_dcp"].values):
            q = data["q"].values[data["true_dcp"].values == truth]
            rows = [
                critical_value(q, level)
                for level in sorted(_CRITICAL)
                if len(q) * (1.0 - level) >= 1.0
            ]
            found["pi" if truth else "0"] = {
                "experiments": len(q),
                "mean": float(q.mean()),
                "mean_error": float(q.std(ddof=1) / np.sqrt(len(q))),
                "p_value": float(stats.kstest(q, stats.chi2(1).cdf).pvalue),
                "critical": rows,
            }
        return {
            "experiments": min(entry["experiments"] for entry in found.values()),
            "points": len(found),
            "statistic": found,
            "verdict": statistic_verdict(found),
        }

    def figures(self, data: xr.Dataset, summary: Mapping[str, Any]) -> Figures:
        """Draw the part of the statistics above each value, beside that of chi2."""
        by_phase = {
            "pi" if truth else "0": data["q"].values[data["true_dcp"].values == truth]
            for truth in np.unique(data["true_dcp"].values)
        }
        return {"statistic": partial(statistic_figure, by_phase)}


def counted_kind(card: CountedCard, samples: CountedSamples | None = None) -> CountedKind[Any]:
    """Return the campaign that a card of samples plans.

    Args:
        card: the analysis.
        samples: that are fitted; may be left out where it draws what was collected.

    Raises:
        ValueError: none.
    """
    plan = card.campaign
    if isinstance(plan, ModeSbcCampaign):
        return ModeSbc(card, plan, samples)
    if isinstance(plan, PhaseCoverageCampaign):
        return PhaseCoverage(card, plan, samples)
    if isinstance(plan, StatisticCampaign):
        return Statistic(card, plan, samples)
    raise ValueError("a card without a campaign")


def critical_value(q: np.ndarray, level: float) -> dict[str, float]:
    """Return the value that a part of the statistics is below, and what Wilks' one holds.

    The ends of the interval are order statistics, whose number below the quantile is binomial.
    """
    ordered, number = np.sort(q), len(q)
    wilks = float(stats.chi2.ppf(level, 1))
    low, high = stats.binom.ppf((0.16, 0.84), number, level).astype(int)
    return {
        "sigma": float(np.sqrt(wilks)),
        "level": level,
        "critical": float(np.quantile(ordered, level)),
        "low": float(ordered[max(low - 1, 0)]),
        "high": float(ordered[min(high, number - 1)]),
        "wilks": wilks,
        "above_wilks": float(np.mean(q > wilks)),
        "above_error": float(np.sqrt(level * (1.0 - level) / number)),
    }


def _probabilities(data: xr.Dataset) -> dict[str, Probabilities]:
    """Return predicted probabilities of the normal ordering and the upper octant, and truths."""
    return {
        "ordering": probabilities(data["normal"].values, data["truth_ordering"].values > 0.0),
        "octant": probabilities(data["upper"].values, data["truth_upper"].values > 0.5),
    }
