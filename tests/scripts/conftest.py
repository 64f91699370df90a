"""The fake repository's fixtures."""

from fakes.fixtures import fake_root, quadratic, reports  # noqa: F401
