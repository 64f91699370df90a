"""What was found in a tree, each thing once, in its order."""

from benchmark.scoring.findings import Findings


def test_findings_keep_their_order_and_their_kind():
    findings = Findings()
    findings.note("first")
    findings.leave_out("second")
    findings.note("third")
    assert findings.texts == ("first", "second", "third")
    assert findings.left_out == ("second",)


def test_nothing_found():
    assert Findings().texts == ()
    assert Findings().left_out == ()


def test_each_thing_is_told_once():
    findings = Findings()
    for _ in range(2):
        findings.leave_out("gone")
        findings.note("odd")
    assert findings.texts == ("gone", "odd")


def test_what_was_left_out_stays_so_whatever_else_is_said_of_it():
    findings = Findings()
    findings.note("a")
    findings.leave_out("b")
    findings.leave_out("a")
    findings.note("b")
    assert findings.texts == ("a", "b")
    assert findings.left_out == ("a", "b")
