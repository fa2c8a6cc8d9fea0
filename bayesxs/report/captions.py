"""The place of each figure in the report, and words that guide the eye."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple


class Caption(NamedTuple):
    """Place and words of a figure.

    Attributes:
        section: heading under which it stands.
        title: of the figure.
        text: a guide to it.
    """

    section: str
    title: str
    text: str


RESULT: Final = "Oscillation parameters"
SYSTEMATICS: Final = "Systematics"
LEARNING: Final = "What the near detector taught"
CHAINS: Final = "Chains"
FURTHER: Final = "Further figures"
SECTIONS: Final = (RESULT, SYSTEMATICS, LEARNING, CHAINS, FURTHER)

_REGIONS: Final = (
    "Grey: with the true cross section. Orange: with the learned one. Regions hold 68 % and "
    "95 % of the posterior"
)

# Between the stem of a figure and the name of the sample, or of the target, that it shows
OF_SAMPLE: Final = "-"

# By the stem of the figure's file, in the order of the report
FIGURES: Final[dict[str, Caption]] = {
    "posterior": Caption(
        RESULT,
        "Posterior of the oscillation parameters",
        f"{_REGIONS}; points are maximum-likelihood estimates of bootstrap samples, the star "
        "is the value the events were made with. The closer the orange regions lie to the "
        "grey ones, the less the learned cross section costs. The regions end at sin²2θ₂₃ = "
        "1, the physical bound.",
    ),
    "octant": Caption(
        RESULT,
        "Octant of θ₂₃",
        "Muon-neutrino disappearance measures cos²θ₁₃ sin²θ₂₃ up to the exchange with one minus "
        "itself, so there are two solutions, symmetric about sin²θ₂₃ = 0.51. The shares on either "
        "side of the line at 1/2 are the probabilities of the octants; learned and true cross "
        "section should agree on them.",
    ),
    "asimov": Caption(
        RESULT,
        "Posteriors on expected data",
        "The same analysis on data without fluctuations. What separates the two curves is the"
        " learned cross section alone; the shift is their 1-Wasserstein distance in standard "
        "deviations of the grey one.",
    ),
    "predictive": Caption(
        RESULT,
        "Observed and predicted spectra (learned cross section)",
        "Points should scatter about the bands, about two in three inside the darker one, and"
        " the pulls should show no trend along the axes.",
    ),
    "predictive_truth": Caption(
        RESULT,
        "Observed and predicted spectra (true cross section)",
        "For comparison: what the same events look like to the cross section that made them.",
    ),
    "budget": Caption(
        SYSTEMATICS,
        "Contributions of the systematics to the uncertainties",
        "Each bar is the part of the standard deviation that comes on top of statistics, in "
        "quadrature, with one group of systematics on. Alone they need not add up to what they do "
        "together, because the data constrain them jointly. The outline is the standard deviation "
        "with everything on.",
    ),
    "pulls": Caption(
        SYSTEMATICS,
        "Nuisance parameters after the fit",
        "Left: mean and standard deviation in units of the prior's, whose band is grey. A short "
        "line is a parameter that the data measure; one far from the band's middle has been "
        "pulled there. Right: correlations with the oscillation parameters. Long bars are what "
        "limits the result.",
    ),
    "joint": Caption(
        SYSTEMATICS,
        "Near and far data as one model: the flux",
        "Mean and standard deviation of each nuisance of the flux in units of the prior's, whose "
        "band is light grey: given the near data alone (dark band), given the far data alone as in "
        "two steps (open circle), and given both. Where the line is shorter than the dark band, far"
        " data add to what near data tell of the flux. Right: correlations with the oscillation "
        "parameters.",
    ),
    "sources": Caption(
        SYSTEMATICS,
        "Far spectrum from each source of the learned cross section",
        "Lines are posterior means over the truth, bands hold 68 %; the sources should agree "
        "within them, and the bands should cover one. Below: half the width of the bands beside "
        "the statistical error of the events in a bin, both in percent.",
    ),
    "cancellation": Caption(
        SYSTEMATICS,
        "How much of the flux uncertainty cancels between near and far",
        "Relative uncertainty of the far spectrum from the shape of the flux. A flux that is wrong"
        " at the near detector is absorbed by the cross section that is learned with it, which "
        "undoes most of the error at the far one. In brackets: root mean square over the far "
        "events.",
    ),
    "comparison": Caption(
        SYSTEMATICS,
        "Learned cross section against an assumed one",
        "Grey: with the cross section that made the events. Orange: with the learned one. Blue: "
        "with a wrong one taken for granted. Regions hold 68 % and 95 % of the posterior, the star "
        "is the value the events were made with. The learned region should lie on the grey one and "
        "not share the bias of the blue one.",
    ),
    "density_near": Caption(
        LEARNING,
        "Near-detector event density",
        "The network is trained to reproduce the left panel. Look for structure in the "
        "difference: stripes or blobs are what it has not learned, fine noise is harmless.",
    ),
    "density_far": Caption(
        LEARNING,
        "Far-detector event density at the true parameters",
        "Not used in training. Oscillation takes out the events around the first maximum, "
        "which weights energies otherwise than the near detector does: the difference shows "
        "how well what was learned carries over.",
    ),
    "slices": Caption(
        LEARNING,
        "Cross section at fixed neutrino energies",
        "Near-detector data hold no single neutrino energy; that the slices agree is the work"
        " of the structure functions. Differences are largest where the flux is small.",
    ),
    "total_cross_section": Caption(
        LEARNING,
        "Total cross section over energy",
        "The scale of the learned curve is fixed to the flux average, to which the analysis "
        "is blind. Where there is flux (shaded) the ratio should be flat; beyond it, it is "
        "free to wander.",
    ),
    "cross_section_ratio": Caption(
        LEARNING,
        "Cross section of electron over that of muon neutrinos",
        "What near data leave open of it. Leptons share five functions; electrons see three of "
        "them, muons two more, in proportion to their mass squared. Where the band includes one, "
        "the uncertainty covers the difference.",
    ),
    "structure_functions": Caption(
        LEARNING,
        "Structure functions",
        "The three combinations b₀, b₁, b₂ of structure functions that the cross section is "
        "made of, each on its own scale. Large differences here need not matter: see the next"
        " figure.",
    ),
    "structure_functions_weighted": Caption(
        LEARNING,
        "Structure functions as the near detector sees them",
        "The same, times the near detector's weights, on one scale: the three panels of a "
        "column add up to the event density in (x, Q²). Only what is left of the difference "
        "here can shift the result.",
    ),
    "training": Caption(
        LEARNING,
        "Training",
        "Left: the loss, the only quantity that training sees. Right: distances from the truth. "
        "Only the near density is trained on; the others are tests, and should be falling or flat "
        "at the end.",
    ),
    "trace_learned": Caption(
        CHAINS,
        "Traces (learned cross section)",
        "Chains should be indistinguishable noise without drift; ticks at the bottom mark "
        "divergences.",
    ),
    "rank_learned": Caption(
        CHAINS,
        "Ranks (learned cross section)",
        "Departure of each chain's ranks from uniform. Chains that sample the same posterior "
        "stay close to zero; dots mark ranks that a test finds suspicious.",
    ),
    "trace_truth": Caption(CHAINS, "Traces (true cross section)", "As above."),
    "rank_truth": Caption(CHAINS, "Ranks (true cross section)", "As above."),
}

_MEASURED_REGIONS: Final = (
    "Orange: with the learned cross section. Blue, if there: with the assumed one. Regions hold "
    "68 % and 95 % of the posterior"
)

# The same where data come from files: nothing there is known to be true
MEASURED: Final[dict[str, Caption]] = {
    "posterior": Caption(
        RESULT,
        "Posterior of the oscillation parameters",
        f"{_MEASURED_REGIONS}; points are maximum-likelihood estimates of bootstrap samples. The "
        "regions end at sin²2θ₂₃ = 1, the physical bound.",
    ),
    "octant": Caption(
        RESULT,
        "Octant of θ₂₃",
        "Muon-neutrino disappearance measures cos²θ₁₃ sin²θ₂₃ up to the exchange with one minus "
        "itself, so there are two solutions, symmetric about sin²θ₂₃ = 0.51. The shares on either "
        "side of the line at 1/2 are the probabilities of the octants.",
    ),
    "comparison": Caption(
        SYSTEMATICS,
        "Learned cross section against an assumed one",
        f"{_MEASURED_REGIONS}.",
    ),
    "sources": Caption(
        SYSTEMATICS,
        "Uncertainty of the far spectrum from the learned cross section",
        "The band holds 68 %. Below: half its width beside the statistical error of the events in "
        "a bin, both in percent.",
    ),
    "near_fit": Caption(
        LEARNING,
        "Near-detector counts and how the learned cross section fits them",
        "Left: the counts over the size of the bins. Middle: their pulls from what the learned "
        "cross section predicts, which should show neither stripes nor blobs. Right: the pulls "
        "should spread as the line; they are narrower where the fit follows fluctuations.",
    ),
    "total_cross_section": Caption(
        LEARNING,
        "Learned total cross section over energy",
        "In units of its average over the flux: the analysis is blind to its size. Trust it "
        "where there is flux (shaded).",
    ),
    "training": Caption(
        LEARNING,
        "Training",
        "Left: the loss, the only quantity that training sees. Right: χ² of the near-detector "
        "counts, which should end near one per bin.",
    ),
}


_EVENT_REGIONS: Final = (
    "Grey: with the generator's own template. Orange: with the learned cross section. Blue, if "
    "there: with the assumed one. Regions hold 68 % and 95 % of the posterior"
)

# The same where nature is a generator's events: its template stands where the truth would
GENERATED: Final[dict[str, Caption]] = {
    "posterior": Caption(
        RESULT,
        "Posterior of the oscillation parameters",
        f"{_EVENT_REGIONS}; points are maximum-likelihood estimates of bootstrap samples, the star "
        "is the value that the events were weighted with. The regions end at sin²2θ₂₃ = 1, the "
        "physical bound.",
    ),
    "octant": MEASURED["octant"],
    "asimov": Caption(
        RESULT,
        "Posteriors on expected data",
        "The same analysis on data without fluctuations of their own: the generator's template at "
        "the values put in. The shift is the 1-Wasserstein distance of the learned curve from the "
        "template's, in standard deviations of the learned one. It holds the statistics of both "
        "parts of the events.",
    ),
    "comparison": Caption(
        SYSTEMATICS,
        "Learned cross section against an assumed one",
        f"{_EVENT_REGIONS}.",
    ),
    "sources": Caption(
        SYSTEMATICS,
        "Far spectrum from the learned cross section",
        "The line is the posterior mean over the generator's template, the band holds 68 %. Below: "
        "half the width of the band beside the statistical error of the events in a bin, both in "
        "percent.",
    ),
    "near_fit": MEASURED["near_fit"],
    "far_spectrum": Caption(
        LEARNING,
        "Expected far spectrum, not used in training",
        "At the oscillation parameters put in: the generator's template, of events that the near "
        "detector has not seen, and the learned cross section. Below, their ratio, with the "
        "statistical errors of the data and of the template.",
    ),
    "total_cross_section": Caption(
        LEARNING,
        "Total cross section over energy",
        "Points are the generator's, with their statistical errors; the band is the 68 % band of "
        "the learned one's modes. Both have the same average over the flux, to which the analysis "
        "is blind. Trust them where there is flux (shaded).",
    ),
    "training": MEASURED["training"],
}


# What data are made from: a nature whose cross section is known, files of data of which no truth is
# known, or events of a generator, whose own template stands for the truth
type Origin = Literal["simulated", "measured", "generated"]


def caption(stem: str, origin: Origin = "simulated") -> Caption:
    """Return place and words of a figure; one that is not known stands last, under its own name.

    Args:
        stem: of the figure's file; after a double underscore it may name a target.
        origin: of the data.
    """
    stem, _, sample = stem.partition(OF_SAMPLE)
    stem, _, target = stem.partition("__")
    found = FIGURES.get(stem, Caption(FURTHER, stem.replace("_", " "), ""))
    if origin != "simulated":
        found = (MEASURED if origin == "measured" else GENERATED).get(stem, found)
    if target:
        found = found._replace(title=f"{found.title} ({target.replace('_', ' ')})")
    return found._replace(title=f"{found.title}: {sample_words(sample)}") if sample else found


def place(stem: str) -> int:
    """Return the place of a figure in the order of the report; the same for all samples."""
    order = list(dict.fromkeys([*FIGURES, *MEASURED, *GENERATED]))
    base = stem.partition(OF_SAMPLE)[0].partition("__")[0]
    return order.index(base) if base in order else len(order)


def sample_words(name: str) -> str:
    """Return how a sample or a target is written: "ν̄μ → ν̄e" for "anti_mu_to_e", "νe" for "e"."""
    neutrino = "ν̄" if name.startswith("anti_") else "ν"
    flavors = name.removeprefix("anti_").split("_to_")
    return " → ".join(f"{neutrino}{_FLAVORS.get(flavor, flavor)}" for flavor in flavors)


_FLAVORS: Final = {"e": "e", "mu": "μ", "tau": "τ"}
