"""Python packages: those that AlgoPerf brings, and an entry's requirements.txt."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import UserError

# The distributions that AlgoPerf v0.6 depends on (its pyproject.toml), by the names they are
# imported as. An entry may import them and must not change their versions.
PINNED: dict[str, str] = {
    "GPUtil": "gputil",
    "absl": "absl-py",
    "chex": "chex",
    "clu": "clu",
    "docker": "docker",
    "flax": "flax",
    "google": "protobuf",
    "h5py": "h5py",
    "jax": "jax",
    "jaxlib": "jaxlib",
    "jraph": "jraph",
    "matplotlib": "matplotlib",
    "ml_dtypes": "ml-dtypes",
    "networkx": "networkx",
    "numpy": "numpy",
    "optax": "optax",
    "pandas": "pandas",
    "psutil": "psutil",
    "pydub": "pydub",
    "sentencepiece": "sentencepiece",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "tabulate": "tabulate",
    "tensorflow": "tensorflow",
    "tensorflow_datasets": "tensorflow-datasets",
    "tensorflow_probability": "tensorflow-probability",
    "tensorflow_text": "tensorflow-text",
    "torch": "torch",
    "torchvision": "torchvision",
    "wandb": "wandb",
}
# What those bring along for certain.
BROUGHT = frozenset({"scipy", "typing_extensions", "packaging", "opt_einsum", "etils"})
_NAME = re.compile(r"^(?:-e\s+)?(?:.*#egg=)?([A-Za-z0-9][A-Za-z0-9._-]*)")


@dataclass(frozen=True)
class Requirement:
    """One line of a requirements.txt.

    Attributes:
      name: of the distribution, lower-cased, with dashes.
      text: the line without its comment.
      comment: why it is there: behind it or on the lines above it.
      line: its number, from 1.
    """

    name: str
    text: str
    comment: str
    line: int


def normal(name: str) -> str:
    """A distribution's name as package indexes compare it.

    >>> normal("Array_API.compat")
    'array-api-compat'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def parse(text: str) -> Iterator[Requirement]:
    """The requirements in a file's text."""
    above = ""
    for number, line in enumerate(text.splitlines(), start=1):
        # As pip has it, a comment begins at the line's start or after a space.
        match = re.search(r"(^|\s)#", line)
        requirement = line[: match.start()].strip() if match else line.strip()
        comment = line[match.end() :].strip() if match else ""
        if requirement:
            found = _NAME.match(requirement)
            name = normal(found[1]) if found else requirement
            yield Requirement(name, requirement, comment or above, number)
            above = ""
        else:
            above = f"{above} {comment}".strip() if comment else ""


def of_imports(modules: Iterable[str], path: Path) -> str:
    """The requirements.txt of an entry that imports these top-level modules.

    The lines are those of this repository's own file at `path`, whose comments say why.

    Raises:
      UserError: a module is neither AlgoPerf's nor named in that file, with a comment.
    """
    known = {item.name: item for item in parse(path.read_text(encoding="utf-8"))}
    lines = []
    for module in sorted(set(modules) - PINNED.keys() - BROUGHT):
        item = known.get(normal(module))
        if item is None or not item.comment:
            raise UserError(
                f"{path}: an entry imports {module}, and no line here says which package that is "
                "(allowed: a line PACKAGE==VERSION  # why)"
            )
        lines.append(f"{item.text}  # {item.comment}\n")
    return "".join(lines)
