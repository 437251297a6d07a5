"""Every file that the examples are rendered to, byte for byte, and what validators of other people's making say of it.

`make golden` (`pytest --update-golden`) writes tests/golden/rendered anew; it is refused where CI is set. Look at the
diff before you commit it: a changed file here is a changed object on every cluster.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
import yaml12

from aifctl import contract
from aifctl.contract import Kind
from aifctl.manifest import Manifest
from aifctl.plan.steps import IDENTITY
from aifctl.runtime import entry
from tests.golden import repository
from tests.render import schemas

GOLDEN = repository.HERE / "rendered"
FILES = sorted(path.relative_to(repository.HERE).as_posix() for path in GOLDEN.rglob("*.yaml"))
WORKFLOWS = [name for name in FILES if "/run/workflow-" in name]
CONFIGS = {
    Kind.PREPARE: contract.PrepareConfig,
    Kind.CUSTOM: contract.CustomConfig,
    Kind.TRAIN: contract.TrainConfig,
    Kind.EVALUATE: contract.EvaluateConfig,
    Kind.GATE: contract.GateConfig,
    Kind.EXPORT: contract.ExportConfig,
    Kind.VERIFY: contract.VerifyConfig,
    Kind.REGISTER: contract.RegisterConfig,
}


def test_the_examples_are_rendered_as_ever(tmp_path: Path, update_golden: bool) -> None:
    found = repository.rendered(repository.lay_out(tmp_path / "specs"))
    found |= repository.rendered(repository.lay_out_plain(tmp_path / "plain"), ["plain"])
    if update_golden:
        _write(found)
    kept = {path.relative_to(repository.HERE).as_posix(): path.read_bytes() for path in _below(GOLDEN)}
    assert sorted(kept.keys() - found.keys()) == [], "golden files that nothing is rendered to"
    assert sorted(found.keys() - kept.keys()) == [], "rendered files without a golden one"
    changed = [name for name in sorted(found) if found[name] != kept[name]]
    assert changed == [], "look at the difference after `make golden`"


def test_there_is_something_to_compare() -> None:
    kinds = {PurePosixPath(name).name.partition("-")[0] for name in FILES}
    assert kinds >= {"workflow", "configmap", "deployment", "service", "horizontalpodautoscaler", "networkpolicy"}
    assert {name.split("/")[1] for name in FILES} == {*repository.ENVIRONMENTS, "plain"}
    assert len(WORKFLOWS) == len(DRIVERS) == 4


@pytest.mark.parametrize("name", FILES)
def test_a_golden_file_is_what_its_api_takes(name: str) -> None:
    text = (repository.HERE / name).read_text("utf-8")
    value = yaml12.parse_yaml(text)
    schemas.validate(Manifest(value))
    assert yaml.safe_load(text) == value, "YAML 1.1 reads it otherwise"
    assert Manifest(value).to_yaml() == text, "not what the writer writes"


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_golden_workflow_is_what_its_crd_takes(name: str) -> None:
    schemas.validate_by_crd(Manifest(_read(name)))


@pytest.mark.parametrize("name", WORKFLOWS)
def test_the_runtime_reads_the_arguments_of_every_container(name: str) -> None:
    workflow = _read(name)
    identity = json.loads(workflow["metadata"]["annotations"][IDENTITY])
    told = [_arguments(template) for template in workflow["spec"]["templates"] if "container" in template]
    parsed = [entry._parse(arguments) for arguments in told]
    assert {spec.name for spec, _ in parsed} == identity.keys()
    for spec, site in parsed:
        assert spec.digest == identity[spec.name]["digest"]
        assert spec.digest == contract.step_digest(spec.kind, spec.own, spec.inputs), "not what the pod would compute"
        assert _config(spec) is not None
        assert site.store.startswith("s3://")
        assert (site.run, site.attempt) == (workflow["metadata"]["name"], "the-pods-name")
        assert (site.code is None) == (spec.code is None)


DRIVERS = [name for name in FILES if "/run/job-" in name]


@pytest.mark.parametrize("name", DRIVERS)
def test_a_driver_and_the_jobs_of_its_steps_fit_together(name: str) -> None:
    """What the driver reads: its arguments, and of each step a Job that the API takes once its name is put in."""
    job = _read(name)
    identity = json.loads(job["metadata"]["annotations"][IDENTITY])
    pod = job["spec"]["template"]["spec"]
    listed = [contract.decode(each.removeprefix("--step=")) for each in _told(pod) if each.startswith("--step=")]
    assert {spec.name: spec.digest for spec in listed} == {step: each["digest"] for step, each in identity.items()}
    (volume,) = [each["configMap"]["name"] for each in pod["volumes"] if each["name"] == "steps"]
    jobs = _read(str(PurePosixPath(name).with_name(f"configmap-{volume}.yaml")))["data"]
    assert jobs.keys() == {f"{spec.name}.yaml" for spec in listed}
    for spec in listed:
        step = yaml.safe_load(jobs[f"{spec.name}.yaml"])
        schemas.validate(Manifest(step))
        told = [f"--step={contract.encode(spec)}", "--run=x", *_told(step["spec"]["template"]["spec"])]
        read, site = entry._parse(told)
        assert (read, site.store) == (spec, "file:///models")
        assert (site.code is None) == (spec.code is None)


def _told(pod: dict[str, Any]) -> list[str]:
    (container,) = pod["containers"]
    return [text.replace("$$", "$") for text in container["args"]]


def _config(spec: contract.StepSpec) -> Any:
    from aifctl.runtime.job import parse_config

    return parse_config(spec, CONFIGS[spec.kind])


def _arguments(template: dict[str, Any]) -> list[str]:
    """What the program gets: the kubelet has put in the variables, `$$(` is a `$(` that was not meant."""
    container = template["container"]
    values = {each["name"]: each.get("value", "the-pods-name") for each in container["env"]}
    assert container["command"][-1] == "aifctl.runtime.entry"
    return [_expanded(text, values) for text in container["args"]]


def _expanded(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"$({name})", value)
    return text.replace("$$(", "$(")


def _read(name: str) -> Any:
    return yaml12.parse_yaml((repository.HERE / name).read_text("utf-8"))


def _below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _write(files: dict[str, bytes]) -> None:
    for path in _below(GOLDEN):
        if path.relative_to(repository.HERE).as_posix() not in files:
            path.unlink()
    for name, content in files.items():
        path = repository.HERE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
