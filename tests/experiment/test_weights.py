"""Weight files of others: whatever is in them, one line, or networks that give numbers."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import safetensors.numpy

from bayesxs.constants import MUON_MASS
from bayesxs.errors import InputError
from bayesxs.experiment.weights import read_networks, write_networks
from bayesxs.learning.heads import Lepton
from bayesxs.learning.network import Architecture, array_shapes, create_network, network_arrays

MODELS = Path(__file__).resolve().parents[2] / "models"
KIND = Architecture(layers=1, width=8)
CONDITIONS = {"beam": "neutrino", "energy_min_GeV": 0.5, "energy_max_GeV": 10.0}
# Files of others that were refused with a traceback, or not at all
NONSENSE = [
    ("weights-017237fc", "members.mu = 1: a number of networks"),
    ("weights-1442f548", "mu/0/layers/1/bias = "),
    ("weights-1dba4d04", "layers/0/bias is int64 (8,), must be float64 (8,)"),
    ("weights-b38c98ad", "NaN or infinity"),
    ("weights-bab7274c", "conditions: not JSON of this package: nested too deep"),
    ("weights-bc0a6e10", "conditions = 0: must be a table"),
    ("weights-c68c4757", "damaged header: activation = [[["),
    ("weights-cf04350c", "mu/0/layers/0/bias = C64: an array of one of F64, "),
    ("weights-db29c370", r"activation = \x1b[31m"),
    ("weights-f89de559", "members = 0: must be a table"),
    ("weights-ffefa0df", "members.mu = 0: a number of networks"),
]


@pytest.fixture(scope="module")
def networks() -> list[Any]:
    return [create_network(KIND, jax.random.key(n)) for n in range(2)]


@pytest.fixture
def path(networks: list[Any], tmp_path: Path) -> Path:
    write_networks(tmp_path / "w.safetensors", {"mu": networks}, CONDITIONS)
    return tmp_path / "w.safetensors"


def change(path: Path, arrays: dict[str, Any] | None = None, **metadata: str) -> None:
    """Change arrays and the header of a weight file; an array that is None goes."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])["__metadata__"] | metadata
    held = safetensors.numpy.load(content) | (arrays or {})
    kept = {name: array for name, array in held.items() if array is not None}
    path.write_bytes(safetensors.numpy.save(kept, metadata=header))


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_networks(path, ["mu"], CONDITIONS)
    line = str(caught.value)
    assert line.isprintable()
    assert len(line) <= 300
    return line


def test_networks_are_seen_by_the_lepton_of_their_target(tmp_path: Path) -> None:
    kind = Architecture(layers=1, width=4, inputs="ridge", head="psd")
    leptons = {"mu": Lepton(MUON_MASS), "anti_mu": Lepton(MUON_MASS, -1), "e": Lepton(0.000511)}
    made = {name: [create_network(kind, jax.random.key(1), one)] for name, one in leptons.items()}
    write_networks(tmp_path / "w.safetensors", made, CONDITIONS)
    read = read_networks(tmp_path / "w.safetensors", list(leptons), CONDITIONS)
    x, q2 = np.array([0.1, 1.4]), np.array([0.02, 0.5])
    values = {name: np.asarray(network(x, q2)) for name, network in read.items()}
    np.testing.assert_array_equal(values["anti_mu"], made["anti_mu"][0](x, q2))
    assert not np.allclose(values["mu"], values["anti_mu"], rtol=1e-2)
    assert not np.allclose(values["mu"], values["e"], rtol=1e-2)


def test_weights_of_another_phase_space_are_refused(networks: list[Any], tmp_path: Path) -> None:
    """Also those of a file that was written before there were others than x < 1."""
    path = tmp_path / "w.safetensors"
    write_networks(path, {"mu": networks}, CONDITIONS | {"x_max": 3.0})
    assert list(read_networks(path, ["mu"], CONDITIONS | {"x_max": 3.0})) == ["mu"]
    for asked in (1.0, 2.0):
        with pytest.raises(InputError, match=rf"x_max = {asked}: .* trained for 3"):
            read_networks(path, ["mu"], CONDITIONS | {"x_max": asked})
    old = MODELS / "dune-toy.safetensors"
    assert list(read_networks(old, ["mu"], CONDITIONS | {"x_max": 1.0})) == ["mu"]
    with pytest.raises(InputError, match=r"x_max = 3\.0: .* trained for 1"):
        read_networks(old, ["mu"], CONDITIONS | {"x_max": 3.0})


def test_weights_of_ridges_that_name_no_phase_space_are_refused(tmp_path: Path) -> None:
    kind = Architecture(layers=1, width=4, inputs="ridge", head="psd")
    made = {"mu": [create_network(kind, jax.random.key(1), Lepton(MUON_MASS))]}
    write_networks(tmp_path / "w.safetensors", made, CONDITIONS)
    with pytest.raises(InputError, match="does not say for which"):
        read_networks(tmp_path / "w.safetensors", ["mu"], CONDITIONS | {"x_max": 3.0})


def test_networks_come_back(path: Path, networks: list[Any]) -> None:
    x, q2 = np.array([0.01, 0.3]), np.array([0.2, 4.0])
    read = read_networks(path, ["mu"], CONDITIONS)["mu"]
    np.testing.assert_array_equal(read(x, q2), sum(n(x, q2) for n in networks) / 2)


