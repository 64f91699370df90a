"""Predictions beside measured steps that were made by the model itself, and others."""

import pytest
from imagined_steps import step_time, step_times

from speed.predict.calibrate import calibrate
from speed.predict.forecast import Machine, entry_seconds, middle, model_seconds
from speed.predict.gpus import GPUS
from speed.predict.step_times import StepTime
from speed.predict.validate import by_workload, differences, machine_of, predictions, summary

CALIBRATION = calibrate(step_times())
A100 = Machine(GPUS["a100"], 4)


def on_a100(submission: str, workload: str, seconds: float) -> StepTime:
    row = step_time(submission, workload, seconds, logs="new")
    return row._replace(gpu="NVIDIA A100-SXM4-40GB", devices=4)


def expected(submission: str, workload: str) -> float:
    """The model's, in JAX and with the baseline's batch."""
    case = middle(CALIBRATION)
    model = model_seconds(CALIBRATION, workload, "jax", A100, case)
    return model + entry_seconds(submission, workload, A100, case, 0.0)


def test_logs_that_obey_the_model_have_no_errors():
    table = predictions(CALIBRATION, step_times(), "old")
    assert table["error_percent"].abs().max() == pytest.approx(0, abs=1e-6)
    by_entry = table.groupby("submission")["use"].unique().map(list).to_dict()
    assert by_entry == {
        "baseline": ["reference"],
        "caspr_adaptive": ["test"],
        "schedule_free_adamw": ["reference"],
        "shampoo_submission": ["fit"],
    }


def test_errors_on_another_machine_are_all_told():
    rows = [
        on_a100("nadamw", "ogbg", expected("nadamw", "ogbg") / 1.5),
        on_a100("cautious_nadamw", "wmt", 2 * expected("cautious_nadamw", "wmt")),
        on_a100("nadamw", "wmt", expected("nadamw", "wmt")),
        on_a100("nadamw", "finewebedu_lm", 0.4),
        on_a100("nadamw", "fastmri", 0.1),
        on_a100("nadamw", "imagenet_vit", 0.5)._replace(submission="unheard_of"),
    ]
    table = predictions(CALIBRATION, rows, None)
    assert table["use"].tolist() == ["test"] * 6
    assert table["error_percent"].tolist()[:3] == pytest.approx([50, -50, 0])
    assert table["remark"].tolist() == [
        "baseline, old",
        "baseline, old",
        "baseline, old",
        "shapes not known",
        "no V100 step of fastmri in jax to start from",
        "entry not known",
    ]
    told = summary(table)
    assert told.startswith("3 tests: median absolute error 50 %, largest 50 %, 1 within 25 %, ")
    assert told.endswith("; 3 not predicted")
    grouped = by_workload(table).set_index("workload")
    assert grouped["tests"].to_dict() == {"ogbg": 1, "wmt": 2}
    assert grouped.loc["wmt", "least_error_percent"] == pytest.approx(-50)
    assert grouped.loc["wmt", "inside_interval"] >= 1


def test_differences_are_the_optimizers_alone():
    # Whatever the model takes, and whatever it was predicted to.
    base, entry = on_a100("nadamw", "wmt", 3.0), on_a100("cautious_nadamw", "wmt", 3.25)
    other = on_a100("nadamw", "ogbg", 1.0)
    (row,) = differences(CALIBRATION, [base, entry, other]).to_dict("records")
    assert (row["workload"], row["submission"], row["less"]) == ("wmt", "cautious_nadamw", "nadamw")
    assert row["measured_ms"] == pytest.approx(250)
    assert row["noise_ms"] == pytest.approx(62.5)
    case = middle(CALIBRATION)
    ours, theirs = (
        entry_seconds(name, "wmt", A100, case, 0.0) for name in ("cautious_nadamw", "nadamw")
    )
    assert row["predicted_ms"] == pytest.approx(1e3 * (ours - theirs))
    assert row["least_ms"] <= row["predicted_ms"] <= row["most_ms"]


def test_no_tests_are_no_errors():
    table = predictions(CALIBRATION, [step_times()[0]], "old")
    assert summary(table) == "no tests; 0 not predicted"
    assert by_workload(table).empty


def test_a_machine_is_known_by_its_gpu():
    assert machine_of(on_a100("nadamw", "wmt", 1.0)) == A100
    with pytest.raises(ValueError, match="'Imagined' is none of V100, A100, H100"):
        machine_of(step_times()[0]._replace(gpu="Imagined"))
