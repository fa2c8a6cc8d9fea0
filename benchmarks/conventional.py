"""Compare the learned cross section with assumed ones: what each makes of DUNE's four samples.

Run as `python benchmarks/conventional.py`; `--help` shows its options. Nature is the
built-in nucleus, or partons; exposure and truth are the same for all, data what the truth expects
(Asimov), near data without fluctuations. Fitted are:

- leptons' energies and angles with the cross section learned from both beams' near data;
- the same with an assumed cross section: the nucleus with other parameters, or other partons;
- reconstructed energy, the published migration matrices, with the published total cross section
  times the ratio of assumed to true. Migration stays right: a generator would be wrong there too;
- the same with a table that is wrong by a generator's difference (`totals`): NuWro's totals in
  place of GENIE's, which are the published ones, or Achilles's quasi-elastic part in place of
  NuWro's. They are left out where the folder of the generators' samples is absent.

Every cross section has the right near rates. The folder keeps what was learned, every scan, a
table and the figure; what it holds is not computed again.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import jax
import numpy as np
import xarray as xr
from shared import machine, markdown, say
from totals import generator_tables

jax.config.update("jax_enable_x64", True)

import bayesxs  # noqa: E402
from bayesxs.detector.reconstructed import CrossSection  # noqa: E402
from bayesxs.detector.samples import CountedSamples  # noqa: E402
from bayesxs.experiment.experiment import Experiment  # noqa: E402
from bayesxs.inference.bias import bias_scan  # noqa: E402
from bayesxs.inference.constraints import reactor_constraints  # noqa: E402
from bayesxs.inference.sensitivity import Asimov  # noqa: E402
from bayesxs.inputs.globes.dune import embedded_dune  # noqa: E402
from bayesxs.physics.modification import Modification  # noqa: E402
from bayesxs.report.plots_asimov import bias_figure  # noqa: E402
from bayesxs.report.style import to_png  # noqa: E402

MODES = ("neutrino", "antineutrino")
PHASES = np.linspace(-np.pi, np.pi, 13)
FAR_BINS = (16, 10)
GRIDS = {
    "default": bayesxs.Grid(far_bins=FAR_BINS),
    "quick": bayesxs.Grid(2, 40, 40, 32, 32, FAR_BINS),
}
STEPS = {"default": 40, "quick": 24}


def natures(name: str) -> tuple[object, object]:
    """Return what makes the data, and what an analyst assumes."""
    pdf = bayesxs.ct18nnlo()
    if name == "parton":
        low = Modification(0.3)
        return bayesxs.QuarkParton(pdf), bayesxs.QuarkParton(pdf, modification=low)
    other = {"fermi_momentum_GeV": 0.22, "energy_shift_GeV": 0.02, "axial_mass_GeV": 1.2}
    return bayesxs.Nucleus(pdf), bayesxs.Nucleus(pdf, **other)


def learned(beams: list[Experiment], preset: str, folder: Path) -> list[object]:
    """Learn the cross section of both beams, or read it from the folder."""
    paths = [folder / f"cross_section_{mode}.nc" for mode in MODES]
    if not all(path.exists() for path in paths):
        schedule = bayesxs.Schedule(0, 1e-3, 0, gauss_newton_steps=STEPS[preset])
        training = bayesxs.Training(schedule=schedule, share="helicity")
        near = [beam.near_data(samples=("mu", "anti_mu")) for beam in beams]
        begin = time.process_time()
        for own, path in zip(bayesxs.learn_together(near, training=training), paths, strict=True):
            own.save(path)
        say(f"learned in {time.process_time() - begin:.0f} s of processor")
    return [bayesxs.read_cross_section(p, b) for p, b in zip(paths, beams, strict=True)]


def wrong_total(beams: list[Experiment]) -> CrossSection:
    """Return the published total cross section times the ratio of assumed to true ones."""
    table = embedded_dune().cross_sections["CC"]
    ratios = {}
    for beam in beams:
        for target in beam.unique_targets:
            sign = -1 if target.sample.antineutrino else 1
            if (sign > 0) != (target.sample.beam == MODES[0]):
                continue
            geometry = beam.geometry(target)
            right, wrong = geometry.true_total, geometry.total_of(target.assumed)
            near = target.near_flux
            ratio = wrong / right * (right @ near) / (wrong @ near)
            ratios[sign * {"e": 12, "mu": 14}[target.sample.flavor_out]] = ratio
    energy = beams[0].energies.points

    def total(pdg: int, at: np.ndarray) -> np.ndarray:
        found = np.asarray(table(pdg, at))
        return found * np.interp(at, energy, ratios[pdg]) if pdg in ratios else found

    return total


def with_table(total: CrossSection) -> CountedSamples:
    """Return samples in reconstructed energy, fitted with a total cross section to the true one."""
    wrong = bayesxs.dune_samples(cross_sections={"CC": total})
    return replace(wrong, nature=bayesxs.dune_samples())


def scan(make: Callable[[], CountedSamples], path: Path) -> xr.Dataset:
    """Fit samples to the data of nature, at every true phase and at NuFit's; or read the fits."""
    if path.exists():
        return xr.load_dataset(path, engine="h5netcdf")
    fitted = make()
    rates, pulls = fitted.rates(), len(fitted.nuisances)
    asimov = Asimov(rates, pulls, reactor_constraints, fitted.of_nature())
    truth = bayesxs.NUFIT_6_0
    found = bias_scan(asimov, truth, [float(truth.dcp), *PHASES])
    found.to_netcdf(path, engine="h5netcdf")
    return found