@pytest.mark.parametrize("inputs", ["auto", "plain", "multi", "ridge"])
@pytest.mark.parametrize("head", ["auto", "psd"])
def test_the_shapes_that_a_file_must_have_are_those_of_a_network(inputs: Any, head: Any) -> None:
    kind = Architecture(layers=2, width=5, inputs=inputs, head=head, precision="float32")
    arrays = network_arrays(create_network(kind, jax.random.key(0)))
    assert {name: array.shape for name, array in arrays.items()} == array_shapes(kind)


@pytest.mark.parametrize(
    ("name", "array", "line"),
    [
        ("mu/1/layers/0/bias", np.full(8, np.nan), "mu/1: layers/0/bias holds NaN or infinity"),
        ("mu/0/scale", np.array(np.inf), "mu/0: scale holds NaN or infinity"),
        ("mu/0/scale", np.array(0.0), "mu: the network gives zero everywhere"),
        ("mu/0/scale", np.array(1e308), "mu: the network gives NaN or infinity"),
        ("mu/1/layers/1/kernel", None, "mu/1: layers/1/kernel is missing"),
        ("mu/0/layers/0/bias", np.zeros(7), "is float64 (7,), must be float64 (8,)"),
        ("mu/0/layers/0/bias", np.zeros(8, np.float32), "is float32 (8,), must be float64 (8,)"),
    ],
)
def test_arrays_are_those_of_a_network(
    name: str, array: Any, line: str, path: Path, networks: list[Any]
) -> None:
    if name == "mu/0/scale":
        arrays = {name: array, "mu/1/scale": array}
        arrays |= {f"mu/{k}/layers/1/bias": np.full(3, 700.0) for k in (0, 1)}
        change(path, arrays)
    else:
        change(path, {name: array})
    assert line in refusal(path)


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("format", "other", "format = other: must be bayesxs-network-1"),
        ("width", "99999", "must be float64 (5, 99999)"),
        ("layers", "999", "layers/1/kernel is "),
        ("layers", "1_0", "damaged header: layers = 1_0"),
        ("layers", "²", "damaged header: layers = ²"),
        ("width", "9" * 5000, "damaged header: width = 999"),
        ("members", '{"mu": true}', "members.mu = True: a number of networks"),
        ("members", '{"mu": 3}', "mu/2: "),
        ("members", '{"mu": 1e99}', "members.mu = 1e+99"),
        ("members", '{"mu": ' + "9" * 5000 + "}", "of at most 64 bits"),
        ("members", '{"e": 1}', "target = mu: the file holds e"),
        ("members", "", "members: line 1: not JSON"),
        ("conditions", "[[", "conditions: line 1: not JSON"),
        ("conditions", '{"beam": "antineutrino"}', "the weights were trained for antineutrino"),
    ],
)
def test_headers_are_those_of_a_network(key: str, value: str, line: str, path: Path) -> None:
    change(path, **{key: value})
    tracemalloc.start()
    assert line in refusal(path)
    assert tracemalloc.get_traced_memory()[1] < 50_000_000  # a claimed size is not made
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("header", "line"),
    [
        (b"[]", "the header is no table"),
        (b"\xff", "the header is no text"),
        (b'{"__metadata__": 0}', "__metadata__ is no table of texts"),
        (b'{"__metadata__": {"a": 0}}', "__metadata__ is no table of texts"),
        (b'{"a": 0}', "a = 0: an array of one of F64"),
        (b'{"a": {"dtype": "F4"}}', "a = F4: an array of one of F64"),
        (b'{"a": {"dtype": ["F64"]}}', "a = ['F64']: an array of one of F64"),
        (b'{"a": {"dtype": "F64"}}', "not a whole safetensors file"),
        (b'{"a": {"dtype": "F64", "shape": [-1], "data_offsets": [0, 8]}}', "not a whole"),
        (b'{"a": {"dtype": "F64", "shape": [1], "data_offsets": [8, 0]}}', "not a whole"),
        (b'{"a": {"dtype": "F64", "shape": [9999999999], "data_offsets": [0, 8]}}', "not a whole"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"a": NaN}', "number = NaN: finite, or null"),
    ],
)
def test_damaged_headers(header: bytes, line: str, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    assert line in refusal(path)
    path.write_bytes((1 << 62).to_bytes(8, "little") + header)
    assert "a header of 4611686018427387904 bytes" in refusal(path)


def test_files_that_are_no_weights_by_their_size(path: Path) -> None:
    with path.open("ab") as file:
        file.truncate(10**12)  # without a block of the disk
    assert "size = 1e+06 MB: at most 200 MB" in refusal(path)


@pytest.mark.parametrize(("name", "line"), NONSENSE)
def test_files_that_failed(name: str, line: str, reference: Path) -> None:
    file = reference / "cases" / "fuzz" / f"{name}.safetensors"
    if not file.exists():
        pytest.skip(f"{file} is not there")
    assert line in refusal(file)


@pytest.mark.parametrize("where", ["inside", "behind"])
def test_a_hundred_megabytes_are_read_fast(where: str, reference: Path, tmp_path: Path) -> None:
    file = reference / "cases" / "fuzz" / "weights-648dd98f.safetensors"
    if not file.exists():
        pytest.skip(f"{file} is not there")
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    filling = b" " * 100_000_000
    if where == "inside":  # of the header
        new = (length + len(filling)).to_bytes(8, "little")
        content = new + content[8 : 8 + length] + filling + content[8 + length :]
    else:
        content += filling
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    assert "not a whole safetensors file" in refusal(path)
