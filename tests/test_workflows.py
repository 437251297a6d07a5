"""The workflows fit what they run: targets, variables, images and folders are named alike on both sides."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml12

from tests.e2e.cluster import IMAGES

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / ".github/workflows").glob("*.yml"))


def read(path: Path) -> Any:
    return yaml12.parse_yaml(path.read_text("utf-8"))


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in read(path)["jobs"].values() for step in job["steps"]]


def end_to_end() -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The steps of the job with real pods, and the variables of its tests."""
    listed: list[dict[str, Any]] = read(ROOT / ".github/workflows/ci.yml")["jobs"]["e2e"]["steps"]
    (tests,) = [step["env"] for step in listed if "make e2e" in step.get("run", "")]
    return listed, tests


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_targets_are_in_the_makefile(path: Path) -> None:
    known = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE))
    called = {name for step in steps(path) for name in re.findall(r"\bmake ([a-z0-9-]+)", step.get("run", ""))}
    assert called <= known


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_actions_have_a_version(path: Path) -> None:
    used = [step["uses"] for step in steps(path) if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", each) for each in used)


def test_every_image_of_the_end_to_end_tests_is_built_and_put_on_the_node() -> None:
    listed, variables = end_to_end()
    text = "\n".join(step.get("run", "") for step in listed)
    images = json.loads(variables["AIFCTL_E2E_IMAGES"])
    assert set(images) == set(IMAGES)
    built = {f"aif-{name}:test" for name in re.findall(r"^build (\w+) ", text, flags=re.MULTILINE)}
    (loaded,) = re.findall(r"for name in ([\w ]+); do", text)
    assert set(images.values()) == built == {f"aif-{name}:test" for name in loaded.split()}
    assert re.findall(r'^build reconciler "" git$', text, flags=re.MULTILINE)


def test_node_and_machine_share_the_store_where_the_tests_look_for_it() -> None:
    listed, variables = end_to_end()
    (node,) = read(ROOT / ".github/kind.yaml")["nodes"]
    (mount,) = node["extraMounts"]
    assert mount["hostPath"] == mount["containerPath"] == variables["AIFCTL_E2E_STORE"]
    assert any(f"mkdir -p {mount['hostPath']}" in step.get("run", "") for step in listed)


def test_variables_are_those_that_the_tests_read() -> None:
    read_there = "".join(path.read_text("utf-8") for path in (ROOT / "tests/e2e").glob("*.py"))
    _, variables = end_to_end()
    assert all(f'"{name}"' in read_there for name in variables)
