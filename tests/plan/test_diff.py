"""Two sets of manifests as changes: actions, runs, order, and secrets that never get into a plan."""

from __future__ import annotations

import base64
import copy
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aifctl.manifest import Manifest
from aifctl.plan.change import Action, Change, ChangeSet, Masked, Op
from aifctl.plan.diff import diff, diff_environments
from aifctl.plan.fields import same
from aifctl.plan.steps import plan_steps
from aifctl.plan.views.json import json
from aifctl.plan.views.markdown import markdown
from aifctl.plan.views.text import text
from tests.plan.objects import applied, deployment, labels, manifest, run

NO_SALT = b""


def only(changes: ChangeSet) -> Change:
    (change,) = changes
    return change


def actions(changes: ChangeSet) -> dict[str, str]:
    return {change.identity.name: str(change.action) for change in changes}


def test_create_change_delete_and_unchanged() -> None:
    before = [deployment("a"), deployment("b"), manifest("Service", "c")]
    after = [deployment("b", image="other"), manifest("Service", "c"), manifest("ConfigMap", "d", data={"k": "v"})]
    changes = diff(before, after)
    assert actions(changes) == {"a": "delete", "b": "change", "c": "unchanged", "d": "create"}
    assert changes.counts == {"create": 1, "change": 1, "replace": 0, "delete": 1, "unchanged": 1}
    assert changes.exit_code == 2
    assert [change.identity.name for change in changes] == ["d", "c", "a", "b"], "in the order they are applied"


def test_no_difference_is_no_change() -> None:
    changes = diff([deployment()], [deployment()])
    assert changes.exit_code == 0
    assert changes.effective == changes.notable == ()


def test_the_api_version_is_a_field_and_the_group_is_not() -> None:
    old = Manifest({**deployment().object, "apiVersion": "apps/v1beta1"})
    other = Manifest({**deployment().object, "apiVersion": "extensions/v1beta1"})
    assert only(diff([old], [deployment()])).fields[0].path == ("apiVersion",)
    assert sorted(change.action for change in diff([other], [deployment()])) == ["create", "delete"]


def test_what_cannot_be_changed_in_place_is_replaced() -> None:
    before = manifest("Deployment", "d", spec={"selector": {"matchLabels": {"a": "1"}}, "replicas": 1})
    after = manifest("Deployment", "d", spec={"selector": {"matchLabels": {"a": "2"}}, "replicas": 2})
    change = only(diff([before], [after]))
    assert change.action is Action.REPLACE
    assert change.reason == "spec.selector can't be changed in place"
    frozen = manifest("ConfigMap", "c", immutable=True, data={"a": "1"})
    assert only(diff([frozen], [manifest("ConfigMap", "c", immutable=True, data={"a": "2"})])).action is Action.REPLACE
    assert only(diff([manifest("ConfigMap", "c", data={"a": "1"})], [frozen])).action is Action.CHANGE


def test_one_object_twice_is_the_callers_fault() -> None:
    with pytest.raises(ValueError, match=r"Deployment\.apps vision/digits is there twice"):
        diff([], [deployment(), deployment()])


def test_environments_may_hold_objects_of_one_identity() -> None:
    changes = diff_environments({"a": [deployment()], "b": [deployment()]}, {"a": [deployment(image="x")], "c": []})
    assert [str(change.action) for change in changes] == ["change", "delete"]


def test_an_object_without_labels_is_in_the_environment_given() -> None:
    bare = Manifest({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}})
    change = only(diff([], [bare], "prod"))
    assert (change.environment, change.model) == ("prod", "")


# Runs


def test_a_new_run_is_one_change() -> None:
    change = only(diff([run("digits-1", {})], [run("digits-2", {})]))
    assert (change.action, change.identity.name, change.replaces) == (Action.CREATE, "digits-2", "digits-1")
    assert change.reason == "new run, replaces digits-1, which is left to finish"


def test_a_run_that_is_gone_is_not_deleted() -> None:
    changes = diff([run("digits-1", {})], [])
    assert only(changes).action is Action.UNCHANGED
    assert changes.exit_code == 0
    assert [change.reason for change in changes.notable] == [
        "no longer rendered; a run is never pruned, it is left to finish"
    ]


def test_the_first_run_replaces_none() -> None:
    change = only(diff([], [run("digits-1", {})]))
    assert (change.action, change.reason, change.replaces) == (Action.CREATE, "new run", "")


def test_runs_of_other_models_are_not_paired() -> None:
    changes = diff([run("wine-1", {}, model="wine")], [run("digits-1", {})])
    assert actions(changes) == {"wine-1": "unchanged", "digits-1": "create"}


def test_a_run_changed_under_its_name_is_not_patched() -> None:
    old, new = run("digits-1", {}), run("digits-1", {"train": (None, {}, {})})
    assert only(diff([old], [new])).reason == "a run is created once and never patched: one that exists stays as it is"


def driver(name: str, component: str = "run", **spec: Any) -> Manifest:
    found = manifest("Job", name, spec=spec)
    metadata = {**found.metadata, "labels": {**found.labels, "app.kubernetes.io/component": component}}
    return Manifest({**found.object, "metadata": metadata})


