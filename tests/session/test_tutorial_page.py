"""docs/tutorial.md as far as it can be held without a cluster; tests/e2e/test_tutorial.py follows it on one."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from aifctl import cli
from tests.e2e.cluster import Cluster
from tests.e2e.test_tutorial import CONTEXT, NOT_RUN, STORE, TUTORIAL, grounded, not_run
from tests.session import page

TEXT = TUTORIAL.read_text("utf-8")
BLOCKS = list(page.blocks(TEXT))
COMMANDS = [command for block in BLOCKS for command in block.commands]
FILES = {block.file: block.body for block in BLOCKS if block.file is not None}
PROGRAMS = {"aifctl", "cd", "echo", "git", "kubectl", "mkdir", "perl", "python3", "tail"}
"""What the test runs; source, after `python3`, apart."""


def test_every_block_is_read() -> None:
    assert len(re.findall(r"^ *```", TEXT, re.MULTILINE)) == 2 * len(BLOCKS)
    assert {(block.language, block.file is None) for block in BLOCKS} == {("console", True), ("yaml", False)}
    console = [block for block in BLOCKS if block.language == "console"]
    assert all(block.body.startswith("$ ") for block in console)
    assert len(COMMANDS) == len(re.findall(r"^\$", TEXT, re.MULTILINE)), "each `$` begins a command"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_run_or_said_not_to_be(command: str) -> None:
    assert subprocess.run(["bash", "-n", "-c", command], check=False).returncode == 0
    assert (command.split()[0] in PROGRAMS) is not not_run(command)


def test_nothing_is_excepted_that_is_not_there() -> None:
    assert [begin for begin in NOT_RUN if not any(map(str.startswith, COMMANDS, [begin] * len(COMMANDS)))] == []


def test_no_output_is_shown_that_is_not_compared() -> None:
    silent = page.recorded(TEXT, lambda command: "" if not_run(command) else "shown")
    shown = re.split(r"^\$ ", silent, flags=re.MULTILINE)[1:]
    theirs = re.split(r"^\$ ", TEXT, flags=re.MULTILINE)[1:]
    pairs = [(a, b) for a, b in zip(shown, theirs, strict=True) if not_run(a)]
    assert len(pairs) >= len(NOT_RUN)
    assert all(a == b for a, b in pairs)


def test_the_files_are_right_as_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Those of the reader: on a cluster the test has to name images of its own."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(["init", "flowers"]) == 0
    monkeypatch.chdir("flowers")
    Path("platform.yaml").write_text(FILES["platform.yaml"])
    capfd.readouterr()
    assert cli.main(["validate"]) == 0
    said = capfd.readouterr()
    assert f"$ aifctl validate\n{said.out}$ git init" in TEXT
    assert said.err == ""


@pytest.mark.parametrize("base", [None, "base:1"])
def test_a_cluster_changes_images_and_adds_to_pods_at_most(base: str | None, tmp_path: Path) -> None:
    images = {"pytorch": "a:1", "serve": "b:1"}
    cluster = Cluster(kubeconfig=tmp_path, context="c", store=tmp_path, images=images, base=base)
    before = yaml.safe_load(FILES["platform.yaml"])
    after = yaml.safe_load(grounded(FILES["platform.yaml"], cluster))
    assert after["spec"].pop("images") == {"pytorch": {"cpu": "a:1"}, "serve": "b:1"}
    before["spec"].pop("images")
    if base is not None:
        defaults = [value["spec"]["environments"][0]["pod_defaults"] for value in (before, after)]
        for key in ("volumes", "volume_mounts"):
            theirs, ours = (each.pop(key) for each in defaults)
            assert ours[: len(theirs)] == theirs
            assert len(ours) > len(theirs)
        assert defaults[1].pop("env") == cluster.env
    assert after == before


def test_the_files_and_commands_mean_the_same_folder_image_and_cluster() -> None:
    platform, kind = yaml.safe_load(FILES["platform.yaml"])["spec"], yaml.safe_load(FILES["kind.yaml"])
    (environment,) = platform["environments"]
    ((volume,), (mount,)) = (environment["pod_defaults"][key] for key in ("volumes", "volume_mounts"))
    ((shared,),) = (node["extraMounts"] for node in kind["nodes"])
    paths = {volume["hostPath"]["path"], mount["mountPath"], shared["hostPath"], shared["containerPath"]}
    assert paths == {STORE}
    assert environment["store"]["uri"] == f"file://{STORE}"
    assert environment["cluster"]["context"] == CONTEXT
    (build,) = [shlex.split(command) for command in COMMANDS if command.startswith("docker build ")]
    image = build[build.index("--tag") + 1]
    assert platform["images"] == {"pytorch": {"cpu": image}, "serve": image}
    assert f"kind load docker-image {image}" in COMMANDS
    assert (TUTORIAL.parents[1] / build[build.index("--file") + 1]).is_file()


def test_its_links_lead_to_headings() -> None:
    """That they lead to files is shown of all pages, in tests/test_project.py."""
    anchors = re.findall(r"\]\(([^)#]+)#([^)]+)\)", TEXT)
    assert anchors
    for target, anchor in anchors:
        headings = re.findall(r"^#+ (.*)$", (TUTORIAL.parent / target).read_text("utf-8"), re.MULTILINE)
        assert anchor in [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