def row(name: str, found: xr.Dataset) -> list[str]:
    """Return a row of the table: at NuFit's phase, and the largest shift at any."""
    at, every = found.isel(dcp=0), found.isel(dcp=slice(1, None))
    cells = [name]
    for parameter in ("delta_cp", "sin2_theta23", "dm31"):
        worst = float(np.abs(every[parameter]).max())
        cells.append(f"{float(at[parameter]):+.3f} ({worst:.3f})")
    cells += [f"{float(at[n]):.1f}" for n in ("ordering", "octant", "chi2")]
    return [*cells, "" if bool(found["converged"].all()) else "some best fits are no minimum"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nature", choices=("nucleus", "parton"), default="nucleus")
    parser.add_argument("--preset", choices=tuple(GRIDS), default="default")
    parser.add_argument("--folder", type=Path, help="in bayesxs-runs if none")
    shared = Path(os.environ.get("BAYESXS_REFERENCE", "../shared"))
    parser.add_argument("--generators", type=Path, default=shared / "generator")
    options = parser.parse_args()
    own = Path("bayesxs-runs") / f"conventional-{options.nature}-{options.preset}"
    folder = options.folder or own
    folder.mkdir(parents=True, exist_ok=True)

    @cache
    def beams() -> list[Experiment]:
        nature, assumed = natures(options.nature)
        grid = GRIDS[options.preset]
        return [bayesxs.dune_experiment(m, nature, assumed=assumed, grid=grid) for m in MODES]

    fitted: dict[str, Callable[[], CountedSamples]] = {
        "leptons, learned": lambda: bayesxs.lepton_samples(
            beams(), learned(beams(), options.preset, folder)
        ),
        "leptons, assumed": lambda: bayesxs.lepton_samples(beams(), "assumed"),
        "reconstructed energy, right table": bayesxs.dune_samples,
        "reconstructed energy, wrong table": lambda: with_table(wrong_total(beams())),
    }
    if options.generators.is_dir():
        for name, total in generator_tables(options.generators).items():
            fitted[f"reconstructed energy, {name}"] = partial(with_table, total)
    else:
        say(f"{options.generators}: no such folder, generators left out")
    cases = {}
    for name, make in fitted.items():
        say(name)
        stem = "".join(c if c.isalnum() else "_" for c in name.replace(", ", "_"))
        cases[name] = scan(make, folder / f"{stem}.nc")
    print(machine(), end="\n\n")
    columns = ["cross section", "dCP", "sin2_theta23"]
    columns += ["dm31", "other ordering", "other octant", "chi2", ""]
    table = markdown(columns, [row(name, case) for name, case in cases.items()])
    print(table)
    errors = cases["leptons, learned"].isel(dcp=0)
    shown = ", ".join(
        f"{name} {float(errors[f'{name}_error']):.3g}"
        for name in ("delta_cp", "sin2_theta23", "dm31")
    )
    print(f"\nErrors of leptons at NuFit's phase: {shown}.")
    (folder / "table.md").write_text(table + "\n", encoding="utf-8")
    hidden = ("right", "Achilles")
    drawn = {
        name: case.isel(dcp=slice(1, None))
        for name, case in cases.items()
        if not any(word in name for word in hidden)
    }
    (folder / "biases.png").write_bytes(to_png(bias_figure(drawn)))


if __name__ == "__main__":
    main()
