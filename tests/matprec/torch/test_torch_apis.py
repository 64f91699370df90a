"""Nothing here uses a PyTorch API newer than 2.5, AlgoPerf's pin (torch 2.5.1).

`torch_new_since_2_5.json` holds the public names and keyword arguments that torch 2.13.0 has and
torch 2.5.1 has not; `support/torch_names.py` made it, and says how. It knows nothing of changed
defaults and of new types of old arguments, of which one is looked for by hand.
"""

import ast
import json
import warnings
from pathlib import Path

import pytest
import torch
from torch_names import names
from torch_scan import uses

REPOSITORY = Path(__file__).parents[3]
ROOMS = ("matprec", "submissions", "workloads_overrides", "benchmark", "algoperf_api", "scripts")
NEW = json.loads((Path(__file__).parent / "torch_new_since_2_5.json").read_text())

# What people are likeliest to reach for, and the release whose notes announce it.
KNOWN = {
    "torch.accelerator.is_available": ("import torch\ntorch.accelerator.is_available()", "2.6"),
    "torch.compiler.set_stance": ("import torch\ntorch.compiler.set_stance('eager')", "2.6"),
    "torch.library.triton_op": ("from torch.library import triton_op", "2.6"),
    "torch.distributed.fsdp.fully_shard": ("from torch.distributed.fsdp import fully_shard", "2.6"),
    "torch.nn.utils.get_total_norm": ("from torch import nn\nnn.utils.get_total_norm([])", "2.6"),
    "torch.utils.data.DataLoader(in_order=)": (
        "from torch.utils import data as d\nd.DataLoader([], in_order=False)",
        "2.6",
    ),
    "torch.optim.Adam(decoupled_weight_decay=)": (
        "import torch.optim as o\no.Adam([], decoupled_weight_decay=True)",
        "2.6",
    ),
    "torch.compiler.save_cache_artifacts": (
        "import torch.compiler as c\nc.save_cache_artifacts()",
        "2.7",
    ),
    "torch.optim.Muon": ("from torch import optim\noptim.Muon([])", "2.9"),
}


def found(source: str) -> list[tuple[int, str]]:
    return list(uses(source, NEW["names"], NEW["keywords"]))


def given_named_parameters(source: str) -> list[int]:
    """Lines where something gets `named_parameters()` itself, which optimizers take since 2.6, as
    a class's or an optimizer maker's first argument; loops and builtins may."""
    allowed = ("list", "dict", "sorted", "enumerate", "zip", "tuple", "len", "set", "map")
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and not (isinstance(node.func, ast.Name) and node.func.id in allowed)
        and node.args
        and isinstance(node.args[0], ast.Call)
        and isinstance(node.args[0].func, ast.Attribute)
        and node.args[0].func.attr == "named_parameters"
    ]


def sources() -> list[Path]:
    return [path for room in ROOMS for path in sorted((REPOSITORY / room).rglob("*.py"))]


def test_the_rooms_hold_pytorch_code():
    with_torch = [path for path in sources() if "torch" in path.read_text()]
    assert {path.relative_to(REPOSITORY).parts[0] for path in with_torch} >= {
        "matprec",
        "submissions",
        "workloads_overrides",
        "algoperf_api",
    }


def test_no_api_newer_than_2_5_is_used():
    assert [
        f"{path.relative_to(REPOSITORY)}:{line}: {what}"
        for path in sources()
        for line, what in found(path.read_text())
    ] == []


def test_no_optimizer_is_given_named_parameters():
    assert given_named_parameters("torch.optim.Adam(model.named_parameters())") == [1]
    assert given_named_parameters("dict(model.named_parameters())") == []
    assert given_named_parameters("torch.optim.Adam(model.parameters())") == []
    places = [
        f"{path.relative_to(REPOSITORY)}:{line}"
        for path in sources()
        for line in given_named_parameters(path.read_text())
    ]
    assert places == []


@pytest.mark.parametrize("api", KNOWN)
def test_known_new_apis_are_found(api):
    source, _ = KNOWN[api]
    whole = {what for _, what in found(source)}
    assert any(api == what or api.startswith(f"{what}.") for what in whole)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch as t\nt.optim.Muon", [(2, "torch.optim.Muon")]),
        ("from torch.optim import Muon as M", [(1, "torch.optim.Muon")]),
        ("import torch.optim\ntorch.optim.Muon", [(2, "torch.optim.Muon")]),
        ("import torch.accelerator", [(1, "torch.accelerator")]),
        ("import torch.accelerator as a\na.memory", [(1, "torch.accelerator")]),
        ("def f(xp, x):\n    return xp.hash_tensor(x)", [(2, "torch.hash_tensor")]),
        ("import array_api_compat.torch as q\nq.hash_tensor", [(2, "torch.hash_tensor")]),
        ("x.stft(n, align_to_window=True)", [(1, "torch.Tensor.stft(align_to_window=)")]),
        ("x.grad_dtype", [(1, "torch.Tensor.grad_dtype")]),
    ],
)
def test_every_way_to_name_an_api_is_seen(source, expected):
    assert [use for use in found(source) if use[0] == expected[0][0]] == expected


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.nn.RMSNorm(4)  # 2.4",
        "import optax\noptax.contrib.Muon()",
        "Muon = 1\nMuon",
        "from .optim import Muon",
        "from optim import Muon",
        "names.index('torch')",
        "import torch\ntorch.optim.Adam([], lr=1.0)",
        "'torch.optim.Muon'  # in a text",
    ],
)
def test_what_is_old_or_not_pytorch_is_left_alone(source):
    assert found(source) == []


def test_the_list_is_that_of_a_newer_and_an_older_release():
    assert NEW["old"].startswith("2.5.1")
    assert NEW["new"].startswith("2.13.0")
    assert sum(map(len, NEW["names"].values())) > 100
    assert sum(map(len, NEW["keywords"].values())) > 50
    assert "RMSNorm" not in NEW["names"]["torch.nn"]


@pytest.mark.filterwarnings("ignore")
def test_the_list_agrees_with_the_installed_release():
    """At 2.5 nothing in it exists; at its newer release everything does."""
    release = torch.__version__.partition("+")[0]
    if release not in ("2.5.1", "2.13.0"):
        pytest.skip(f"the list compares 2.5.1 with 2.13.0, not torch {release}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        here = names()
    present = {
        f"{place}.{name}"
        for place, listed in NEW["names"].items()
        for name in listed
        if name in here.get(place, ())
    }
    listed = {f"{place}.{name}" for place, listed in NEW["names"].items() for name in listed}
    assert present == (listed if release == "2.13.0" else set())
