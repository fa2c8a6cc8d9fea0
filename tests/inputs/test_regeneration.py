"""The embedded tables of parton densities, evolved anew."""

import importlib.resources
import sys

import numpy as np
import pytest

from bayesxs.errors import InputError
from bayesxs.inputs import ct18, les_houches

both = pytest.mark.parametrize(
    ("module", "name"),
    [(ct18, "ct18nnlo.npz"), (les_houches, "les_houches.npz")],
    ids=["ct18", "les_houches"],
)


@both
def test_regeneration_reproduces_the_embedded_table(module, name, tmp_path):
    pytest.importorskip("hoppet", reason="the extra hoppet is not installed")
    module.regenerate(tmp_path / name)
    resource = importlib.resources.files("bayesxs.data") / name
    with (
        resource.open("rb") as stream,
        np.load(stream, allow_pickle=False) as embedded,
        np.load(tmp_path / name, allow_pickle=False) as table,
    ):
        assert set(table) == set(embedded)
        for key in ("x", "q2", "flavors"):
            np.testing.assert_allclose(table[key], embedded[key], rtol=1e-12)
        np.testing.assert_allclose(table["xf"], embedded["xf"], rtol=1e-5, atol=1e-12)


@both
def test_regeneration_without_hoppet(module, name, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "hoppet", None)
    with pytest.raises(InputError, match="the module hoppet is not installed"):
        module.regenerate(tmp_path / name)
    assert not (tmp_path / name).exists()