def test_a_job_that_drives_a_run_is_a_run() -> None:
    old, new = driver("digits-1", backoffLimit=1), driver("digits-2", backoffLimit=2)
    assert only(diff([old], [new])).reason == "new run, replaces digits-1, which is left to finish"
    assert only(diff([old], [])).reason == "no longer rendered; a run is never pruned, it is left to finish"
    again = only(diff([old], [driver("digits-1", template={"x": 1})]))
    assert (again.action, again.reason) == (
        Action.CHANGE,
        "a run is created once and never patched: one that exists stays as it is",
    )


def test_another_job_is_an_object_like_others() -> None:
    old, new = driver("backup", "setup", template={"x": 1}), driver("backup", "setup", template={"x": 2})
    assert only(diff([old], [new])).action is Action.REPLACE
    assert only(diff([old], [])).action is Action.DELETE


def test_what_is_marked_not_to_be_pruned_is_not_deleted() -> None:
    code = manifest("ConfigMap", "c", annotations={"argocd.argoproj.io/sync-options": "Foo=true, Prune=false"})
    assert only(diff([code], [])).reason == "no longer rendered, but marked not to be pruned"
    other = manifest("ConfigMap", "c", annotations={"argocd.argoproj.io/sync-options": "Prune=falsehood"})
    assert only(diff([other], [])).action is Action.DELETE


def test_a_scheduled_run_keeps_its_name_and_is_changed() -> None:
    old, new = run("digits", {}, "CronWorkflow"), run("digits", {"train": (None, {}, {})}, "CronWorkflow")
    assert only(diff([old], [new])).action is Action.CHANGE
    assert only(diff([old], [])).action is Action.DELETE


# Secrets


def secret(name: str = "s", **data: Any) -> Manifest:
    return manifest("Secret", name, **data)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def plans(changes: ChangeSet) -> list[str]:
    return [
        text(changes, colour=True),
        text(changes, width=30),
        json(changes),
        markdown(changes),
        repr(changes),
    ]


def test_secret_data_is_a_salted_digest_that_tells_equal_from_other() -> None:
    before = secret(data={"a": encoded("hunter2"), "b": encoded("same")}, stringData={"c": "hunter2"})
    after = secret(data={"a": encoded("hunter3"), "b": encoded("same")}, stringData={"c": "hunter2"})
    (field,) = only(diff([before], [after], salt=NO_SALT)).fields
    assert field.path == ("data", "a")
    assert isinstance(field.before, Masked)
    assert field.before != field.after
    (salted,) = only(diff([before], [after], salt=b"x")).fields
    assert salted.before != field.before, "the digest can't be looked up"
    first, second = (only(diff([before], [after])).fields[0].before for _ in range(2))
    assert first != second


@pytest.mark.parametrize("data", ["hunter2", ["hunter2"], {"a": {"b": "hunter2"}}, {"a": 12345678}])
def test_secret_data_of_a_wrong_shape_is_masked_too(data: Any) -> None:
    changes = diff([secret(data=data)], [secret(data={"x": "eA=="}), manifest("ConfigMap", "c", data={"d": str(data)})])
    for plan in plans(diff([secret(data=data)], [secret(data={"x": "eA=="})])):
        assert "hunter2" not in plan
        assert "12345678" not in plan
    assert changes.exit_code == 2


def test_kubectls_copy_of_a_secret_is_masked() -> None:
    copies = {"kubectl.kubernetes.io/last-applied-configuration": '{"data": {"a": "cGlu"}}'}
    for plan in plans(diff([secret(data={"a": "cGlu"}, annotations=copies)], [secret(data={})])):
        assert "cGlu" not in plan


def test_an_external_secret_is_shown() -> None:
    before, after = (
        Manifest(
            {
                "apiVersion": "external-secrets.io/v1",
                "kind": "ExternalSecret",
                "metadata": {"name": "s"},
                "spec": {"data": [{"secretKey": "a", "remoteRef": {"key": key}}]},
            }
        )
        for key in ("old", "new")
    )
    assert only(diff([before], [after])).fields[0].after == "new"


def test_a_literal_that_moves_into_a_secret_is_masked() -> None:
    before = deployment(env=[{"name": "TOKEN", "value": "hunter2"}, {"name": "MODE", "value": "fast"}])
    reference = {"secretKeyRef": {"name": "s", "key": "k"}}
    after = deployment(env=[{"name": "TOKEN", "valueFrom": reference}, {"name": "MODE", "value": "slow"}])
    for plan in plans(diff([before], [after])) + plans(diff([after], [before])):
        assert "hunter2" not in plan
        assert "valueFrom" in plan
        assert "fast" in plan
    renamed = Manifest({**before.object, "metadata": {**before.object["metadata"], "name": "other"}})
    for plan in plans(diff([renamed], [after])):
        assert "hunter2" not in plan


