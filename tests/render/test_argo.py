from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aifctl import contract, digest, ir
from aifctl.contract import Kind
from aifctl.diagnostics import Report
from aifctl.manifest import Manifest
from aifctl.render.bundles import render
from tests.render import bundles, schemas

SHAPES = {
    "inline": bundles.bundle(run=bundles.run("inline")),
    "archive": bundles.bundle(run=bundles.run("archive")),
    "image": bundles.bundle(run=bundles.run("image")),
    "no code": bundles.bundle(run=bundles.run(None)),
    "unpinned": bundles.bundle(run=bundles.run(pin=None)),
    "scheduled": bundles.bundle(run=bundles.scheduled()),
    "bare": bundles.bundle(run=bundles.run(None), target=bundles.target(store_secret=None, tracking=None)),
}
ATTACKS = (
    *("{{workflow.name}}", "{{=sprig.env('X')}}", "{{{{workflow.name}}}}", "{{{workflow.uid}}}", "{ {x}}", "}}{{"),
    *("$(HOME)", "$$(HOME)", "$(AIF_ATTEMPT)", "$(AIF_BRACE)", "${HOME}", "$", "$$", "a$", "$(", "{$(AIF_BRACE)x}}"),
    *("{{", "}}", "'", '"', "\\", "a\nb", "é→🎉", "\u2028", "x: y", "--known=x", ""),
)


def run_object(bundle: ir.Bundle) -> Manifest:
    [found] = [each for each in render(bundle) if each.kind in schemas.ARGO]
    return found


def spec_of(manifest: Manifest) -> dict[str, Any]:
    spec: dict[str, Any] = manifest.object["spec"]
    found: dict[str, Any] = spec.get("workflowSpec", spec)
    return found


def templates_of(bundle: ir.Bundle) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in spec_of(run_object(bundle))["templates"]}


def started(template: Mapping[str, Any], tags: Mapping[str, str] | None = None) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment that the program gets: Argo puts in its tags, then the kubelet its variables."""
    container = template["container"]
    environment: dict[str, str] = {}
    for variable in container["env"]:
        from_field = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
        value = f"<{from_field}>" if "value" not in variable else _argo(variable["value"], tags or {})
        environment[variable["name"]] = _kubelet(value, environment)
    return [_kubelet(_argo(each, tags or {}), environment) for each in container["args"]], environment


def _argo(text: str, tags: Mapping[str, str]) -> str:
    """As fasttemplate does: a tag starts at the first `{{`, ends at the first `}}` after it; unknown ones are shown."""
    return re.sub(r"\{\{(.*?)\}\}", lambda match: tags.get(match[1], f"ARGO({match[1]})"), text, flags=re.DOTALL)


def _kubelet(text: str, environment: Mapping[str, str]) -> str:
    """Kubernetes' expansion of `$(NAME)`, with `$$` for one `$`; unknown names stay as they are."""
    known = r"\$\$|\$\(([^)]*)\)"
    return re.sub(known, lambda match: "$" if match[1] is None else environment.get(match[1], match[0]), text)


@pytest.mark.parametrize("shape", SHAPES)
def test_all_objects_pass_the_validators_of_their_makers(shape: str) -> None:
    found = render(SHAPES[shape])
    assert {each.kind for each in found} >= {"ServiceAccount", "Role", "RoleBinding", "Secret"}
    for manifest in found:
        schemas.validate(manifest)


@pytest.mark.parametrize("shape", SHAPES)
def test_runs_pass_the_schema_of_argo_s_crd(shape: str) -> None:
    schemas.validate_by_crd(run_object(SHAPES[shape]))


def test_the_crd_s_schema_refuses_an_unknown_field() -> None:
    found = dict(run_object(SHAPES["inline"]).object)
    with pytest.raises(jsonschema.ValidationError, match="nonsense"):
        schemas.validate_by_crd(Manifest({**found, "spec": {**found["spec"], "nonsense": 1}}))


