"""scripts/write_c4_sample.py: what it says, and one line for every mistake."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from c4_documents import services_of, write_wheel
from c4_texts import documents

# The script itself, with a made-up wheel in the place of the pinned one.
PATCHED = """
import json, pathlib, runpy, shutil, sys
script, wheel, *flags = json.loads(sys.argv[1])
sys.path.insert(0, str(pathlib.Path(script).parent.parent))
from workloads_overrides.small.c4 import sample
write = sample.write_sample
def fetch(pinned, folder):
    return pathlib.Path(shutil.copy(wheel, folder / pinned.filename))
sample.write_sample = lambda *args: write(*args, fetch=fetch)
sys.argv = [script, *flags]
runpy.run_path(script, run_name="__main__")
"""


@pytest.fixture
def script(request, tmp_path):
    """Runs it where pip finds no wheel; with a `wheel`, on that."""
    path = request.config.rootpath / "scripts" / "write_c4_sample.py"
    nothing = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}

    def run(*flags, wheel=None):
        command = [sys.executable, str(path), *flags]
        if wheel is not None:
            command = [sys.executable, "-c", PATCHED, json.dumps([str(path), str(wheel), *flags])]
        environment = {**os.environ, **nothing}
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    return run


def test_a_sample(script, tmp_path):
    names = (next(services_of(split)) for split in ("train", "validation", "test"))
    services = {name: documents(60, seed) for seed, name in enumerate(names)}
    wheel = write_wheel(tmp_path / "x.whl", services)
    folder = tmp_path / "sample"
    done = script(f"--output_dir={folder}", "--num_train_files=2", wheel=wheel)
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith("sample: ")
    assert last.endswith(f" MB in {folder}, in the format of C4, not C4")
    assert sorted(path.name for path in folder.glob("c4-train.*")) == [
        "c4-train.00000-of-00002.json.gz",
        "c4-train.00001-of-00002.json.gz",
    ]
    again = script(f"--output_dir={folder}", wheel=wheel)
    assert again.returncode == 2
    assert again.stderr == (f"error: {folder} exists already: delete it or name another folder\n")
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ([], "--output_dir is missing"),
        (["--output_dir=x", "--num_train_files=0"], "--num_train_files=0: 0 is not an integer"),
        (["--output_dir=x", "--num_train_files=257"], "in the range [1, 256]"),
        (["--output_dir=x", "--repeat=0"], "--repeat=0: 0 is not a positive integer"),
    ],
)
def test_flags_that_are_wrong(script, flags, told):
    done = script(*flags)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_no_network(script, tmp_path):
    done = script(f"--output_dir={tmp_path / 'sample'}")
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot download botocore==")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "sample").exists()
