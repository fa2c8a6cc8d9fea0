"""What near data leave open of the cross section costs four samples in lepton kinematics.

Run as `python benchmarks/lepton_budget.py`; `--help` shows its options. Nature is the parton model,
near data are the expected counts of so many events, and a Gaussian process of five functions is
conditioned on them, about networks that learned everything. Printed are the modes, the budget of
errors at NuFit's phase, the resolution of dCP at -90 degrees with and without modes, and what a
gradient of the likelihood costs.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
from shared import machine, markdown, say

jax.config.update("jax_enable_x64", True)

import bayesxs  # noqa: E402
from bayesxs.experiment.shared import learned_cross_sections  # noqa: E402
from bayesxs.inference.constraints import reactor_constraints  # noqa: E402
from bayesxs.inference.counted import CountedLikelihood  # noqa: E402
from bayesxs.inference.error_budget import error_budget  # noqa: E402
from bayesxs.inference.sensitivity import Asimov, dcp_scan, true_coordinates  # noqa: E402

MODES = ("neutrino", "antineutrino")
TRUTH = bayesxs.NUFIT_6_0
FAR_BINS = (16, 10)
GRIDS = {
    "default": bayesxs.Grid(far_bins=FAR_BINS),
    "small": bayesxs.Grid(2, 32, 32, 24, 24, FAR_BINS),
}


def learned(beams, near: str, events: float):
    """Return the posterior of the cross section in each beam."""
    data, networks = [], {}
    for number, beam in enumerate(beams, start=1):
        rates = {t.name: beam.geometry(t).true_total @ t.near_flux for t in beam.unique_targets}
        counts = {name: events * rate / max(rates.values()) for name, rate in rates.items()}
        fitted = ("mu", "anti_mu") if near == "muons" else ()
        data.append(beam.near_data(events=counts, key=0, samples=fitted).expected())
        for target in beam.unique_targets:
            networks[f"{target.name}, beam {number}"] = SimpleNamespace(networks=[target.truth])
    process = bayesxs.GaussianProcess()
    return learned_cross_sections(data, networks, process, shared=True, rates=True)


def gradient(likelihood: CountedLikelihood) -> float:
    """Return milliseconds of processor of the likelihood with its gradient."""

    def log_prob(own: CountedLikelihood, v: jax.Array) -> jax.Array:
        theta = TRUTH._replace(dcp=v[0], dm31=v[1], s2_23=v[2])
        return own.log_prob(theta, v[3:])

    both = jax.jit(jax.value_and_grad(log_prob, argnums=1))
    eta = 0.01 * jnp.ones(len(likelihood.nuisances))
    v = jnp.concatenate([jnp.array([-1.5, 2.513e-3, 0.47]), eta])
    jax.block_until_ready(both(likelihood, v))
    begin = time.process_time()
    for _ in range(300):
        jax.block_until_ready(both(likelihood, v))
    return (time.process_time() - begin) / 0.3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--near", choices=("muons", "all"), default="muons")
    parser.add_argument("--events", type=float, default=1e6, help="of the most frequent lepton")
    parser.add_argument("--grid", choices=tuple(GRIDS), default="small")
    options = parser.parse_args()
    nature = bayesxs.QuarkParton(bayesxs.ct18nnlo())
    grid = GRIDS[options.grid]
    beams = [bayesxs.dune_experiment(mode, nature, grid=grid) for mode in MODES]
    begin = time.process_time()
    found = learned(beams, options.near, options.events)
    say(f"posterior of the cross section: {time.process_time() - begin:.0f} s of processor")
    begin = time.process_time()
    samples = bayesxs.lepton_samples(beams, found)
    say(f"folded: {time.process_time() - begin:.0f} s of processor")
    modes = Counter(name.rsplit("_", 1)[0] for name in samples.cross_section)
    say(", ".join(f"{name} {number}" for name, number in modes.items()))
    likelihood = bayesxs.counted_likelihood(samples)
    asimov = Asimov(likelihood.rates, len(samples.nuisances), reactor_constraints)
    rows = error_budget(asimov, true_coordinates(TRUTH)[0], samples.groups)
    print(machine(), end="\n\n")
    units = {"dcp": 180.0 / np.pi, "sin2_theta23": 1.0, "dm31": 1e5}
    cells = []
    for row in rows:
        errors = [(u * row[n]["sd"], u * row[n]["contribution"]) for n, u in units.items()]
        cells.append([row["name"], *(f"{sd:.4g} ({part:.2g})" for sd, part in errors)])
    print(markdown(["", "dCP, degrees", "sin2_theta23", "dm31, 1e-5 eV2"], cells), end="\n\n")
    plain = likelihood.rates.with_modes(())
    known = Asimov(plain, plain.nuisances, reactor_constraints)
    for name, own in (("without modes", known), ("with modes", asimov)):
        scan = dcp_scan(own, TRUTH, [-0.5 * np.pi], quantities=["resolution", "cp_violation"])
        error = np.degrees(float(scan["resolution"][0]))
        sigma = float(scan["cp_violation"][0])
        say(f"{name}: dCP to {error:.3f} degrees at -90, CP violation {sigma:.3f} sigma")
    say(f"gradient with modes: {gradient(likelihood):.2f} ms of processor")


if __name__ == "__main__":
    main()
