"""Which ML steps run again under a plan, and why, in the words that are shown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aifctl.manifest import Manifest
from aifctl.plan.steps import RunChange, Status, plan_steps, why
from tests.plan.objects import DIGEST, Entry, manifest, run

PIN = {"data:digits": "sha256:aa"}


def chain(*, pin: str | None = "sha256:aa", lr: str = "11", digests: str = "3456", **more: Entry) -> dict[str, Entry]:
    """prepare → train → export-onnx → verify-onnx; `digests` gives a hex digit for each, `-` for unknown."""
    prepare, train, export, verify = (DIGEST.get(letter) for letter in digests)
    return {
        "prepare": (prepare, {"split.seed": "s"}, {"data:digits": pin}),
        "train": (train, {"training.hyperparameters.learning_rate": lr}, {"prepare": prepare}),
        "export-onnx": (export, {"export.onnx.opset": "o"}, {"train": train}),
        "verify-onnx": (verify, {}, {"export-onnx": export, "prepare": prepare}),
        **more,
    }


def planned(before: list[Manifest], after: list[Manifest]) -> RunChange:
    plan = plan_steps(before, after)
    assert plan.diagnostics == ()
    (found,) = plan.runs
    return found


def told(before: dict[str, Entry] | None, after: dict[str, Entry] | None) -> dict[str, str]:
    old = [] if before is None else [run("digits-1", before)]
    new = [] if after is None else [run("digits-2", after)]
    return {step.name: why(step) for step in planned(old, new).steps}


def test_a_hyperparameter_moves_train_and_all_below() -> None:
    assert told(chain(), chain(lr="22", digests="3abc")) == {
        "prepare": "kept (3333333333)",
        "train": "runs again: training.hyperparameters.learning_rate changed",
        "export-onnx": "runs again: its input train moved",
        "verify-onnx": "runs again: its input export-onnx moved",
    }


def test_a_datasets_pin_moves_everything() -> None:
    found = told(chain(), chain(pin="sha256:bb", digests="abcd"))
    assert found["prepare"] == "runs again: its data digits moved"
    assert found["train"] == "runs again: its input prepare moved"
    assert found["verify-onnx"] == "runs again: its inputs export-onnx, prepare moved"


def test_nothing_moves() -> None:
    found = planned([run("digits-1", chain())], [run("digits-1-a2", chain())])
    assert {step.status for step in found.steps} == {Status.KEPT}
    assert not found.moves
    assert found.runs == ()


def test_one_more_export_is_new_and_one_less_is_gone() -> None:
    more = {"export-int8": (DIGEST["f"], {}, {"train": DIGEST["4"]})}
    assert told(chain(), chain(**more))["export-int8"] == "new"
    assert told(chain(**more), chain())["export-int8"] == "gone"
    assert told(chain(), chain(**more))["train"] == "kept (4444444444)"


def test_parts_added_removed_and_changed_are_named_and_counted() -> None:
    before = {"train": (DIGEST["1"], {"a": "1", "b": "1", "c": "1", "d": "1", "e": "1"}, {})}
    after = {"train": (DIGEST["2"], {"a": "2", "b": "2", "c": "2", "d": "2", "code/digits/cnn.py": "1"}, {})}
    assert told(before, after) == {
        "train": "runs again: a, b, c and 1 more changed; code/digits/cnn.py added; e removed"
    }


def test_below_data_that_is_not_pinned_nothing_is_known() -> None:
    unpinned = chain(pin=None, digests="----")
    assert told(unpinned, unpinned) == {
        "prepare": "unknown until data is read: digits is not pinned",
        "train": "unknown until data is read",
        "export-onnx": "unknown until data is read",
        "verify-onnx": "unknown until data is read",
    }


def test_below_data_that_is_not_pinned_a_changed_field_is_certain() -> None:
    found = told(chain(pin=None, digests="----"), chain(pin=None, digests="----", lr="22"))
    assert found["train"] == "runs again: training.hyperparameters.learning_rate changed; its input prepare moved"
    assert found["export-onnx"] == "runs again: its input train moved"


def test_a_digest_that_moves_for_no_visible_reason_is_told() -> None:
    assert told({"train": (DIGEST["1"], {}, {})}, {"train": (DIGEST["2"], {}, {})}) == {
        "train": "runs again: its identity is computed anew"
    }


def test_the_first_run_is_all_new_and_the_last_all_gone() -> None:
    assert set(told(None, chain()).values()) == {"new"}
    assert set(told(chain(), None).values()) == {"gone"}


def test_steps_come_after_what_they_read() -> None:
    found = planned([], [run("digits-1", dict(sorted(chain().items())))])
    assert [step.name for step in found.steps] == ["prepare", "train", "export-onnx", "verify-onnx"]
    assert [step.kind for step in found.steps] == ["prepare", "train", "export", "verify"]


def test_steps_come_after_what_they_wait_for() -> None:
    found = run("digits-1", {"a-register": (DIGEST["1"], {}, {}), "z-gate": (DIGEST["2"], {}, {})})
    arguments = found.object["spec"]["templates"][0]["container"]["args"]
    arguments[0] = arguments[0].replace('"inputs": {}', '"inputs": {}, "needs": {"z-gate": "22"}')
    assert [step.name for step in planned([], [found]).steps] == ["z-gate", "a-register"]


def test_steps_that_read_each_other_are_listed_all_the_same() -> None:
    cycle: dict[str, Entry] = {"b": (DIGEST["1"], {}, {"a": DIGEST["2"]}), "a": (DIGEST["2"], {}, {"b": DIGEST["1"]})}
    assert told(cycle, cycle) == {"a": "kept (2222222222)", "b": "kept (1111111111)"}


def test_a_scheduled_run_and_a_run_that_becomes_scheduled() -> None:
    scheduled = run("digits", chain(lr="22", digests="3abc"), "CronWorkflow")
    assert planned([run("digits-1", chain())], [scheduled]).runs == ("train", "export-onnx", "verify-onnx")
    assert planned([scheduled], [scheduled]).moves is False


def test_models_are_told_apart_and_ordered() -> None:
    plan = plan_steps([run("wine-1", chain(), model="wine")], [run("digits-1", chain())])
    assert [(found.model, found.run, found.before) for found in plan.runs] == [
        ("digits", "digits-1", ""),
        ("wine", "", "wine-1"),
    ]


@pytest.mark.parametrize(
    "annotation",
    [
        "",
        "{",
        "[]",
        "1",
        '{"train": 1}',
        '{"train": null}',
        '{"train": {"digest": 5}}',
        '{"train": {"parts": [1]}}',
        '{"train": {"inputs": [["x"]]}}',
        '{"train": {"inputs": "x"}}',
        "[" * 100_000,
        7,
        {"a": 1},
    ],
)
def test_an_annotation_of_another_form_is_a_warning(annotation: Any) -> None:
    broken = manifest("Workflow", "digits-2\x1b[31m", environment="lab", annotations={"aif.dev/identity": annotation})
    plan = plan_steps([run("digits-1", chain())], [broken])
    assert [(d.code, d.severity) for d in plan.diagnostics] == [("AIF605", "warning")]
    assert "\x1b" not in plan.diagnostics[0].message
    assert plan.runs[0].steps == ()
    plan = plan_steps([broken], [run("digits-1", chain())])
    assert {why(step) for step in plan.runs[0].steps} == {"unknown: the run before does not say what it was made of"}


def test_a_run_without_the_annotation_is_a_warning() -> None:
    plan = plan_steps([], [manifest("Workflow", "digits-1")])
    assert plan.diagnostics[0].message == (
        "can't read the identity of Workflow.argoproj.io vision/digits-1: it has none"
    )


LETTERS = st.sampled_from("0123-")
RUNS = st.builds(
    lambda digests, lr, pin: chain(digests=digests, lr=lr, pin=pin),
    st.text("0123-", min_size=4, max_size=4),
    st.sampled_from(["11", "22"]),
    st.sampled_from([None, "sha256:aa", "sha256:bb"]),
)


@given(RUNS, RUNS)
def test_a_step_is_kept_exactly_when_its_known_digest_stays(before: dict[str, Entry], after: dict[str, Entry]) -> None:
    for step in planned([run("digits-1", before)], [run("digits-2", after)]).steps:
        old, new = before[step.name][0], after[step.name][0]
        assert (step.status is Status.KEPT) == (old is not None and old == new)
        if old is not None and new is not None and old != new:
            assert step.status is Status.AGAIN
        assert why(step).startswith(str(step.status))