def test_a_secrets_value_is_masked_wherever_it_is() -> None:
    config = manifest("ConfigMap", "c", data={"url": "https://user:hunter2@db/x", "raw": encoded("hunter2")})
    changes = diff([], [secret(data={"p": encoded("hunter2")}), config])
    for plan in plans(changes):
        assert "hunter2" not in plan
        assert encoded("hunter2") not in plan


VALUES = st.text(st.characters(codec="utf-8"), min_size=6, max_size=20).map(lambda text: f"S3CR3T{text}")


@settings(max_examples=60)
@given(VALUES, VALUES, st.booleans())
def test_no_view_shows_a_secret(old: str, new: str, forwards: bool) -> None:
    def objects(value: str) -> list[Manifest]:
        environment = [{"name": "TOKEN", "value": value}]
        return [
            secret(data={"a": encoded(value)}, stringData={"b": value}),
            deployment(env=environment, args=[f"--token={value}"]),
            manifest("ConfigMap", "c", data={"f": f"first\nx {value}\nlast"}, annotations={"note": value}),
        ]

    before, after = objects(old), objects(new)
    if not forwards:
        after = []
    for plan in plans(diff(before, after)):
        assert "S3CR3T" not in plan
        assert "UzNDUjNU" not in plan, "the same in base64"


# Properties


SCALARS = st.sampled_from(["a", "b", "x\ny", 1, True, None])
SPECS = st.dictionaries(st.sampled_from("abc"), SCALARS | st.lists(SCALARS, max_size=3), max_size=3)


@st.composite
def objects(draw: st.DrawFn) -> list[Manifest]:
    names = draw(st.sets(st.sampled_from("pqrstu"), max_size=5))
    kinds = st.sampled_from(["Service", "ConfigMap", "Workflow", "Deployment"])
    return [manifest(draw(kinds), name, model=draw(st.sampled_from("mn")), spec=draw(SPECS)) for name in sorted(names)]


@given(objects())
def test_nothing_differs_from_itself(found: list[Manifest]) -> None:
    changes = diff(found, copy.deepcopy(found))
    assert changes.effective == ()
    assert len(changes) == len(found)


@given(objects(), objects())
def test_fields_of_a_plan_turn_one_side_into_the_other(before: list[Manifest], after: list[Manifest]) -> None:
    result = {found.identity: found.object for found in before}
    for change in diff(before, after).effective:
        if change.action is Action.DELETE:
            assert same(result.pop(change.identity), change.fields[0].before)
            continue
        result[change.identity] = applied(result.get(change.identity), change.fields)
    left = {found.identity: found.object for found in before if found.kind == "Workflow"}
    assert same(result, {**left, **{found.identity: found.object for found in after}}), "old runs stay"


@given(objects(), objects(), st.randoms())
def test_the_order_of_the_input_does_not_count(
    before: list[Manifest], after: list[Manifest], rng: random.Random
) -> None:
    first = diff(before, after, salt=NO_SALT)
    rng.shuffle(before)
    rng.shuffle(after)
    assert diff(before, after, salt=NO_SALT) == first


@given(objects(), objects())
def test_every_change_says_what_or_why(before: list[Manifest], after: list[Manifest]) -> None:
    changes = diff(before, after)
    assert all(change.fields or change.reason for change in changes.effective)
    assert sum(changes.counts.values()) == len(changes)
    assert sorted(change.action for change in diff(after, before) if change.action is Action.CHANGE) == sorted(
        change.action for change in changes if change.action is Action.CHANGE
    )


def test_a_change_without_fields_and_reason_cannot_be_made() -> None:
    identity = deployment().identity
    with pytest.raises(ValueError, match="needs fields or a reason"):
        Change(action=Action.CHANGE, identity=identity, model="", environment="")
    fields = only(diff([], [deployment()])).fields
    with pytest.raises(ValueError, match="has no changed fields"):
        Change(action=Action.UNCHANGED, identity=identity, model="", environment="", fields=fields)


def test_twelve_thousand_objects() -> None:
    before = [
        manifest("Service", f"s{n}", model=f"m{n // 12}", spec={"ports": [{"port": 80}, {"port": 90 + n % 7}]})
        for n in range(12_000)
    ]
    after = [Manifest(copy.deepcopy(dict(found.object))) for found in before[1:]]
    after[5].object["spec"]["ports"][0]["port"] = 81
    changes = diff(before, after)
    assert changes.counts[Action.UNCHANGED] == 11_998
    assert [(c.action, c.identity.name) for c in changes.effective] == [(Action.DELETE, "s0"), (Action.CHANGE, "s6")]
    assert [field.op for field in changes.effective[1].fields] == [Op.REMOVE, Op.ADD]


def test_hostile_labels_do_no_harm() -> None:
    odd = [
        Manifest({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "labels": {"aif.dev/model": 7}}}),
        Manifest({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b", "labels": ["x"]}}),
        Manifest({"apiVersion": "v1", "kind": "Workflow", "metadata": {"name": "c", "labels": labels("a", "b")}}),
    ]
    changes = diff([], odd, "e")
    assert [change.model for change in changes] == ["b", "", "7"]
    assert plan_steps([], odd).runs == ()
