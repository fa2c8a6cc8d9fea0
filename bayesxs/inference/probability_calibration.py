"""Calibration of probabilities: of what has probability p, a part p should happen."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesxs.types import Floats

# Of the bins of probability: nearly certain, likely, even
_EDGES: Final = (0.0, 0.02, 0.1, 0.3, 0.7, 0.9, 0.98, 1.0)


class Probabilities(NamedTuple):
    """Probabilities that were claimed, and what happened.

    Attributes:
        claimed: (experiments,).
        happened: whether it did, (experiments,).
    """

    claimed: Floats
    happened: NDArray[np.bool_]

    def pit(self, rng: np.random.Generator) -> Floats:
        """Return numbers that are uniform where probabilities are calibrated, (experiments,).

        Within [0, 1 - p) where it did not happen, within [1 - p, 1) where it did: the randomised
        transform of a discrete variable (Czado, Gneiting and Held 2009, Biometrics 65, 1254).
        """
        part = rng.uniform(size=self.claimed.shape)
        p = self.claimed
        return np.where(self.happened, (1.0 - p) + p * part, (1.0 - p) * part)

    def judged(self) -> dict[str, Any]:
        """Return two statistics that are standard normal where calibrated, and bins.

        `bias`: sum (o - p) over its standard deviation; `sharpness`, Spiegelhalter's (1986, Stat.
        Med. 5, 421), sum (o - p)(1 - 2p) over its own: above zero where probabilities claim too
        much. In each bin of the probability: number, mean probability, part that happened, and the
        error of that.
        """
        p, o = self.claimed, self.happened.astype(float)
        variance = p * (1.0 - p)
        weight = 1.0 - 2.0 * p
        bias = np.sum(o - p) / np.sqrt(max(np.sum(variance), 1e-300))
        spread = np.sqrt(max(np.sum(weight**2 * variance), 1e-300))
        bins = []
        places = np.clip(np.digitize(p, _EDGES) - 1, 0, len(_EDGES) - 2)
        for place in range(len(_EDGES) - 1):
            own = places == place
            if np.any(own):
                bins.append(
                    {
                        "low": _EDGES[place],
                        "high": _EDGES[place + 1],
                        "number": int(own.sum()),
                        "mean": float(p[own].mean()),
                        "fraction": float(o[own].mean()),
                        "error": float(np.sqrt(np.sum(variance[own])) / own.sum()),
                    }
                )
        sharpness = np.sum((o - p) * weight) / spread
        return {"bias": float(bias), "sharpness": float(sharpness), "bins": bins}


def probabilities(claimed: ArrayLike, happened: ArrayLike) -> Probabilities:
    """Return probabilities that were claimed, and what happened.

    Raises:
        ValueError: not equally many, or outside of 0 to 1.
    """
    p, o = np.asarray(claimed, float), np.asarray(happened, bool)
    if p.shape != o.shape or p.ndim != 1 or not np.all((p >= -1e-9) & (p <= 1.0 + 1e-9)):
        raise ValueError(f"probabilities {p.shape} of events {o.shape}: equally many, 0 to 1")
    return Probabilities(np.clip(p, 0.0, 1.0), o)
