"""Where a submission's module is imported from."""

import subprocess
import sys

import pytest

from benchmark.errors import UserError
from benchmark.official.submission_path import locate

NAME = "submissions/asgo/jax/submission.py"


@pytest.fixture
def repository(tmp_path):
    return put(tmp_path / "repository", NAME)


def put(root, path, packages=()):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    for package in packages:
        (root / package / "__init__.py").touch()
    return root


def test_in_the_repository_however_it_is_written(repository, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    inside = repository / "submissions"
    for given, cwd in (
        (NAME, repository),
        (NAME, elsewhere),
        (f"./{NAME}", elsewhere),
        (f"{repository}/{NAME}", elsewhere),
        ("asgo/jax/submission.py", inside),
        (f"../repository/{NAME}", elsewhere),
    ):
        assert locate(given, repository, cwd) == (repository, NAME)


def test_relative_to_the_current_folder(repository, tmp_path):
    name = "mine/asgo/submission.py"
    checkout = put(tmp_path / "checkout", name, ["mine", "mine/asgo"])
    assert locate(name, repository, checkout) == (checkout, name)


@pytest.mark.parametrize("packages", [[], ["submissions/self_tuning/asgo"]])
def test_below_a_folder_named_as_a_package_of_the_repository(repository, tmp_path, packages):
    """`submissions.self_tuning` would be looked for in the repository, which has the name."""
    put(repository, NAME, ["submissions"])
    name = "submissions/self_tuning/asgo/submission.py"
    checkout = put(tmp_path / "checkout", name, packages)
    root, path = locate(name, repository, checkout)
    assert root / path == checkout / name
    module = path.removesuffix(".py").replace("/", ".")
    code = f"import sys; sys.path[:0] = {[str(root), str(repository)]}; import {module}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_absolute_path_starts_above_the_packages(repository, tmp_path):
    put(
        tmp_path, "entries/my_entry/jax/submission.py", ["entries/my_entry", "entries/my_entry/jax"]
    )
    given = f"{tmp_path}/entries/my_entry/jax/submission.py"
    expected = (tmp_path / "entries", "my_entry/jax/submission.py")
    assert locate(given, repository, tmp_path) == expected
    assert locate("../entries/my_entry/jax/submission.py", repository, repository) == expected


def test_an_absolute_path_outside_any_package(repository, tmp_path):
    put(tmp_path, "with-dash/submission.py")
    given = f"{tmp_path}/with-dash/submission.py"
    assert locate(given, repository, tmp_path) == (tmp_path / "with-dash", "submission.py")


@pytest.mark.parametrize(
    "path", ["a-b/submission.py", "a.b/submission.py", "a/my-submission.py", "a/submission.txt"]
)
def test_names_that_cannot_be_imported(repository, tmp_path, path):
    put(tmp_path, path)
    with pytest.raises(UserError, match=r"has no name to import it by; allowed: a \.py file"):
        locate(path, repository, tmp_path)


def test_no_such_file(repository, tmp_path):
    with pytest.raises(UserError, match=r"=x/submission\.py: no such file; allowed"):
        locate("x/submission.py", repository, tmp_path)
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(UserError, match="no such file"):
        locate("folder.py", repository, tmp_path)
