"""An ensemble of networks: each from its own start, and on its own replica of counted near data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import xarray as xr
from scipy import sparse

from bayesxs.app.budget import FarSpectrum
from bayesxs.app.campaigns.kind import Stored, task, wanted
from bayesxs.app.channels import Channels
from bayesxs.app.experiment import Experiment, architecture, schedule
from bayesxs.app.learn import NETWORK, Judge, bootstrap_counts, near_observation, problem_settings
from bayesxs.app.seeds import TRAINING_KEY, stage_key
from bayesxs.app.weights import conditions, write_networks
from bayesxs.detector.grid import Float, NodeGrid
from bayesxs.engine.results import Task
from bayesxs.learning.network import (
    Architecture,
    Network,
    create_network,
    network_arrays,
    network_from_arrays,
)
from bayesxs.learning.training import Schedule, near_problem, train
from bayesxs.report.campaigns import ensemble_verdict
from bayesxs.report.plots_systematics import sources_figure
from bayesxs.report.style import to_png
from bayesxs.sections import EnsembleCampaign
from bayesxs.store import Stage


@dataclass(frozen=True)
class NearData:
    """What the networks of one target learn from.

    Attributes:
        matrix: near-detector bins from values on the nodes, shape (bins, 3 n_nodes).
        counts: observed in the bins, shape (bins,).
        nodes: the nodes.
        settings: loss, floor and rank.
        finite: whether events are counted, so that they fluctuate.
    """

    matrix: sparse.csr_array
    counts: Float
    nodes: NodeGrid
    settings: Mapping[str, Any]
    finite: bool


@dataclass(frozen=True)
class TrainingExperiment:
    """Near data of every target, and how networks are trained.

    Attributes:
        near: by name of the target.
        architecture: of the networks.
        schedule: of the training.
        members: of one task.
        seed: of the card.
    """

    near: Mapping[str, NearData]
    architecture: Architecture
    schedule: Schedule
    members: int
    seed: int

    def run(self, first: int) -> dict[str, np.ndarray]:
        """Train the members numbered from `first`; number 0 sees the data themselves.

        A member is the same as that of a run with as many of them.

        Returns:
            "TARGET/WEIGHT", stacked over members.
        """
        out: dict[str, list[np.ndarray]] = {}
        for number, (name, near) in enumerate(self.near.items()):
            for member in range(first, first + self.members):
                key = stage_key(self.seed, TRAINING_KEY, number, member)
                replica = member > 0 and near.finite
                folded = jax.random.fold_in(key, 1)
                counts = bootstrap_counts(folded, near.counts) if replica else near.counts
                problem = near_problem(near.matrix, counts, near.nodes, **near.settings)
                network = train(create_network(self.architecture, key), problem, self.schedule)
                for weight, values in network_arrays(network).items():
                    out.setdefault(f"{name}/{weight}", []).append(np.asarray(values))
        return {name: np.stack(values) for name, values in out.items()}


class NetworkEnsemble:
    """The ensemble of a card."""

    function = staticmethod(TrainingExperiment.run)

    def __init__(self, experiment: Experiment, channels: Channels, plan: EnsembleCampaign) -> None:
        """Hold the analysis; nothing is computed yet."""
        self.experiment = experiment
        self.channels = channels
        self.plan = plan

    def tasks(self, key: str) -> list[Task]:
        """Cut the members into batches."""
        firsts = range(0, self.plan.members, self.plan.batch)
        return [task(self.plan.kind, key, first) for first in firsts]

    def shared(self) -> TrainingExperiment:
        """Return the near data and the recipe."""
        e = self.experiment
        near = {
            t.name: NearData(
                e.geometry(t).near_matrix,
                near_observation(e, t),
                e.geometry(t).nodes,
                problem_settings(e),
                e.card.near.events != "infinite",
            )
            for t in e.unique_targets
        }
        return TrainingExperiment(
            near, architecture(e.card), schedule(e.card), self.plan.batch, e.seed
        )

    def assemble(self, stored: Stored, stage: Stage) -> xr.Dataset:
        """Judge every network of the first sample's target, and fold it with the far flux.

        Variables: near_rel_l2, far_rel_l2, cross_section_3d_rel_l2, negative_fraction over member;
        ratio, of the normalised far spectrum to the true one, over (member, lepton_energy); weight
        and statistical, the true spectrum and its relative error, over lepton_energy. All networks
        are left as network.safetensors, which another run's network.weights takes.
        """
        networks, members = self._networks(stored)
        card = self.experiment.card
        path = stage.output(NETWORK)
        write_networks(path, networks, architecture(card), conditions(card))
        spectrum = FarSpectrum(self.experiment, self.channels)
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
            "statistical": ("lepton_energy", 1.0 / np.sqrt(card.far.events * share)),
        }
        coordinates = {"member": members} | spectrum.coordinates()
        return xr.Dataset(data, coordinates, {"kind": self.plan.kind})

    def _networks(self, stored: Stored) -> tuple[dict[str, list[Network]], list[int]]:
        """Return the trained networks by target, and the members' numbers."""
        plan, kind = self.plan, architecture(self.experiment.card)
        networks: dict[str, list[Network]] = {}
        members: list[int] = []
        for done, arrays in stored:
            (first,) = done.arguments
            for place in range(wanted(first, plan.members, plan.batch)):
                members.append(first + place)
                for target in self.experiment.unique_targets:
                    prefix = f"{target.name}/"
                    own = {
                        name.removeprefix(prefix): values[place]
                        for name, values in arrays.items()
                        if name.startswith(prefix)
                    }
                    made = network_from_arrays(kind, own)
                    networks.setdefault(target.name, []).append(made)
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

    def figures(self, data: xr.Dataset) -> Mapping[str, bytes]:
        """Draw the far spectra of the networks over the true one."""
        ratio = data["ratio"]
        sd = ratio.std("member", ddof=1)
        mean = ratio.mean("member")
        band = {"mean": mean, "low": mean - sd, "high": mean + sd}
        spectra = xr.Dataset(band).expand_dims(source=["ensemble"])
        spectra = spectra.assign({n: data[n] for n in ("weight", "statistical")})
        return {"campaign_ensemble": to_png(sources_figure(spectra))}