def test_a_run_is_named_by_its_content_and_outlives_its_file() -> None:
    found = run_object(SHAPES["inline"])
    run = SHAPES["inline"].run
    assert run is not None
    assert (found.kind, found.name) == ("Workflow", run.name)
    assert "generateName" not in found.metadata
    assert found.annotations["argocd.argoproj.io/sync-options"] == "Prune=false"
    assert found.annotations["argocd.argoproj.io/compare-options"] == "IgnoreExtraneous"
    assert found.annotations["aif.dev/source"] == "models/digits/model.yaml"
    assert found.annotations["aif.dev/run-digest"] == run.digest


def test_the_identity_says_what_each_step_is_made_of() -> None:
    found = json.loads(run_object(SHAPES["inline"]).annotations["aif.dev/identity"])
    run = SHAPES["inline"].run
    assert run is not None
    assert found == {step.name: {"digest": step.spec.digest, "parts": dict(step.parts)} for step in run.steps}


def test_a_scheduled_run_keeps_its_name_and_may_be_pruned() -> None:
    found = run_object(SHAPES["scheduled"])
    assert (found.kind, found.name) == ("CronWorkflow", "digits")
    assert found.object["spec"]["schedules"] == ["0 3 * * *"]
    assert found.object["spec"]["timezone"] == "Europe/Berlin"
    assert found.object["spec"]["concurrencyPolicy"] == "Forbid"
    assert not [key for key in found.annotations if key.startswith("argocd")]


def test_tasks_wait_for_what_their_steps_come_after() -> None:
    run = SHAPES["inline"].run
    assert run is not None
    tasks = templates_of(SHAPES["inline"])["run"]["dag"]["tasks"]
    assert {each["name"]: tuple(each.get("dependencies", ())) for each in tasks} == {
        step.name: step.after for step in run.steps
    }


@pytest.mark.parametrize("shape", ["inline", "archive", "image", "no code"])
def test_a_pinned_run_passes_nothing_from_step_to_step(shape: str) -> None:
    for template in templates_of(SHAPES[shape]).values():
        assert not {"inputs", "outputs"} & set(template)
    assert "{{" not in json.dumps(spec_of(run_object(SHAPES[shape])))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_program_gets_the_steps_that_were_lowered(shape: str) -> None:
    run, found = SHAPES[shape].run, templates_of(SHAPES[shape])
    assert run is not None
    for step in run.steps:
        arguments, environment = started(found[step.name])
        flags = dict(each.removeprefix("--").split("=", 1) for each in arguments)
        assert contract.decode(flags["step"]) == step.spec
        assert flags["store"] == "s3://acme-models"
        assert flags["attempt"] == "<metadata.name>"
        assert {each.name: environment[each.name] for each in step.variables} == {
            each.name: each.value for each in step.variables
        }
        wanted = "<metadata.labels['workflows.argoproj.io/workflow']>" if run.schedule else run.name
        assert flags["run"] == wanted


@pytest.mark.parametrize("text", ATTACKS)
def test_no_user_s_text_is_read_by_argo_or_the_kubelet(text: str) -> None:
    _passes_unchanged(text)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from((*ATTACKS, "{", "}", "$", "(", "AIF_BRACE", ")", "x")), max_size=8).map("".join))
def test_nor_any_mixture_of_such_texts(text: str) -> None:
    _passes_unchanged(text)


def _passes_unchanged(text: str) -> None:
    step = bundles.step("train", Kind.TRAIN, {}, config={"text": text, text or "key": [text]})
    step = replace(step, variables=(ir.Variable(name="GIVEN", value=text),))
    run = ir.Run(name="digits-0123456789", digest="0" * 64, attempt=1, steps=(step,))
    target = bundles.target(store=f"s3://b/{text}", tracking=f"http://t/{text}")
    arguments, environment = started(templates_of(bundles.bundle(run=run, target=target))["train"])
    flags = dict(each.removeprefix("--").split("=", 1) for each in arguments)
    assert contract.decode(flags["step"]) == step.spec
    assert (flags["store"], flags["tracking"]) == (f"s3://b/{text}", f"http://t/{text}")
    assert environment["GIVEN"] == text


