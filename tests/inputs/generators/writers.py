"""Files of events as generators write them, of events that a test makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyhepmc
import uproot

from bayesxs.constants import MUON_MASS, NUCLEON_MASS

ARGON = 1000180400
CARBON = 1000060120

# NEUT's codes and the hundreds of NuHepMC's processes
MODES = {"qe": 1, "mec": 2, "res": 11, "coh": 16, "dis": 26}
PROCESSES = {"coh": 100, "qe": 200, "mec": 300, "res": 400, "dis": 600}
FLAGS = {"qe": "qel", "mec": "mec", "res": "res", "coh": "coh", "dis": "dis"}


@dataclass(frozen=True)
class Simulated:
    """Columns of events whose kinematics are possible, though of no physics."""

    energy: np.ndarray
    lepton_energy: np.ndarray
    cos_theta: np.ndarray
    weight: np.ndarray
    pdg_nu: np.ndarray
    pdg_l: np.ndarray
    channel: np.ndarray  # of str
    target: np.ndarray

    @property
    def momentum(self) -> np.ndarray:
        return np.sqrt(self.lepton_energy**2 - masses(self.pdg_l) ** 2)

    @property
    def charged(self) -> np.ndarray:
        return self.pdg_nu != self.pdg_l

    def with_(self, **columns: Any) -> Simulated:
        return replace(self, **columns)


def masses(pdg: np.ndarray) -> np.ndarray:
    return np.where(np.abs(pdg) == 13, MUON_MASS, np.where(np.abs(pdg) == 11, 0.51099895e-3, 0.0))


def simulate(seed: int, events: int) -> Simulated:
    rng = np.random.default_rng(seed)
    energy = rng.uniform(0.5, 6.0, events)
    full = np.full(events, 1)
    return Simulated(
        energy,
        rng.uniform(MUON_MASS + 0.01, energy),
        rng.uniform(-1.0, 1.0, events),
        rng.uniform(0.5, 2.0, events),
        14 * full,
        13 * full,
        rng.choice(list(MODES), events),
        ARGON * full,
    )


def write_gst(path: Path, events: Simulated, **more: np.ndarray) -> Path:
    sine = np.sqrt(1.0 - events.cos_theta**2)
    columns = {
        "neu": events.pdg_nu.astype(np.int32),
        "fspl": events.pdg_l.astype(np.int32),
        "tgt": events.target.astype(np.int32),
        "cc": events.charged,
        "nc": ~events.charged,
        "Ev": events.energy,
        "El": events.lepton_energy,
        "pxl": events.momentum * sine,
        "pyl": 0.0 * sine,
        "pzl": events.momentum * events.cos_theta,
        "cthl": events.cos_theta,
        "wght": events.weight,
        **{flag: events.channel == name for name, flag in FLAGS.items()},
        **more,
    }
    return write_tree(path, "gst", columns)


def write_flat(path: Path, events: Simulated, scale: float, **more: np.ndarray) -> Path:
    modes = np.array([MODES[name] for name in events.channel]) * np.sign(events.pdg_nu)
    columns = {
        "Mode": np.where(events.charged, modes, 31).astype(np.int32),
        "cc": events.charged.astype(np.int8),
        "PDGnu": events.pdg_nu.astype(np.int32),
        "tgt": events.target.astype(np.int32),
        "PDGLep": events.pdg_l.astype(np.int32),
        "Enu_true": events.energy.astype(np.float32),
        "ELep": events.lepton_energy.astype(np.float32),
        "CosLep": events.cos_theta.astype(np.float32),
        "Weight": events.weight.astype(np.float32),
        "fScaleFactor": np.full(len(events.energy), scale),
        **more,
    }
    return write_tree(path, "FlatTree_VARS", columns)


def write_tree(path: Path, name: str, columns: Mapping[str, np.ndarray]) -> Path:
    with uproot.recreate(path) as root:
        root.mktree(name, {b: (values.dtype, values.shape[1:]) for b, values in columns.items()})
        root[name].extend(dict(columns))
    return path


def write_nuhepmc(
    path: Path,
    events: Simulated,
    *,
    beam: np.ndarray | None = None,
    inner: np.ndarray | None = None,
    unit: str = "MEV",
    lost: float = 0.0,
    attributes: Mapping[str, str] = {},
    estimates: Sequence[float] = (),
) -> Path:
    """Write events with a nucleon at rest that takes what the lepton leaves.

    Args:
        path: the file.
        events: what it holds.
        beam: energies of the status-4 neutrinos, GeV; those of the events by default.
        inner: energies of the neutrinos that enter the primary vertex where they are others: a
            second vertex then lies between the two.
        unit: of the momenta, MEV or GEV.
        lost: energy that the primary vertex does not conserve, GeV.
        attributes: of the run.
        estimates: the cross section so far, of each event.
    """
    run = pyhepmc.GenRunInfo()
    run.weight_names = ["CV"]
    run.attributes = {"NuHepMC.Conventions": "E.C.1", **attributes}
    factor = 1e3 if unit == "MEV" else 1.0
    beam = events.energy if beam is None else beam
    with pyhepmc.open(path, "w") as file:
        for i in range(len(events.energy)):
            event = pyhepmc.GenEvent(getattr(pyhepmc.Units, unit), pyhepmc.Units.MM)
            event.run_info = run
            event.event_number = i

            def particle(momentum: Sequence[float], pid: int, status: int) -> Any:
                four = pyhepmc.FourVector(*(factor * np.array(momentum)).tolist())
                return pyhepmc.GenParticle(four, int(pid), status)

            primary = pyhepmc.GenVertex()
            primary.status = 1
            neutrino = particle((0.0, 0.0, beam[i], beam[i]), events.pdg_nu[i], 4)
            if inner is not None:
                made = particle((0.0, 0.0, inner[i], inner[i]), events.pdg_nu[i], 2)
                source = pyhepmc.GenVertex()
                source.status = 24
                source.add_particle_in(neutrino)
                source.add_particle_out(made)
                neutrino = made
            else:
                source = None
            target = particle((0.0, 0.0, 0.0, 37.2), events.target[i], 20)
            nucleus = pyhepmc.GenVertex()
            nucleus.status = 21
            nucleon = particle((0.0, 0.0, 0.0, NUCLEON_MASS), 2112, 2)
            nucleus.add_particle_in(target)
            nucleus.add_particle_out(nucleon)
            p, c, energy = events.momentum[i], events.cos_theta[i], events.energy[i]
            across = p * np.sqrt(1.0 - c * c)
            lepton = (across, 0.0, p * c, events.lepton_energy[i])
            rest = energy + NUCLEON_MASS - events.lepton_energy[i] - lost
            hadrons = (-across, 0.0, energy - p * c, rest)
            primary.add_particle_in(neutrino)
            primary.add_particle_in(nucleon)
            primary.add_particle_out(particle(hadrons, 2212, 1))
            primary.add_particle_out(particle(lepton, events.pdg_l[i], 1))
            for vertex in (source, nucleus, primary):
                if vertex is not None:
                    event.add_vertex(vertex)
            process = PROCESSES[events.channel[i]] + (0 if events.charged[i] else 50)
            event.attributes["signal_process_id"] = process
            event.weights = [float(events.weight[i])]
            if len(estimates):
                total = pyhepmc.GenCrossSection()
                total.set_cross_section(float(estimates[i]), 0.0)
                event.cross_section = total
            file.write(event)
    return path
