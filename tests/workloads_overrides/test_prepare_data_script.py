"""scripts/prepare_data.py as a user runs it."""

import subprocess
import sys

import pytest


@pytest.fixture
def script(request, tmp_path):
    path = request.config.rootpath / "scripts" / "prepare_data.py"

    def run(*flags):
        command = [sys.executable, str(path), *flags]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


def test_help_has_an_example(script):
    run = script("--help")
    assert run.returncode == 0
    text = run.stdout
    assert "python scripts/prepare_data.py --workloads=ogbg_small --data_dir=data" in text
    assert "--workloads" in text
    assert "--data_dir" in text


def test_prepared_data_is_found(script, data_dir):
    run = script("--workloads=ogbg_small", f"--data_dir={data_dir}")
    assert run.returncode == 0, run.stderr
    assert run.stdout == f"ogbg_small: prepared in {data_dir}\n"
    assert run.stderr == ""


def test_one_line_and_exit_code_two_without_network(script, pip_sees, tmp_path):
    pip_sees(None)
    run = script()
    assert run.returncode == 2
    assert "prepared" not in run.stdout
    (line,) = run.stderr.splitlines()
    assert line.startswith("error: cannot download chemicals==1.5.2 with pip")
    assert [path.name for path in (tmp_path / "data").iterdir()] == [".ogbg_small.lock"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workloads=ogbg_small,nope"], "--workloads: unknown ['nope']; allowed: ogbg_small"),
        (["data"], "unexpected argument 'data'"),
        (["--workload=ogbg_small"], "error: Unknown command line flag 'workload'"),
    ],
)
def test_bad_flags(script, arguments, message, tmp_path):
    run = script(*arguments)
    assert run.returncode == 2
    (line,) = run.stderr.splitlines()
    assert message in line
    assert not list(tmp_path.iterdir())
