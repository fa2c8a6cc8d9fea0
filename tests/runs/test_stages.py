"""The sample stage: its posteriors share what is compiled."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from bayesxs.detector.density import FoldedRows, Sample
from bayesxs.inference.channel import FarChannel, far_channel
from bayesxs.inference.compression import probability_span
from bayesxs.inference.folded import Folded, Oscillation
from bayesxs.inference.priors import Flat
from bayesxs.inference.sampling import SamplerSettings
from bayesxs.physics.nufit import nufit_6_0
from bayesxs.progress import Reporter
from bayesxs.runs.stages import sample_stage
from bayesxs.storage.run_folder import RunFolder

PRIORS = {"dm31": Flat(2.2e-3, 2.9e-3), "s2_23": Flat(0.3, 0.7)}


def data(rows: int, bias: float) -> list[FarChannel]:
    """Muons seen as Gaussians about their neutrino's energy, which is off by a bias."""
    energy = np.linspace(0.6, 5.0, 40)
    seen = np.linspace(0.7, 4.3, rows)
    density = np.exp(-0.5 * ((energy - bias * seen[:, None]) / 0.3) ** 2)
    folded = Folded.plain(FoldedRows(density, np.ones(40)), np.ones(40))
    oscillation = Oscillation(Sample())
    span = probability_span(oscillation, energy, PRIORS, nufit_6_0())
    return [far_channel(folded, energy, np.ones(rows), oscillation, span)]


@pytest.fixture
def compilations() -> Any:
    """The names of programs, in the order in which they were compiled."""
    names: list[str] = []

    def listen(name: str, _: float, **what: Any) -> None:
        if name.endswith("backend_compile_duration"):
            names.append(str(what.get("fun_name")))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)


def test_four_posteriors_compile_one_sampler(tmp_path: Path, compilations: list[str]):
    """Events and Asimov data differ in their rows, cross sections in all numbers."""
    sets = {
        ("events", "truth"): data(500, 1.0),
        ("events", "learned"): data(500, 1.01),
        ("asimov", "truth"): data(640, 1.0),
        ("asimov", "learned"): data(640, 1.01),
    }
    channels: Any = SimpleNamespace(
        experiment=SimpleNamespace(priors=PRIORS, parameters=nufit_6_0()),
        kinds=("truth", "learned"),
        nuisances=(),
        simulated=True,
        of_events=lambda kind: sets["events", kind],
        of_asimov=lambda kind: sets["asimov", kind],
        near_terms=lambda kind: (),
    )
    settings: Any = SimpleNamespace(
        seed=1,
        marginalize_octant=True,
        sampler=SamplerSettings(chains=2, warmup=20, draws=20, record_every=20),
    )
    with RunFolder.create(tmp_path / "run") as folder, folder.stage("sample", "key") as stage:
        sample_stage(channels, settings, stage, Reporter(False))
    # Each program of a sampler is split over devices: start, steps, and sites of the draws
    assert compilations.count("jit(split)") == 3