def test_digests_below_unpinned_data_flow_from_task_to_task() -> None:
    bundle = SHAPES["unpinned"]
    found = templates_of(bundle)
    tasks = {each["name"]: each for each in found["run"]["dag"]["tasks"]}
    assert found["prepare"]["outputs"]["parameters"] == [{"name": "digest", "valueFrom": {"path": "/aif/work/digest"}}]
    assert "--digest_file=/aif/work/digest" in started(found["prepare"])[0]
    assert tasks["evaluate"]["arguments"]["parameters"] == [
        {"name": "train", "value": "{{tasks.train.outputs.parameters.digest}}"},
        {"name": "prepare", "value": "{{tasks.prepare.outputs.parameters.digest}}"},
    ]
    tags = {f"inputs.parameters.{name}": letter * 64 for name, letter in (("train", "a"), ("prepare", "b"))}
    assert f"--known=train={'a' * 64},prepare={'b' * 64}" in started(found["evaluate"], tags)[0]
    assert "outputs" not in found["register"], "nothing reads it"
    assert "synchronization" not in found["train"], "there is no digest to name it by"


def test_two_runs_that_share_a_training_wait_for_each_other() -> None:
    run = SHAPES["inline"].run
    assert run is not None
    [train] = [step for step in run.steps if step.name == "train"]
    assert train.spec.digest is not None
    found = templates_of(SHAPES["inline"])
    assert found["train"]["synchronization"] == {"mutexes": [{"name": f"aif-{train.spec.digest[:10]}"}]}
    assert [name for name, each in found.items() if "synchronization" in each] == ["train"]


