"""`bayesxs sensitivity`: scans of Asimov data in a folder, with figures, tables and a summary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from bayesxs.cards.build_counted import build_asimov, build_truth, counted_inputs
from bayesxs.cards.counted import CountedCard, DuneConfiguration
from bayesxs.cards.lepton import LeptonConfiguration
from bayesxs.inference.sensitivity import Asimov, dcp_scan, octant_scan
from bayesxs.physics.oscillation import OscillationParameters
from bayesxs.progress import Reporter
from bayesxs.report.plots_asimov import scan_figure
from bayesxs.report.style import to_png
from bayesxs.runs.learned import begin, card_samples, refuse_changes, upstream
from bayesxs.storage.atomic import write_bytes, write_csv, write_json
from bayesxs.storage.manifest import package_version
from bayesxs.storage.netcdf import write_netcdf
from bayesxs.storage.run_folder import RunFolder, content_key

STAGE: Final = "sensitivity"
SUMMARY: Final = "sensitivity.json"
_UNITS: Final = {"resolution": ("resolution_deg", 180.0 / np.pi)}
_LEVELS: Final = (3, 5)


def run_sensitivity(
    card: CountedCard, folder: Path, *, resume: bool = False, progress: bool = True
) -> Path:
    """Scan what a card asks for; return the folder.

    It holds, of each scan, ``NAME.nc``, ``NAME.csv`` and ``figures/NAME.png``, and one
    ``sensitivity.json``.

    Args:
        card: the analysis.
        folder: new, or with `resume` one that holds the scans of this card.
        resume: keep scans that are there.
        progress: show a bar.

    Raises:
        InputError: bad input, or a folder of another card.
    """
    reporter = Reporter(progress)
    with RunFolder.create(folder, resume=resume) as opened:
        key = content_key(
            STAGE,
            sections=card.model_dump(mode="json", exclude={"seed"}),
            upstream=upstream(card),
            files=counted_inputs(card),
            versions={"bayesxs": package_version()},
        )
        refuse_changes(card, opened)
        if opened.stage_is_current(STAGE, key):
            reporter.line("sensitivity: up to date")
            return Path(opened.path)
        samples = card_samples(card, opened, reporter)
        begin(card, opened)
        with opened.stage(STAGE, key) as stage:
            asimov = build_asimov(card, samples)
            quantities = card.scan.quantities
            with reporter.bar("sensitivity", len(quantities)) as update:
                finished: list[str] = []

                def done(name: str) -> None:
                    finished.append(name)
                    update(len(finished), name.replace("_", " "))

                truth = build_truth(card, samples)
                scans = dict(_scans(card, asimov, truth, done))
            for name, scan in scans.items():
                write_netcdf(stage.output(f"{name}.nc"), scan)
                write_csv(stage.output(f"{name}.csv"), table(scan))
                write_bytes(stage.output(f"figures/{name}.png"), to_png(scan_figure(scan)))
            found = summary(scans) | _exposure(card) | {"seconds": round(stage.seconds, 3)}
            write_json(stage.output(SUMMARY), found)
        reporter.line(f"sensitivity: {in_words(found)}")
        return Path(opened.path)


def _scans(
    card: CountedCard,
    asimov: Asimov,
    truth: tuple[OscillationParameters, float],
    done: Callable[[str], None],
) -> Iterator[tuple[str, xr.Dataset]]:
    params, density = truth
    scan = card.scan
    of_phase = [name for name in scan.quantities if name != "octant"]
    if of_phase:
        phases = np.linspace(-np.pi, np.pi, scan.dcp_values)
        yield "dcp", dcp_scan(asimov, params, phases, density, of_phase, done)
    if "octant" in scan.quantities:
        mixing = np.linspace(scan.s2_23_low, scan.s2_23_high, scan.s2_23_values)
        yield "octant", octant_scan(asimov, params, mixing, density, done)


_DIGITS: Final = 12  # of true values: steps of a grid are shown as they were meant


def table(scan: xr.Dataset) -> dict[str, Any]:
    """Return a scan as columns: phases and resolutions in degrees, the rest as it is."""
    phase = "dcp" in scan.dims
    columns: dict[str, Any] = (
        {"dcp_deg": np.degrees(scan["dcp"].values)} if phase else {"s2_23": scan["s2_23"].values}
    )
    columns = {name: np.round(values, _DIGITS) for name, values in columns.items()}
    for name in scan.data_vars:
        label, factor = _UNITS.get(str(name), (str(name), 1.0))
        if name == "converged":
            columns[label] = scan[name].values.astype(int)
        else:
            columns[f"{label}_sigma" if factor == 1.0 else label] = factor * scan[name].values
    return columns


def summary(scans: Mapping[str, xr.Dataset]) -> dict[str, Any]:
    """Return extremes of scans, and the parts of the true phases above three and five sigma."""
    found: dict[str, Any] = {}
    for scan in scans.values():
        (axis,) = scan.dims
        at = scan[axis].values / (np.pi if axis == "dcp" else 1.0)
        unit = "dcp_over_pi" if axis == "dcp" else "s2_23"
        # Both ends of a full circle are one point
        once = slice(None, -1) if axis == "dcp" else slice(None)
        found.setdefault("converged", True)
        found["converged"] = bool(found["converged"] and scan["converged"].all())
        if "true_ordering" in scan.attrs:
            found["true_ordering"] = scan.attrs["true_ordering"]
        for name in (str(n) for n in scan.data_vars if n != "converged"):
            label, factor = _UNITS.get(name, (name, 1.0))
            values = factor * scan[name].values
            if not np.any(np.isfinite(values)):
                found[label] = {}
                continue
            low, high = int(np.nanargmin(values)), int(np.nanargmax(values))
            entry: dict[str, Any] = {
                "largest": {"value": values[high], unit: at[high]},
                "smallest": {"value": values[low], unit: at[low]},
            }
            if factor == 1.0:
                entry |= {
                    f"part_above_{level}_sigma": float(np.mean(values[once] > level))
                    for level in _LEVELS
                }
            if name == "cp_violation":
                for side, half in (("negative", at < 0.0), ("positive", at > 0.0)):
                    best = int(np.argmax(np.where(half, values, -np.inf)))
                    entry[f"{side}_peak"] = {"value": values[best], unit: at[best]}
            found[label] = entry
    return found


def in_words(found: Mapping[str, Any]) -> str:
    """Say the main figures of a summary in one line."""
    parts = []
    if "cp_violation" in found:
        low, high = (found["cp_violation"][f"{side}_peak"] for side in ("negative", "positive"))
        parts.append(
            f"CP violation up to {low['value']:.1f} sigma (dCP = {low['dcp_over_pi']:+.2f} pi) and "
            f"{high['value']:.1f} ({high['dcp_over_pi']:+.2f} pi)"
        )
    if found.get("ordering"):
        parts.append(f"ordering at least {found['ordering']['smallest']['value']:.1f} sigma")
    if found.get("resolution_deg"):
        low, high = (found["resolution_deg"][end]["value"] for end in ("smallest", "largest"))
        parts.append(f"dCP to {low:.0f}-{high:.0f} degrees")
    if found.get("octant"):
        part = 100.0 * found["octant"]["part_above_3_sigma"]
        parts.append(f"octant above 3 sigma for {part:.0f} % of s2_23")
    if not found["converged"]:
        parts.append("not all minima were found")
    return "; ".join(parts)


def _exposure(card: CountedCard) -> dict[str, Any]:
    own = card.configuration
    if not isinstance(own, DuneConfiguration | LeptonConfiguration):
        return {"exposure_over_file": own.exposure}
    return {"exposure_kt_MW_yr": own.mass_kt * own.power_MW * own.years}
