"""The Containerfile of the runtime images and the workflow that builds them: their form (nothing is built here)."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml12

from aifctl.delivery.installing import IMAGE
from aifctl.render.backends.reconciler import WORK

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "templates/images/Containerfile"
WORKFLOW = ROOT / ".github/workflows/images.yml"
KNOWN = {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "LABEL", "ENV", "USER"}


def instructions() -> list[tuple[str, str]]:
    """(instruction, its arguments) in order, continued lines joined, comments left out."""
    lines = [line for line in FILE.read_text("utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line.strip())]


def stages() -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    name = "before"
    for word, rest in instructions():
        if word == "FROM":
            name = rest.rpartition(" AS ")[2] if " AS " in rest else "final"
        found.setdefault(name, []).append((word, rest))
    return found


def matrix() -> list[dict[str, str]]:
    workflow: Any = yaml12.parse_yaml(WORKFLOW.read_text("utf-8"))
    listed: list[dict[str, str]] = workflow["jobs"]["build"]["strategy"]["matrix"]["include"]
    return listed


def test_it_has_known_instructions_and_stages() -> None:
    assert {word for word, _ in instructions()} == KNOWN
    assert list(stages()) == ["before", "plain", "git", "packages", "package", "final"]


def test_what_is_copied_is_there() -> None:
    for name, listed in stages().items():
        for word, rest in listed:
            if word == "COPY":
                *sources, _ = [each for each in shlex.split(rest) if not each.startswith("--")]
                if "--from=" in rest:
                    assert re.findall(r"--from=(\S+)", rest)[0] in stages(), rest
                else:
                    assert all((ROOT / source).exists() for source in sources), f"{name}: {rest}"


def test_variables_are_declared_in_their_stage() -> None:
    top = {rest.partition("=")[0] for word, rest in stages()["before"] if word == "ARG"}
    for name in ("plain", "git", "packages", "package", "final"):
        known = {"EXTRAS"} if name == "package" else set()
        for word, rest in stages()[name]:
            if word == "ARG":
                known.add(rest.partition("=")[0])
            used = set(re.findall(r"\$\{(\w+)\}", rest))
            assert used <= (top if word == "FROM" else known), f"{name}: {word} {rest}"


def test_it_does_not_run_as_root_and_pods_can_read_it() -> None:
    final = stages()["final"]
    assert final[-1] == ("USER", "65532:65532")
    assert not [rest for word, rest in final if word == "RUN"], "nothing is built in the image that is shipped"
    assert ("WORKDIR", "/app") in final


def test_the_last_image_is_built_on_one_with_git_where_that_is_asked_for() -> None:
    assert stages()["final"][0] == ("FROM", "${BASE}")
    assert ("ARG", "BASE=plain") in stages()["before"]
    bases = {image["name"]: image["base"] for image in matrix() if "base" in image}
    assert bases == {"reconciler": "git"}
    assert bases["reconciler"] in stages()
    (run,) = [rest for word, rest in stages()["git"] if word == "RUN"]
    assert {"git", "openssh-client", "ca-certificates"} <= set(run.split())
    # SSH takes the name of the user that pods run as.
    (user,) = re.findall(r'echo "(\S+)" >> /etc/passwd', run)
    name, _, uid, gid, _, home, _ = user.split(":")
    assert (uid, gid, home) == ("65532", "65532", WORK)
    assert name


def test_what_init_names_is_what_the_workflow_builds() -> None:
    name, _, tag = IMAGE.partition(":")
    assert name in {f"aif-{image['name']}" for image in matrix()}
    workflow: Any = yaml12.parse_yaml(WORKFLOW.read_text("utf-8"))
    assert workflow["on"]["push"]["tags"] == ["v*"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert tag == f"v{project['version']}"


def test_packages_are_wheels_with_hashes() -> None:
    installs = [rest for word, rest in instructions() if word == "RUN" and "pip install " in rest]
    assert len(installs) == 3
    assert all("--require-hashes" in each or "constraints constraints.txt" in each for each in installs)
    assert all("--no-build" in each for each in installs if "-r pyproject.toml" in each)


def test_it_is_labelled() -> None:
    (labels,) = [rest for word, rest in stages()["final"] if word == "LABEL"]
    found = dict(each.split("=", 1) for each in shlex.split(labels))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert found["org.opencontainers.image.licenses"] == project["license"]
    assert {"org.opencontainers.image.title", "org.opencontainers.image.revision"} <= found.keys()


@pytest.mark.parametrize("image", matrix(), ids=lambda image: image["name"])
def test_the_workflow_builds_each_image_with_extras_that_exist(image: dict[str, str]) -> None:
    extras = re.findall(r"--extra (\S+)", image.get("extras", ""))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert extras or image["name"] == "reconciler"
    assert set(extras) <= project["optional-dependencies"].keys()
    modules = [each for each in image["imports"].split(", ") if each.startswith("aifctl")]
    assert modules
    assert all((ROOT / f"{module.replace('.', '/')}.py").is_file() for module in modules)


def test_the_images_are_those_that_a_platform_names() -> None:
    assert {image["name"] for image in matrix()} == {"pytorch", "tensorflow", "serve", "reconciler"}
