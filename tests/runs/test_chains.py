"""Chains in pieces on the disk: interrupted anywhere, damaged anywhere, the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr

from bayesxs.inference.sampling import NutsSampler, SamplerSettings
from bayesxs.runs.chains import ChainPieces, Posterior, write_posterior
from bayesxs.storage.netcdf import read_tree, tree_writer
from bayesxs.storage.run_folder import RunFolder, Stage

SETTINGS = SamplerSettings(
    chains=2, warmup=100, draws=300, target_accept=0.8, record_every=50, first_chain=3
)
ENDS = [50, 100, 150, 200, 250, 300, 350, 400]
DATA = np.array([0.3, -0.2, 0.5])


def model(data: Any) -> None:
    """A parameter, one that is folded about 1/2, and two nuisances."""
    shift = numpyro.sample("nuisance", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
    dm31 = numpyro.sample("dm31", dist.Normal(0.0, 1.0))
    offset = numpyro.sample("s2_23_offset", dist.Uniform(-0.5, 0.5))
    numpyro.deterministic("octant_log_odds", 4.0 * offset)
    numpyro.factor("data", -0.5 * jnp.sum((data - dm31 - 0.3 * shift.sum()) ** 2))


@pytest.fixture(scope="module")
def sampler() -> NutsSampler:
    return NutsSampler(model, SETTINGS)


type Sample = Callable[..., list[int]]


@pytest.fixture
def sample(sampler: NutsSampler) -> Sample:
    """Sample into a stage until so many pieces are made; return the steps at their ends."""

    def run(stage: Stage, pieces: int | None = None) -> list[int]:
        kept = ChainPieces(stage, "events-truth", SETTINGS)
        made = []
        drawn = sampler.pieces((DATA,), jax.random.key(1), resume=kept.resume())
        for piece in islice(drawn, pieces):
            kept.save(piece)
            made.append(piece.done)
        return made

    return run


def assembled(stage: Stage, path: Path) -> xr.DataTree:
    """Return the file of the chains."""
    pieces = ChainPieces(stage, "events-truth", SETTINGS)
    with tree_writer(path) as writer:
        posterior = Posterior("events_truth", pieces, jax.random.key(2), ["a", "b"], {})
        write_posterior(writer, posterior)
    return read_tree(path)["events_truth"]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with RunFolder.create(tmp_path / "run") as folder:
        yield Stage(folder, "sample", "key")


@pytest.fixture(scope="module")
def whole(sampler: NutsSampler, tmp_path_factory: pytest.TempPathFactory) -> xr.DataTree:
    """The chains of a run without interruption."""
    path = tmp_path_factory.mktemp("whole")
    with RunFolder.create(path / "run") as folder:
        stage = Stage(folder, "sample", "key")
        kept = ChainPieces(stage, "events-truth", SETTINGS)
        for piece in sampler.pieces((DATA,), jax.random.key(1)):
            kept.save(piece)
        return assembled(stage, path / "chains.nc")


def assert_same(one: xr.DataTree, other: xr.DataTree) -> None:
    for group in ("posterior", "sample_stats"):
        xr.testing.assert_equal(one[group].to_dataset(), other[group].to_dataset())


def test_the_file_holds_what_the_sampler_draws(sampler: NutsSampler, whole: xr.DataTree) -> None:
    draws = sampler.run((DATA,), jax.random.key(1))
    posterior = whole["posterior"].dataset
    assert dict(posterior.sizes) == {"chain": 2, "draw": 300, "nuisance_name": 2}
    assert list(posterior.chain.values) == [3, 4]
    assert list(posterior.draw.values) == list(range(300))
    assert list(posterior.nuisance_name.values) == ["a", "b"]
    np.testing.assert_array_equal(posterior["dm31"], draws.sites["dm31"])
    np.testing.assert_array_equal(posterior["nuisance"], draws.sites["nuisance"])
    offset = np.abs(posterior["sin2_theta23"] - 0.5)
    np.testing.assert_allclose(offset, np.abs(draws.sites["s2_23_offset"]), atol=1e-15)
    for name, values in draws.statistics.items():
        np.testing.assert_array_equal(whole["sample_stats"][name], values)


def test_the_octant_of_a_draw_depends_on_its_numbers_only(whole: xr.DataTree) -> None:
    """Frequencies follow the odds: 600 draws, within four binomial errors."""
    posterior = whole["posterior"].dataset
    upper = (posterior["sin2_theta23"] > 0.5).values
    expected = posterior["octant_upper_probability"].values
    error = np.sqrt((expected * (1.0 - expected)).sum())
    assert abs(upper.sum() - expected.sum()) < 4.0 * error


@pytest.mark.parametrize("made", [1, 2, 5, 8])
def test_an_interrupted_run_repeats_nothing(
    made: int, stage: Stage, sample: Sample, whole: xr.DataTree, tmp_path: Path
) -> None:
    assert sample(stage, made) == ENDS[:made]
    assert sample(stage) == ENDS[made:]
    assert_same(assembled(stage, tmp_path / "chains.nc"), whole)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-9] ^= 1  # in the last number
    path.write_bytes(content)


def of_another_key(path: Path) -> None:
    content = path.read_bytes()
    marked = b'"content_key":"key"'
    assert marked in content
    path.write_bytes(content.replace(marked, b'"content_key":"yek"'))


@pytest.mark.parametrize("end", [100, 200, 400])
@pytest.mark.parametrize(
    "harm",
    [
        Path.unlink,
        flip,
        of_another_key,
        lambda path: path.write_bytes(path.read_bytes()[:-20]),
        lambda path: path.write_bytes(b""),
    ],
    ids=["missing", "changed", "foreign", "cut", "empty"],
)
def test_pieces_count_only_if_whole(
    harm: Callable[[Path], Any],
    end: int,
    stage: Stage,
    sample: Sample,
    whole: xr.DataTree,
    tmp_path: Path,
) -> None:
    sample(stage)
    path = stage.folder.checkpoint_path("sample", f"events-truth-{end:010d}")
    harm(path)
    assert sample(stage) == [e for e in ENDS if e >= end]
    assert_same(assembled(stage, tmp_path / "chains.nc"), whole)


def test_pieces_of_others_are_left_alone_and_foreign_ones_removed(
    stage: Stage, sample: Sample
) -> None:
    sample(stage, 4)
    folder = stage.folder.checkpoint_path("sample").parent
    stage.save_checkpoint({}, label="events-truth-2-0000000050")
    stage.save_checkpoint({}, label="events-learned-0000000050")
    other = Stage(stage.folder, "sample", "another card")
    assert ChainPieces(other, "events-truth", SETTINGS).resume() is None
    left = sorted(path.stem for path in folder.iterdir())
    assert left == ["events-learned-0000000050", "events-truth-2-0000000050"]


def test_the_pieces_go_with_the_end_of_the_stage(sample: Sample, tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run") as folder:
        with folder.stage("sample", "key") as stage:
            sample(stage)
            assembled(stage, stage.output("chains.nc"))
            assert stage.earlier_seconds == 0.0  # reading its own pieces is no interruption
        assert not (folder.path / "checkpoints").exists()
        folder.check_outputs("sample")
