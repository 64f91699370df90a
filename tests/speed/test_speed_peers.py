"""Peers: names without packages, clones by their files, the tensors that they work on."""

import subprocess
import sys
from pathlib import Path

import optax
import pytest
import torch

from speed import jax as jax_speed
from speed import pytorch as pytorch_speed
from speed.peers import PEERS, installed
from speed.peers.peer import Peer
from speed.tensors import Tensor, tensors
from submissions.registry import OPTIMIZERS

REPOSITORY = Path(__file__).parents[2]
SHAPES = (
    Tensor((8, 4), "matrix"),
    Tensor((12, 4), "fused_qkv"),
    Tensor((50, 4), "embedding"),
    Tensor((4,), "vector"),
    Tensor((6, 4, 3, 3), "conv"),
    Tensor((9000, 4), "head"),
)


def peer(framework: str, make, **changes) -> Peer:
    values = {
        "name": "peer",
        "family": "soap",
        "framework": framework,
        "module": "optax" if framework == "jax" else "torch.optim",
        "attribute": "sgd",
        "source": "nowhere",
        "make": make,
    }
    return Peer(**{**values, **changes})


def test_every_peer_is_compared_with_one_of_ours():
    for name, each in PEERS.items():
        assert each.name == name
        assert OPTIMIZERS[each.family].algorithm is not None
        assert each.framework in ("jax", "pytorch")
        assert bool(each.file) == each.source.startswith("--peer_path")


def test_none_of_their_packages_is_imported_for_their_names():
    names = {each.module.split(".")[0] for each in PEERS.values()} - {"torch", "optax"}
    code = f"import sys, speed.peers; assert not {names} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, timeout=60)


# ---------------------------------------- what they work on
def make_sgd(package, parameters, refresh_every):
    make_sgd.given = [tuple(parameter.shape) for parameter in parameters], refresh_every
    return package.SGD(parameters, lr=0.5)


def test_pytorch_gives_a_peer_our_matrices_and_adamw_the_rest(monkeypatch):
    monkeypatch.setitem(PEERS, "peer", peer("pytorch", make_sgd))
    stepper = pytorch_speed.Stepper("peer", SHAPES, 7)
    before = [parameter.detach().clone() for parameter in stepper._parameters]
    stepper.prepare(1)
    stepper.step()
    assert make_sgd.given == ([(8, 4), (12, 4), (6, 4, 3, 3), (9000, 4)], 7)
    for old, new, (_, role) in zip(before, stepper._parameters, SHAPES, strict=True):
        is_sgd = torch.allclose(new, old - 0.5 * new.grad, atol=1e-7)
        assert is_sgd == (role not in ("embedding", "vector"))
        assert not torch.equal(old, new)


def test_muon_leaves_heads_out_as_ours_does(monkeypatch):
    monkeypatch.setitem(PEERS, "peer", peer("pytorch", make_sgd, family="muon"))
    pytorch_speed.Stepper("peer", SHAPES, 7)
    assert make_sgd.given[0] == [(8, 4), (12, 4), (6, 4, 3, 3)]


def test_a_peer_is_spared_what_it_cannot_take(monkeypatch):
    two = peer("pytorch", make_sgd, takes=lambda tensor: len(tensor.shape) == 2)
    monkeypatch.setitem(PEERS, "peer", two)
    pytorch_speed.Stepper("peer", SHAPES, 7)
    assert make_sgd.given[0] == [(8, 4), (12, 4), (9000, 4)]


def test_jax_gives_a_peer_our_matrices_and_adamw_the_rest(monkeypatch):
    given = []

    def make(package, tensors, refresh_every):
        given.append((list(tensors), refresh_every))
        return package.sgd(0.5)

    monkeypatch.setitem(PEERS, "peer", peer("jax", make))
    stepper = jax_speed.Stepper("peer", SHAPES, 7)
    assert given == [(list(SHAPES), 7)]
    gradients = [optax.tree_utils.tree_ones_like(x) for x in stepper._parameters]
    state = stepper._optimizer.init(stepper._parameters)
    updates, _ = stepper._optimizer.update(gradients, state, stepper._parameters)
    for update, (_, role) in zip(updates, SHAPES, strict=True):
        assert (update == -0.5).all() == (role not in ("embedding", "vector"))


def test_torchs_muon_moves_every_parameter():
    stepper = pytorch_speed.Stepper("torch_muon", tensors("llama_small", "pytorch"), 2)
    before = [parameter.detach().clone() for parameter in stepper._parameters]
    stepper.prepare(1)
    stepper.step()
    assert not any(map(torch.equal, before, stepper._parameters))
    numbers = sum(parameter.numel() for parameter in before)
    assert numbers < stepper.state_bytes() / 4 < 2 * numbers  # one or two numbers of each


def test_the_state_is_found_in_objects_too():
    class Holder:
        def __init__(self):
            self.mine, self.parent = torch.zeros(3), self

    shared = torch.zeros(5)
    assert pytorch_speed._bytes({"a": [shared, shared], "b": (Holder(), None)}, set()) == 4 * 8


# ---------------------------------------- clones and packages
@pytest.fixture
def clones(tmp_path: Path) -> list[Path]:
    """A clone with its module at the root, and one with a folder src."""
    soap, soap_jax = tmp_path / "soap_clone", tmp_path / "jax_clone"
    (soap_jax / "src" / "soap_jax").mkdir(parents=True)
    soap.mkdir()
    (soap / "soap.py").write_text("class SOAP: pass")
    (soap_jax / "src" / "soap_jax" / "__init__.py").write_text("def soap(): pass")
    (soap_jax / "src" / "soap_jax" / "soap.py").write_text("")
    return [soap, soap_jax]


def test_clones_are_known_by_their_files(clones: list[Path], tmp_path: Path):
    assert [installed.is_clone(folder) for folder in (*clones, tmp_path)] == [True, True, False]
    assert installed.paths("soap_reference", clones) == (str(clones[0]),)
    assert installed.paths("soap_jax", clones) == (str(clones[1] / "src"),)
    assert installed.paths("distributed_shampoo", clones) == ()
    assert installed.paths("torch_muon", clones) == ()
    assert installed.paths("soap", clones) == ()


def test_all_means_packages_and_the_clones_that_there_are(clones: list[Path]):
    packages = [name for name in installed.known("pytorch") if not PEERS[name].file]
    assert installed.usable("pytorch", []) == packages
    assert set(installed.usable("pytorch", clones)) == {*packages, "soap_reference"}
    assert installed.usable("jax", clones) == ["optax_contrib_muon", "soap_jax"]


def test_what_can_be_imported(clones: list[Path], monkeypatch):
    monkeypatch.setitem(PEERS, "peer", peer("jax", make_sgd, module="json", attribute="dumps"))
    assert installed.why_not("peer", sys.executable, []) is None
    assert installed.why_not("soap_reference", sys.executable, clones) is None


def test_what_cannot_be_imported_says_how_it_can(monkeypatch):
    absent = peer("pytorch", make_sgd, module="no_such_package", source="make it")
    monkeypatch.setitem(PEERS, "peer", absent)
    told = installed.why_not("peer", sys.executable, [])
    assert told is not None
    assert told.startswith(f"peer needs no_such_package ({sys.executable}: ModuleNotFoundError")
    assert told.endswith(": make it")
    assert "\n" not in told


def test_an_older_package_without_it_is_told(monkeypatch):
    monkeypatch.setitem(PEERS, "peer", peer("jax", make_sgd, module="json", attribute="Missing"))
    told = installed.why_not("peer", sys.executable, [])
    assert told is not None
    assert "no attribute 'Missing'" in told
