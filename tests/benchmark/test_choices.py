"""`all`, or some of the names that are known."""

import pytest

from benchmark.choices import choose
from benchmark.errors import UserError

KNOWN = ("wmt", "ogbg", "c4")


def test_all_of_them_and_some_in_the_known_order():
    assert choose("workloads", ["all"], KNOWN) == list(KNOWN)
    assert choose("workloads", ["c4", "wmt"], KNOWN) == ["wmt", "c4"]
    assert choose("workloads", ["ogbg"], dict.fromkeys(KNOWN)) == ["ogbg"]


@pytest.mark.parametrize("given", [["criteo"], ["wmt", "all"], [], ["wmt", ""]])
def test_what_is_unknown_is_told_with_what_is_allowed(given):
    with pytest.raises(
        UserError, match=r"^--workloads: .* is unknown; allowed: all, wmt, ogbg, c4$"
    ):
        choose("workloads", given, KNOWN)
