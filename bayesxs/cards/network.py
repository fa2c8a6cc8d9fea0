"""The sections `[network]` and `[training]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bayesxs.cards.section import Section, conflict


class NetworkCard(Section):
    """The network that stands for the structure functions."""

    weights: str = ""
    """File of trained weights, with which training is skipped; empty for none."""
    head: Literal["auto", "helicity", "psd", "positive", "unconstrained"] = "auto"
    """Last layer.

    `helicity` and `positive`: the cross section cannot be negative. They describe the same ones;
    `helicity` knows how the masses of target and lepton enter. `psd`: five functions, a positive
    hadronic tensor for every lepton. `unconstrained`: as in the paper. `auto`: `psd` where x
    exceeds 1, else `helicity`.
    """
    inputs: Literal["auto", "multi", "ridge", "plain"] = "auto"
    """`multi`: x and Q² on several scales each, for functions that vanish with Q²; `ridge`:
    coordinates in which ridges of nuclei run straight; `plain`: the two numbers, as in the paper.
    `auto`: `ridge` where x exceeds 1, else `multi`."""
    layers: Annotated[int, Field(ge=1, le=32)] = 3
    """Hidden layers."""
    width: Annotated[int, Field(ge=1, le=4096)] = 48
    """Units of each hidden layer."""
    activation: Literal["algebraic", "silu", "leaky_relu", "tanh"] = "algebraic"
    """Activation function."""
    members: Annotated[int, Field(ge=1, le=100)] = 1
    """Networks, each trained from its own initial weights; their mean is used."""
    precision: Literal["float64", "float32"] = "float64"
    """Floating-point precision of weights and training."""
    share: Literal["none", "helicity"] = "none"
    """`helicity`: one network of five functions for the cross sections of all leptons of neutrinos,
    and one for antineutrinos, each fitted to its near samples together; `none`: a network for each
    cross section."""

    @model_validator(mode="after")
    def _check(self) -> NetworkCard:
        if self.share != "none" and self.head not in ("auto", "psd"):
            allowed = f'must be "psd" with share = "{self.share}": only it serves every lepton'
            raise conflict("head", f'"{self.head}"', allowed)
        return self


class TrainingCard(Section):
    """How the network is fitted: each method reads its own numbers of steps."""

    method: Literal["gauss_newton", "lbfgs", "adam"] = "gauss_newton"
    """Gauss-Newton, Adam followed by the quasi-Newton method L-BFGS, or Adam alone."""
    gauss_newton_steps: Annotated[int, Field(ge=0, le=100_000)] = 40
    """Gauss-Newton (Levenberg-Marquardt) steps; twice as many where x exceeds 1."""
    counted_steps: Annotated[int, Field(ge=1, le=100_000)] = 14
    """Gauss-Newton steps at most where `near.events` is finite.

    Later ones would learn the fluctuations of the counts.
    """
    adam_steps: Annotated[int, Field(ge=0, le=10_000_000)] = 500
    """Adam steps on all data."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Learning rate of Adam."""
    lbfgs_steps: Annotated[int, Field(ge=0, le=10_000_000)] = 5000
    """L-BFGS steps after those of Adam."""
    loss: Literal["binned", "unbinned"] = "binned"
    """Near data that count events: their bins, or the sum of log densities over the events.

    `unbinned` needs events one by one: those of `near.file` or of a generator, or a finite
    `near.events`.
    """
    weighting: Literal["relative", "uniform"] = "relative"
    """Weight of a bin for expected data: one over its density, or 1."""
    floor: Annotated[float, Field(gt=0, le=1)] = 0.02
    """Smallest density in the relative weights, over the largest density."""
    weight_sd: Annotated[float, Field(gt=0, le=100)] = 0.5
    """Prior standard deviation of the weights about their initial values.

    It acts where `near.events` is finite.
    """

    @model_validator(mode="after")
    def _check(self) -> TrainingCard:
        key = f"{self.method}_steps"
        if getattr(self, key) < 1:
            allowed = f'must be at least 1 with method = "{self.method}"'
            raise conflict(key, getattr(self, key), allowed)
        return self
