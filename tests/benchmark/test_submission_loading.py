"""Submissions found by path, their functions, and one line for what is wrong with them."""

import pytest
from fakes.repository import SUBMISSION

from benchmark import submission
from benchmark.errors import UserError


def load(root, name="fast"):
    return submission.load(submission.path_of(name, "jax"), "jax", root)


def rewrite(root, text, name="fast"):
    (root / submission.path_of(name, "jax")).write_text(text)


def test_available_are_those_of_the_framework(fake_root):
    assert submission.available("jax", fake_root) == ["fast", "slow"]
    assert submission.available("pytorch", fake_root) == []


def test_loads_by_relative_and_by_absolute_path(fake_root):
    relative = load(fake_root)
    path = str(fake_root / submission.path_of("fast", "jax"))
    absolute = submission.load(path, "jax", fake_root)
    roundabout = submission.load("./submissions/slow/../fast/jax/submission.py", "jax", fake_root)
    assert absolute.update_params is roundabout.update_params is relative.update_params
    assert absolute.path == roundabout.path == relative.path == submission.path_of("fast", "jax")
    assert relative.prepare_for_eval is None
    assert relative.global_batch_size("quadratic") == 8


def test_unknown_path_names_the_allowed_ones(fake_root):
    with pytest.raises(UserError) as caught:
        load(fake_root, "adam")
    assert str(caught.value) == (
        "unknown submission --submission_path=submissions/adam/jax/submission.py; allowed: "
        "submissions/fast/jax/submission.py, submissions/slow/jax/submission.py"
    )


def test_a_path_outside_the_repository_is_unknown(fake_root, tmp_path):
    (tmp_path / "submission.py").write_text(SUBMISSION)
    with pytest.raises(UserError, match="unknown submission"):
        submission.load(str(tmp_path / "submission.py"), "jax", fake_root)


@pytest.mark.parametrize("path", ["my-adam/submission.py", "submissions/fast/jax/notes.txt"])
def test_a_path_that_is_no_module_name(fake_root, path):
    (fake_root / path).parent.mkdir(parents=True, exist_ok=True)
    (fake_root / path).write_text(SUBMISSION)
    with pytest.raises(UserError, match="not importable by its path"):
        submission.load(path, "jax", fake_root)


def test_an_error_while_importing_names_file_and_line(fake_root):
    rewrite(fake_root, "import math\n\nrate = 1 / 0\n")
    with pytest.raises(UserError) as caught:
        load(fake_root)
    assert "submissions/fast/jax/submission.py: ZeroDivisionError: division by zero" in str(
        caught.value
    )
    assert "submission.py:3)" in str(caught.value)


def test_missing_functions_are_named(fake_root):
    rewrite(fake_root, "def get_batch_size(name):\n    return 8\nupdate_params = 3\n")
    with pytest.raises(UserError) as caught:
        load(fake_root)
    assert str(caught.value).endswith(
        "no function init_optimizer_state, update_params, data_selection"
    )


def test_hyperparameters_that_the_submission_does_not_take_name_their_place(fake_root):
    loaded = load(fake_root)
    loaded.check_point({"learning_rate": 0.1}, "space.json, point 1")
    for point, told in (
        ({"learning_rate": 0.1, "momentum": 0.9}, "no hyperparameter 'momentum'; allowed: learn"),
        ({"learning_rate": -0.1}, "learning_rate=-0.1 must not be negative"),
    ):
        with pytest.raises(UserError) as caught:
            loaded.check_point(point, "space.json, point 2")
        assert str(caught.value).startswith(f"space.json, point 2: {told}")


def test_a_submission_that_cannot_tell_accepts_every_point(fake_root):
    rewrite(fake_root, SUBMISSION.replace("check_hyperparameters", "unused"))
    load(fake_root).check_point({"whatever": -1}, "space.json, point 1")


def batch_sizes(sizes: dict[str, int]) -> submission.Submission:
    def get_batch_size(name: str) -> int:
        if name not in sizes:
            raise ValueError(f"unknown {name}")
        return sizes[name]

    nothing = print
    return submission.Submission("s.py", get_batch_size, nothing, nothing, nothing, None, None)


def test_batch_size_falls_back_to_the_base_workload_as_in_the_harness():
    assert batch_sizes({"ogbg": 512}).global_batch_size("ogbg_small") == 512
    assert batch_sizes({"ogbg": 512, "ogbg_small": 128}).global_batch_size("ogbg_small") == 128
    with pytest.raises(UserError, match=r"s.py: no batch size for workload 'c4': unknown c4"):
        batch_sizes({"ogbg": 512}).global_batch_size("c4")


def test_paths_of_a_name(fake_root):
    assert submission.search_space_of("fast", fake_root).is_file()
    assert submission.path_of("asgo", "pytorch") == "submissions/asgo/pytorch/submission.py"
