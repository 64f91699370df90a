"""The budgets' files against the published table, and what is told about a broken one."""

import json
import shutil
from pathlib import Path

import pytest

import workloads_overrides.budgets as budgets
from workloads_overrides import WORKLOADS
from workloads_overrides.budgets import RULE_SETS, Hardware, load
from workloads_overrides.c4.sizes import SIZES

FOLDER = Path(budgets.__file__).parent

# max_allowed_runtime_sec / eval_period_time_sec / step_hint: v0.6 as in AlgoPerf's code, 2026 as in
# the meta data of the runs; those of c4 are this project's estimates.
TABLE = """
ogbg                    12011/240/52000    11303/452/52000
wmt                     43336/840/120000   16114/644/120000
imagenet_resnet         66159/510/195999   49918/1996/195999
imagenet_vit            69768/420/167999   64292/2571/167999
criteo1tb               7703/120/10666     8915/356/10666
fastmri                 4430/80/18094      2745/110/18094
librispeech_conformer   58015/1440/76000   43680/1747/76000
librispeech_deepspeech  44405/1440/38400   36949/1447/38400
finewebedu_lm           -                  31967/2571/72000
c4_60m                  7300/330/10000     2500/90/10000
c4                      38000/860/20000    13000/300/20000
c4_350m                 348000/2600/60000  118000/900/60000
"""


@pytest.mark.parametrize("column", [1, 2])
def test_the_figures(column):
    rules = load(RULE_SETS[column - 1])
    found = {
        name: "/".join(str(value) for value in budget.properties.values())
        for name, budget in rules.workloads.items()
    }
    rows = [line.split() for line in TABLE.strip().splitlines()]
    assert found == {row[0]: row[column] for row in rows if row[column] != "-"}


def test_the_hardware():
    assert load("v0.6_8xV100").hardware == Hardware("V100", 8, 16)
    assert load("2026_4xA100").hardware == Hardware("A100", 4, 40)
    assert str(load("2026_4xA100").hardware) == "4x A100 40 GiB"


@pytest.mark.parametrize("name", RULE_SETS)
def test_every_figure_has_its_source_and_the_small_workloads_have_none(name):
    rules = load(name)
    assert set(rules.workloads) & set(WORKLOADS) == set(SIZES)
    for workload, budget in rules.workloads.items():
        ours = workload in SIZES
        assert budget.source.startswith("workloads_overrides/c4/" if ours else "mlcommons/")
        allowed = ("provisional:",) if ours else ("published:", "read")
        assert budget.status.split()[0] in allowed


def test_every_file_is_a_rule_set_and_the_other_way_round():
    assert sorted(path.stem for path in FOLDER.glob("*.json")) == sorted(RULE_SETS)


def test_an_unknown_rule_set():
    with pytest.raises(ValueError, match=r"^unknown rule set 'v1'; allowed: v0\.6_8xV100, 2026_4x"):
        load("v1")


@pytest.fixture
def broken(tmp_path):
    """Changes the content of v0.6's file, in a copy."""
    path = tmp_path / "v0.6_8xV100.json"
    shutil.copy(FOLDER / path.name, path)

    def change(edit):
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content))
        with pytest.raises(ValueError, match=r"v0\.6_8xV100\.json") as caught:
            load("v0.6_8xV100", tmp_path)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return change


@pytest.mark.parametrize("value", [0, -1, 1.5, "100", None, True])
def test_a_budget_is_a_positive_integer(broken, value):
    told = broken(lambda content: content["workloads"]["wmt"].update(step_hint=value))
    assert told.endswith(f": wmt: step_hint={value!r} is not a positive integer")


def test_keys_missing_and_keys_unknown(broken):
    told = broken(lambda content: content["workloads"]["ogbg"].pop("source"))
    assert ": ogbg: not a JSON object with exactly max_allowed_runtime_sec, " in told


def test_an_unknown_key(broken):
    assert "hardware: not a JSON object" in broken(lambda c: c["hardware"].update(cpus=48))


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        ({"name": "v0.5"}, "name is 'v0.5', not 'v0.6_8xV100'"),
        ({"description": ""}, "description='' is not a text"),
        ({"workloads": [1]}, "workloads=[1] is not a JSON object"),
        ({"hardware": None}, "hardware: not a JSON object with exactly gpu, count, memory_gib"),
    ],
)
def test_the_top_level(broken, edit, told):
    assert broken(lambda content: content.update(edit)).endswith(told)


def test_a_file_that_is_absent_or_no_json(tmp_path):
    with pytest.raises(ValueError, match=r"2026_4xA100\.json: cannot be read: .*No such file"):
        load("2026_4xA100", tmp_path)
    (tmp_path / "2026_4xA100.json").write_text("{")
    with pytest.raises(ValueError, match=r"2026_4xA100\.json: cannot be read: Expecting"):
        load("2026_4xA100", tmp_path)
