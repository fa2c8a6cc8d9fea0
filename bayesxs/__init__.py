"""Bayesian inference for neutrino experiments with learned cross sections."""
