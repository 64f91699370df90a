"""scripts/export.py as a user runs it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*flags, cwd):
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "export.py"), *flags],
        capture_output=True,
        text=True,
        cwd=cwd,
    )


def test_lists_of_everything(tmp_path):
    done = run("--submission=asgo,adamw", "--framework=jax", "--output_dir=out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        f"{tmp_path}/out/{ruleset}/{name}_jax"
        for name in ("asgo", "adamw")
        for ruleset in ("external_tuning", "self_tuning")
    ]
    for line in done.stdout.splitlines():
        assert (Path(line) / "submission.py").is_file()
    own = (tmp_path / "out" / "self_tuning" / "asgo_jax" / "README.md").read_text()
    assert '| horizon | "both" |' in own  # of the self-tuning ruleset
    assert "arXiv 2503.20762, Algorithm 2" in own
    external = (tmp_path / "out" / "external_tuning" / "asgo_jax" / "README.md").read_text()
    assert '| horizon | "step_hint" |' in external


def test_nothing_is_written_when_one_is_in_the_way(tmp_path):
    flags = ["--framework=jax", "--ruleset=self_tuning", "--output_dir=out"]
    assert run("--submission=muon", *flags, cwd=tmp_path).returncode == 0
    done = run("--submission=adamw,muon", *flags, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"error: {tmp_path}/out/self_tuning/muon_jax: not empty "
        "(allowed: an empty folder, or --overwrite)\n"
    )
    assert [path.name for path in (tmp_path / "out" / "self_tuning").iterdir()] == ["muon_jax"]
    done = run("--submission=adamw,muon", "--overwrite", *flags, cwd=tmp_path)
    assert done.returncode == 0
    names = {path.name for path in (tmp_path / "out" / "self_tuning").iterdir()}
    assert names == {"adamw_jax", "muon_jax"}


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--submission=sgd", "--submission: 'sgd' is unknown; allowed: all, adamw, nadamw, "),
        ("--submission=", "--submission: '' is unknown; allowed: all, "),
        ("--framework=torch", "--framework: 'torch' is unknown; allowed: all, jax, pytorch"),
        ("--ruleset=external", "--ruleset: 'external' is unknown; allowed: all, external_tuning"),
    ],
)
def test_mistakes_are_one_line_and_status_2(tmp_path, flag, told):
    done = run("--submission=adamw", "--output_dir=out", flag, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {told}")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_no_framework_is_imported(tmp_path):
    code = (
        "import runpy, sys\n"
        "sys.argv = ['export.py', '--submission=adamw', '--framework=jax', '--output_dir=out']\n"
        "try:\n    runpy.run_path(sys.path.pop(), run_name='__main__')\n"
        "except SystemExit as done:\n"
        "    print(done.code, sorted({'jax', 'torch', 'tensorflow'} & set(sys.modules)))\n"
    )
    code = code.replace("sys.path.pop()", repr(str(ROOT / "scripts" / "export.py")))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr
