"""An ensemble of networks: each from its own start, and on its own replica of counted near data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from bayesxs.campaigns.kind import Figures, Int, Kind, Stored, batches, joined
from bayesxs.cards.campaign import EnsembleCampaign
from bayesxs.engine.results import Task
from bayesxs.experiment.channels import Channels
from bayesxs.experiment.judge import Judge
from bayesxs.experiment.learn import Family, Training, families, train_group
from bayesxs.experiment.weights import conditions, lepton_of, write_networks
from bayesxs.learning.network import (
    Network,
    network_arrays,
    network_from_arrays,
)
from bayesxs.report.campaigns import ensemble_verdict
from bayesxs.report.plots_systematics import sources_figure
from bayesxs.runs.budget import FarSpectrum
from bayesxs.runs.training import NETWORK
from bayesxs.storage.checkpoint import starting_with
from bayesxs.storage.run_folder import Stage


@dataclass(frozen=True)
class TrainingExperiment:
    """Near data, and how networks are trained.

    Attributes:
        families: targets that share networks, with their data.
        training: how networks are fitted.
        members: of one task.
        seed: of the card.
    """

    families: Sequence[Family]
    training: Training
    members: int
    seed: int

    def run(self, first: int) -> dict[str, np.ndarray]:
        """Train the members numbered from `first`; number 0 sees the data themselves.

        A member is the same as that of a run with as many of them.

        Returns:
            "TARGET/WEIGHT", stacked over members.
        """
        out: dict[str, list[np.ndarray]] = {}
        for family in self.families:
            for member in range(first, first + self.members):
                (network,) = train_group(
                    self.training, family.data, self.seed, family.number, [member]
                )
                for name, own in family.apart(network).items():
                    for weight, values in network_arrays(own).items():
                        out.setdefault(f"{name}/{weight}", []).append(np.asarray(values))
        return {name: np.stack(values) for name, values in out.items()}


class NetworkEnsemble(Kind[EnsembleCampaign]):
    """The ensemble of a card."""

    function = staticmethod(TrainingExperiment.run)

    def tasks(self, key: str) -> list[Task]:
        """Cut the members into batches."""
        return batches(self.plan, key, self.plan.members)

    def shared(self) -> TrainingExperiment:
        """Return the near data and the recipe."""
        training = self.settings.training
        found = families(self.analysis.near, training)
        return TrainingExperiment(found, training, self.plan.batch, self.settings.seed)

    def assemble(self, stored: Stored, stage: Stage) -> xr.Dataset:
        """Judge every network of the first sample's target, and fold it with the far flux.

        Variables: near_rel_l2, far_rel_l2, cross_section_3d_rel_l2, negative_fraction over member;
        ratio, of the normalised far spectrum to the true one, over (member, lepton_energy); weight
        and statistical, the true spectrum and its relative error, over lepton_energy. All networks
        are left as network.safetensors, which another run's network.weights takes.
        """
        networks, members = self._networks(stored)
        write_networks(stage.output(NETWORK), networks, conditions(self.experiment))
        spectrum = FarSpectrum(self.experiment, self._truth_alone())
        geometry = spectrum.geometry
        fluxes = {
            "near": geometry.target.near_flux,
            "far": self.experiment.source_flux(spectrum.sample) * spectrum.oscillation,
        }
        judge = Judge(geometry, fluxes)
        values = [geometry.node_values(n) for n in networks[geometry.target.name]]
        errors = [judge.errors(v) for v in values]
        ratios = np.stack([spectrum.ratio(v)[spectrum.kept] for v in values])
        share = spectrum.share[spectrum.kept]
        data: dict[str, Any] = {n: ("member", [e[n] for e in errors]) for n in errors[0]}
        data |= {
            "ratio": (("member", "lepton_energy"), ratios),
            "weight": ("lepton_energy", share),
            "statistical": ("lepton_energy", 1.0 / np.sqrt(self.experiment.far_events * share)),
        }
        coordinates = {"member": members} | spectrum.coordinates()
        return xr.Dataset(data, coordinates, {"kind": self.plan.kind})

    def _truth_alone(self) -> Channels:
        """Return channels of the true cross section: nothing was learned or observed."""
        return Channels(self.experiment, None, None)

    def _networks(self, stored: Stored) -> tuple[dict[str, list[Network]], Int]:
        """Return the trained networks by target, and the members' numbers."""
        arrays, members = joined(stored, self.plan.members, self.plan.batch)
        kind = self.settings.training.suited(self.experiment.space.x_max)
        networks: dict[str, list[Network]] = {}
        for target in self.experiment.unique_targets:
            own = starting_with(f"{target.name}/", arrays)
            networks[target.name] = [
                network_from_arrays(
                    kind, {name: v[place] for name, v in own.items()}, lepton_of(target.name)
                )
                for place in range(len(members))
            ]
        return networks, members

    def tabulate(self, data: xr.Dataset) -> dict[str, Any]:
        """Return how far networks lie from the truth, and from each other."""
        distances = {}
        for name in ("near_rel_l2", "far_rel_l2", "cross_section_3d_rel_l2"):
            values = data[name].values
            distances[name] = {
                "median": float(np.median(values)),
                "low": float(values.min()),
                "high": float(values.max()),
            }
        weight = data["weight"].values / data["weight"].values.sum()
        spread = data["ratio"].std("member", ddof=1).values
        far_spread = float(np.sqrt(weight @ spread**2))
        return {
            "members": int(data.sizes["member"]),
            "distances": distances,
            "far_spread": far_spread,
            "verdict": ensemble_verdict(int(data.sizes["member"]), distances, far_spread),
        }

    def figures(self, data: xr.Dataset, summary: Mapping[str, Any]) -> Figures:
        """Draw the far spectra of the networks over the true one."""
        ratio = data["ratio"]
        sd = ratio.std("member", ddof=1)
        mean = ratio.mean("member")
        band = {"mean": mean, "low": mean - sd, "high": mean + sd}
        spectra = xr.Dataset(band).expand_dims(source=["ensemble"])
        spectra = spectra.assign({n: data[n] for n in ("weight", "statistical")})
        return {"ensemble": partial(sources_figure, spectra)}
