"""Every example of a public docstring, and of the pages on own models, is executed.

They share one tiny experiment, whose names `docs/reference/python.md` tells the reader.
"""

from __future__ import annotations

import doctest
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import bayesxs

PAGES = Path(__file__).parents[2] / "docs" / "howto"

# Of a finished run, which the tests of whole runs have: tests/end_to_end/test_examples.py
OF_RUNS = {"Run", "run", "open_run"}

# A text has no docstring of its own
NAMES = [name for name in bayesxs.__all__ if name != "__version__"]

SHORT = bayesxs.Training(schedule=bayesxs.Schedule(adam_steps=3, lbfgs_steps=0))

# What an example's own arrays must be told of, in the docstring of the name or of its members
ARRAYS = {
    "FarData",
    "Flux",
    "LearnedCrossSection",
    "Likelihood",
    "Nucleus",
    "ParametricFluxUncertainty",
    "QuarkParton",
    "TabulatedFluxUncertainty",
    "flux",
    "near_counts",
    "probability",
}


def examples(name: str) -> doctest.DocTest:
    """Return the examples of a public docstring."""
    text = inspect.getdoc(getattr(bayesxs, name)) or ""
    return doctest.DocTestParser().get_doctest(text, {}, name, name, 0)


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """The names that examples share."""
    exp = bayesxs.Experiment(
        bayesxs.dune_flux("neutrino"),
        bayesxs.QuarkParton(bayesxs.ct18nnlo(), protons=18, neutrons=22),
        energy_range=(1.0, 4.0),
        grid=bayesxs.Grid(1, 12, 12, 12, 12, far_bins=(8, 6)),
    )
    near = exp.near_data()
    xsec = bayesxs.learn(near, training=SHORT, progress=False)
    data = exp.simulate(events=50, key=1)
    far = exp.likelihood(data, xsec)
    return {
        "bayesxs": bayesxs,
        "np": np,
        "exp": exp,
        "near": near,
        "xsec": xsec,
        "data": data,
        "far": far,
    }


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in a folder of its own; double precision and environment stay as they are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=1")
    (tmp_path / "runs" / "empty").mkdir(parents=True)
    before = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_has_an_example(name: str) -> None:
    assert examples(name).examples


@pytest.mark.parametrize("name", sorted(ARRAYS))
def test_arrays_have_shapes_and_units(name: str) -> None:
    thing = getattr(bayesxs, name)
    text = inspect.getdoc(thing) or ""
    if inspect.isclass(thing):
        members = [m for n, m in vars(thing).items() if not n.startswith("_")]
        text += "".join(inspect.getdoc(m) or "" for m in members if callable(m))
    assert re.search(r"\bshape|\(\.\.\., |\(K, E\)", text)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OF_RUNS])
def test_examples_of_public_names(name: str, names: dict[str, Any]) -> None:
    test = examples(name)
    test.globs = dict(names)
    run(test)


def run(test: doctest.DocTest) -> None:
    """Execute the examples of a docstring.

    Raises:
        doctest.DocTestFailure: one gives something else.
    """
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    doctest.DebugRunner(optionflags=flags).run(test)


# Blocks that these words begin or fill take the shared names, or need a finished run
MADE_ALREADY = ("bayesxs.learn(", "bayesxs.open_run(")


@pytest.mark.parametrize("page", ["own_model", "own_nature", "own_nuisance"])
def test_the_code_of_a_page_runs(page: str, names: dict[str, Any]) -> None:
    text = (PAGES / f"{page}.md").read_text()
    scope = dict(names)
    executed = 0
    for block in re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        code = block.replace("num_warmup=500, num_samples=500", "num_warmup=5, num_samples=5")
        if any(word in code for word in MADE_ALREADY):
            continue
        exec(compile(code, f"{page}.md", "exec"), scope)
        executed += 1
    assert executed >= 3
    if page == "own_model":
        bins = sum(b.size for b in names["far"].bins)
        assert scope["prior"]["far"].shape == (10, bins)
        assert scope["posterior"]["far"].shape == (10, bins)
        assert np.isfinite(scope["slope"])
    if page == "own_nature":
        assert scope["near"].detectors["mu"].observed.sum() == 350 + 420 + 510 + 380
        check_natures(scope)


def check_natures(scope: dict[str, Any]) -> None:
    """Own structure functions and PDFs are what the experiment is made of."""
    x, q2 = np.array([0.1, 0.4]), np.array([1.0, 3.0])
    (target,) = scope["exp"].unique_targets
    found = np.asarray(target.truth(x, q2))
    own = scope["nature"].structure_functions(target.sample.lepton_mass, False)
    np.testing.assert_array_equal(found, np.asarray(own(x, q2)))
    assert scope["xf"](x, q2, (1, 2, 3)).shape == (2, 3)
    assert np.all(found[:, 0] > 0.0)
