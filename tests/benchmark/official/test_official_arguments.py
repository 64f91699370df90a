"""Which flags are ours and which the harness's."""

import pytest
from absl import flags

from benchmark.official import arguments


@pytest.fixture
def known():
    values = flags.FlagValues()
    flags.DEFINE_string("workload", None, "", flag_values=values)
    flags.DEFINE_integer("rng_seed", None, "", flag_values=values)
    flags.DEFINE_boolean("overwrite", False, "", flag_values=values)
    flags.DEFINE_boolean("alsologtostderr", False, "", flag_values=values)  # as absl's own
    flags.DEFINE_integer("verbosity", 0, "", flag_values=values)
    return values


@pytest.mark.parametrize(
    ("argv", "ours", "theirs"),
    [
        ([], [], []),
        (["--workload=a", "--rng_seed=1"], ["--workload=a", "--rng_seed=1"], []),
        (["--save_checkpoints=False"], [], ["--save_checkpoints=False"]),
        (["--x=1", "--workload=a", "-y=2"], ["--workload=a"], ["--x=1", "-y=2"]),
        (["--workload", "a", "--x", "/b", "-rng_seed", "3"], None, ["--x", "/b"]),
        (["--overwrite", "--nooverwrite", "--notorch_compile"], None, ["--notorch_compile"]),
        (["--noworkload"], [], ["--noworkload"]),  # no boolean
        (["--verbosity=1", "--overwrite"], ["--overwrite"], ["--verbosity=1"]),
        (["--noalsologtostderr"], [], ["--noalsologtostderr"]),
        (["--x=--workload=a"], [], ["--x=--workload=a"]),
        (["--help"], ["--help"], []),
        (["-h"], ["-h"], []),
        (["--flagfile=f", "--helpfull"], ["--flagfile=f"], ["--helpfull"]),
        (["stray", "--x"], ["stray"], ["--x"]),
        (["--x", "--", "--y"], ["--", "--y"], ["--x"]),
    ],
)
def test_split(known, argv, ours, theirs):
    if ours is None:
        ours = [argument for argument in argv if argument not in theirs]
    assert arguments.split(["run.py", *argv], known) == (["run.py", *ours], theirs)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], None),
        (["--torch_compile"], True),
        (["-torch_compile=true"], True),
        (["--torch_compile=False"], False),
        (["--torch_compile=0"], False),
        (["--notorch_compile"], False),
        (["--notorch_compile", "--torch_compile"], True),
        (["--torch_compile_more", "torch_compile"], None),
    ],
)
def test_switch(given, said):
    assert arguments.switch(given, "torch_compile") is said