def test_resources_devices_and_shared_memory() -> None:
    train = templates_of(SHAPES["inline"])["train"]
    assert train["container"]["resources"] == {
        "requests": {"cpu": "8", "memory": "32Gi"},
        "limits": {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "2"},
    }
    assert train["nodeSelector"] == {"gpu": "h100"}
    assert train["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert train["volumes"] == [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}}]
    assert {"name": "shm", "mountPath": "/dev/shm"} in train["container"]["volumeMounts"]
    assert train["activeDeadlineSeconds"] == "3600"
    prepare = templates_of(SHAPES["inline"])["prepare"]
    assert not {"nodeSelector", "tolerations", "volumes", "activeDeadlineSeconds"} & set(prepare)


def test_retries_are_for_faults_of_the_surroundings() -> None:
    found = templates_of(SHAPES["inline"])
    strategy = found["train"]["retryStrategy"]
    assert strategy["limit"] == "2"
    assert strategy["backoff"] == {"duration": "30s", "factor": "2"}
    assert '"75"' in strategy["expression"]
    assert '"1"' not in strategy["expression"]
    assert "retryStrategy" not in found["gate"], "it has no retries"


@pytest.mark.parametrize("shape", SHAPES)
def test_pods_are_restricted_and_steps_get_no_token(shape: str) -> None:
    manifests = render(SHAPES[shape])
    spec = spec_of(run_object(SHAPES[shape]))
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for template in spec["templates"][1:]:
        container = template["container"]
        assert container["securityContext"] == {
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        mounts = {each["mountPath"] for each in container["volumeMounts"]}
        assert mounts >= {"/tmp", "/aif/work"}
    [role] = [each for each in manifests if each.kind == "Role"]
    assert role.object["rules"] == [
        {"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]}
    ]
    [secret] = [each for each in manifests if each.kind == "Secret"]
    assert not {"data", "stringData"} & set(secret.object)
    assert secret.name == f"{spec['executor']['serviceAccountName']}.service-account-token"


@pytest.mark.parametrize("shape", SHAPES)
def test_argo_s_own_containers_are_restricted_too(shape: str) -> None:
    patch = json.loads(spec_of(run_object(SHAPES[shape]))["podSpecPatch"])
    own = {"runAsNonRoot": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert patch == {
        "initContainers": [{"name": "init", "securityContext": own}],
        "containers": [{"name": "wait", "securityContext": own}],
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_no_run_waits_for_ever(shape: str) -> None:
    """Thirty days for all that has no timeout, and the one hour of its training, three times."""
    assert spec_of(run_object(SHAPES[shape]))["activeDeadlineSeconds"] == 30 * 86400 + 3 * 3600


def test_secrets_are_named_and_never_held() -> None:
    container = templates_of(SHAPES["inline"])["train"]["container"]
    assert {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf-credentials", "key": "token"}}} in container[
        "env"
    ]
    assert container["envFrom"] == [{"secretRef": {"name": "s3-writer"}}]
    names = [each["name"] for each in container["env"]]
    assert len(names) == len(set(names)), "server-side apply refuses a name that is there twice"
    assert "envFrom" not in templates_of(SHAPES["bare"])["train"]["container"]


def test_inline_code_is_a_key_a_file_and_lies_at_its_path() -> None:
    [code] = [each for each in render(SHAPES["inline"]) if each.kind == "ConfigMap"]
    [volume] = [each for each in spec_of(run_object(SHAPES["inline"]))["volumes"] if each["name"] == "code"]
    assert volume["configMap"]["name"] == code.name
    found = {each["path"]: code.object["data"][each["key"]] for each in volume["configMap"]["items"]}
    assert found == {f"tree/{path}": text for path, text in bundles.CODE.items()}
    assert all(re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", key) for key in code.object["data"])
    assert code.name == f"digits-code-{bundles.code().digest[:10]}"
    assert code.object["immutable"] is True
    train, prepare = (templates_of(SHAPES["inline"])[name] for name in ("train", "prepare"))
    mount = {"name": "code", "mountPath": "/aif/code", "subPath": "tree", "readOnly": True}
    assert mount in train["container"]["volumeMounts"]
    assert "--code=/aif/code" in train["container"]["args"]
    assert mount not in prepare["container"]["volumeMounts"], "it imports no code"
    assert not [each for each in prepare["container"]["args"] if each.startswith("--code")]


def test_the_mounted_code_has_the_digest_that_the_step_expects(tmp_path: Path) -> None:
    [code] = [each for each in render(SHAPES["inline"]) if each.kind == "ConfigMap"]
    [volume] = [each for each in spec_of(run_object(SHAPES["inline"]))["volumes"] if each["name"] == "code"]
    for item in volume["configMap"]["items"]:
        place = tmp_path / item["path"]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(code.object["data"][item["key"]].encode())
    assert digest.of_tree(tmp_path / "tree") == bundles.code().digest


@pytest.mark.parametrize(("shape", "folder"), [("archive", "/aif/work/code"), ("image", "/app")])
def test_other_ways_of_code_mount_nothing(shape: str, folder: str) -> None:
    assert "ConfigMap" not in {each.kind for each in render(SHAPES[shape])}
    train = templates_of(SHAPES[shape])["train"]["container"]
    assert f"--code={folder}" in train["args"]
    assert "code" not in {each["name"] for each in train["volumeMounts"]}


def test_owner_labels_are_on_objects_and_pods_and_argo_cd_s_are_not() -> None:
    for manifest in render(SHAPES["inline"]):
        assert manifest.labels["app.kubernetes.io/managed-by"] == "aifctl"
        assert manifest.labels["aif.dev/model"] == "digits"
        assert manifest.labels["aif.dev/tenant"] == "vision"
        assert manifest.labels["aif.dev/environment"] == "lab"
        assert "argocd.argoproj.io/instance" not in manifest.labels
        assert "argocd.argoproj.io/tracking-id" not in manifest.annotations
    spec = spec_of(run_object(SHAPES["inline"]))
    assert spec["podMetadata"]["labels"]["aif.dev/model"] == "digits"
    assert spec["templates"][1]["metadata"]["labels"] == {"aif.dev/step": "prepare"}


def test_step_names_that_argo_does_not_take_are_mapped_and_kept_apart() -> None:
    names = ("prepare-a_b", "prepare-a-b", "prepare-a.b", "run", "_x")
    steps = tuple(bundles.step(name, Kind.PREPARE, {"data:x": "version:1"}) for name in names[:4])
    last = bundles.step("all", Kind.CUSTOM, {step.name: step.spec.digest for step in steps})
    run = ir.Run(name="digits-0123456789", digest="0" * 64, attempt=1, steps=(*steps, last))
    manifest = run_object(bundles.bundle(run=run))
    schemas.validate_by_crd(manifest)
    tasks = templates_of(bundles.bundle(run=run))["run"]["dag"]["tasks"]
    found = [each["name"] for each in tasks]
    assert len(set(found) | {"run"}) == 6
    assert tasks[-1]["dependencies"] == found[:4]


def refused(bundle: ir.Bundle) -> list[tuple[str, str]]:
    with pytest.raises(Report) as caught:
        render(bundle)
    return [(each.code, each.message) for each in caught.value.diagnostics]


def with_step(**values: Any) -> ir.Bundle:
    run = bundles.run(None)
    return bundles.bundle(run=replace(run, steps=(replace(run.steps[0], **values), *run.steps[1:])))


def test_what_an_environment_lacks_is_said_all_at_once() -> None:
    run = bundles.run(None)
    broken = replace(run, steps=tuple(replace(step, image=None, nodes=2) for step in run.steps[:2]))
    found = refused(bundles.bundle(run=broken, target=bundles.target(store=None)))
    assert [code for code, _ in found] == ["AIF507"] * 5
    assert found[0][1] == "environment `lab` has no store, which every step needs"


@pytest.mark.parametrize(
    "values",
    [
        {"image": "a/{{workflow.name}}"},
        {"secrets": (ir.SecretVariable(name="A", secret="{{x}}", key="k"),)},
        {"secrets": (ir.SecretVariable(name="A", secret="s", key="{{x}}"),)},
        {"variables": (ir.Variable(name="{{x}}", value="v"),)},
        {"accelerator": ir.Accelerator(name="g", resource="{{x}}", per_node=1)},
        {"accelerator": ir.Accelerator(name="g", resource="r", per_node=1, node_selector={"a": "{{x}}"})},
        {"accelerator": ir.Accelerator(name="g", resource="r", per_node=1, tolerations=({"key": "{{x}}"},))},
    ],
)
def test_tags_where_they_can_not_be_guarded_are_refused(values: dict[str, Any]) -> None:
    assert [code for code, _ in refused(with_step(**values))] == ["AIF508"]


def test_a_tag_in_the_path_of_a_code_file_is_refused() -> None:
    code = ir.Code(digest="a" * 64, delivery="inline", files=(ir.CodeFile(path="{{x}}.py", text=""),))
    assert refused(bundles.bundle(run=replace(bundles.run(None), code=code)))[0][0] == "AIF508"


def test_arguments_that_linux_does_not_take_are_refused() -> None:
    step = bundles.step("prepare", Kind.PREPARE, {}, config={"words": "x" * (128 << 10)})
    run = ir.Run(name="digits-0123456789", digest="0" * 64, attempt=1, steps=(step,))
    assert refused(bundles.bundle(run=run))[0][0] == "AIF510"


def test_more_steps_than_argo_takes_are_refused() -> None:
    steps = tuple(bundles.step(f"s{number}", Kind.CUSTOM, {}) for number in range(200))
    run = ir.Run(name="digits-0123456789", digest="0" * 64, attempt=1, steps=steps)
    assert refused(bundles.bundle(run=run))[0][0] == "AIF510"


def test_variables_of_aifctl_can_not_be_replaced() -> None:
    assert refused(with_step(variables=(ir.Variable(name="AIF_BRACE", value="x"),)))[0][0] == "AIF511"
    assert refused(with_step(secrets=(ir.SecretVariable(name="AIF_RUN", secret="s", key="k"),)))[0][0] == "AIF511"


@pytest.mark.parametrize("model", ["Digits", "a b", "x" * 300, "a\nb: c", "-a", "a/../b", "é"])
def test_names_that_kubernetes_does_not_take_are_refused(model: str) -> None:
    assert {code for code, _ in refused(bundles.bundle(run=bundles.scheduled(), model=model))} == {"AIF509"}


def test_a_users_home_may_be_set_and_stands_once() -> None:
    bundle = with_step(variables=(ir.Variable(name="HOME", value="/elsewhere"),))
    env = templates_of(bundle)["prepare"]["container"]["env"]
    assert [each for each in env if each["name"] == "HOME"] == [{"name": "HOME", "value": "/elsewhere"}]
