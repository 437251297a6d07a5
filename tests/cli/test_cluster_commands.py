"""The commands on a cluster as their users have them: exit codes, streams, terminals, bad input."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
import yaml

from aifctl.cli import COMMANDS
from tests.cli import terminal
from tests.cli.conftest import Command
from tests.cli.terminal import CTRL_C
from tests.delivery.garden import BAD, Garden

READING = (("plan", "--against", "cluster"), ("status",), ("history", "iris"), ("wait", "healthy", "iris"))
WRITING = (("apply",), ("rollback", "iris"), ("destroy", "iris", "--yes"))
EVERY = [pytest.param(words, id=words[0]) for words in (*READING, *WRITING)]


@pytest.fixture
def command(garden: Garden) -> Command:
    """In a process of its own."""
    return Command(garden.root)


def test_all_of_them_as_processes(garden: Garden, command: Command) -> None:
    """The whole life of an environment, by exit codes alone."""
    env = ("--env", garden.environment)
    done = command("plan", "--against", "cluster", *env)
    assert (done.returncode, done.stderr) == (2, "")
    done = command("apply", *env)
    assert (done.returncode, done.stdout) == (0, f"{garden.environment}: 3 applied; 13 created\n")
    assert [line.split()[0] for line in done.stderr.splitlines()] == 13 * ["created"]
    assert command("plan", "--against", "cluster", *env).returncode == 0
    done = command("history", "iris", *env)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].split() == ["REVISION", "OUTCOME", "COMMIT", "TREE", "AT", "BY"]
    assert command("rollback", "iris", *env).returncode == 1
    assert command("destroy", "--all", "--yes", *env).returncode == 0


def test_json_is_all_that_an_apply_says_to_a_script(garden: Garden) -> None:
    done = garden.on("apply", "-o", "json")
    assert (done.code, done.err) == (0, "")
    document = done.json
    assert document["format_version"] == "1.0"
    assert (document["environment"], document["failed"], document["frozen"]) == (garden.environment, False, [])
    assert [unit["model"] for unit in document["units"]] == ["", "iris", "rose"]
    created = [each for unit in document["units"] for each in unit["objects"]]
    assert {
        "action": "created",
        "group": "apps",
        "kind": "Deployment",
        "namespace": garden.namespace,
        "name": "iris",
    } in created
    again = garden.on("apply", "-o", "json").json
    assert [unit["objects"] for unit in again["units"]] == [[], [], []]
    planned = garden.on("plan", "--against", "cluster", "-o", "json")
    assert (planned.code, json.loads(planned.out)["summary"]["create"]) == (0, 0)


def test_a_plan_for_a_pull_request(garden: Garden) -> None:
    done = garden.on("plan", "--against", "cluster", "-o", "markdown")
    assert done.code == 2
    assert done.out.startswith("### aifctl plan\n")
    assert f"+ Deployment.apps {garden.namespace}/iris" in done.out


def test_history_as_data(garden: Garden) -> None:
    commit = garden.git("rev-parse", "HEAD").strip()
    garden.applied()
    document = garden.on("history", "iris", "-o", "json").json
    assert (document["tenant"], document["model"], document["objects"], document["held"]) == ("garden", "iris", 4, "")
    (revision,) = document["revisions"]
    assert (revision["number"], revision["commit"], revision["outcome"]) == (1, commit, "applied")
    assert len(revision["tree"]) == 64
    assert garden.on("history", "platform", "-o", "json").json["model"] == ""
    unknown = garden.on("history", "ires")
    assert (unknown.code, "error[AIF746]" in unknown.err, "did you mean `iris`" in unknown.err) == (1, True, True)


# Which environment, which cluster


@pytest.mark.parametrize("words", EVERY)
def test_which_of_several_environments(words: tuple[str, ...], garden: Garden) -> None:
    done = garden.run(*words)
    assert done.code == 1
    assert "error[AIF706]" in done.err
    assert f"`{garden.environment}`, `{garden.lab}`" in done.err


def test_the_only_environment_need_not_be_named(garden: Garden) -> None:
    platform = garden.root / "platform.yaml"
    document = yaml.safe_load(platform.read_text())
    del document["spec"]["environments"][1]
    platform.write_text(yaml.safe_dump(document))
    done = garden.run("plan", "--against", "cluster")
    assert (done.code, done.err) == (2, "")


@pytest.mark.parametrize("words", EVERY)
def test_a_context_that_is_not_in_the_kubeconfig(words: tuple[str, ...], garden: Garden) -> None:
    garden.edit(
        "platform.yaml",
        "roles: [serve]\n      cluster: {context: test}",
        "roles: [serve]\n      cluster: {context: tset}",
    )
    done = garden.on(*words)
    assert done.code == 1
    assert "error[AIF701]: no context `tset`" in done.err
    assert "known are test" in done.err


def test_another_context_by_the_command_line(garden: Garden) -> None:
    garden.edit(
        "platform.yaml",
        "roles: [serve]\n      cluster: {context: test}",
        "roles: [serve]\n      cluster: {context: tset}",
    )
    assert garden.on("plan", "--against", "cluster", "--context", "test").code == 2


@pytest.mark.parametrize("words", [EVERY[0], EVERY[1], EVERY[4]])
def test_a_server_that_is_not_there(words: tuple[str, ...], garden: Garden, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{free.getsockname()[1]}"
    document = yaml.safe_load(garden.cluster.kubeconfig.read_text())
    document["clusters"][0]["cluster"]["server"] = url
    (tmp_path / "dead.yaml").write_text(yaml.safe_dump(document))
    done = garden.on(*words, "--kubeconfig", tmp_path / "dead.yaml")
    assert done.code == 1
    assert f"error[AIF703]: the API server at {url} does not answer" in done.err
    assert "Traceback" not in done.err


def test_no_kubeconfig_at_all(garden: Garden) -> None:
    done = garden.on("status", "--kubeconfig", "nowhere.yaml")
    assert (done.code, "error[AIF700]" in done.err) == (1, True)


def test_a_machine_has_no_cluster(garden: Garden) -> None:
    for words in (*READING, *WRITING):
        done = garden.run(*words, "--env", "local")
        assert (done.code, "error[AIF620]" in done.err) == (1, True)


@pytest.mark.parametrize(("deliverer", "name"), [("argocd", "Argo CD"), ("flux", "Flux")])
def test_what_another_tool_applies_is_planned_and_read_and_not_touched(
    deliverer: str, name: str, garden: Garden
) -> None:
    garden.applied()
    garden.edit("platform.yaml", "roles: [serve]", f"roles: [serve]\n      deliverer: {deliverer}")
    before = garden.versions()
    for words in (*WRITING, ("apply", "--dry-run")):
        done = garden.on(*words)
        assert done.code == 1
        assert f"error[AIF733]: environment `{garden.environment}` is applied by {name}" in done.err
        assert done.out == "", "not even a question was asked"
    assert garden.on("plan", "--against", "cluster").code == 0
    assert garden.on("history", "iris").code == 0
    assert {key for key, version in garden.versions().items() if before.get(key) != version} <= {
        "Deployment/iris", "Deployment/rose",  # whose status moves
    }  # fmt: skip


def test_somebody_without_rights(garden: Garden) -> None:
    garden.applied()
    nobody = garden.cluster.kubeconfig_of("nobody")
    for words in (("plan", "--against", "cluster"), ("apply",), ("status",), ("destroy", "iris", "--yes")):
        done = garden.on(*words, "--kubeconfig", nobody)
        assert done.code == 1
        assert "error[AIF705]" in done.err
        assert "Traceback" not in done.err
    assert garden.deployment("iris") is not None


def test_somebody_who_may_only_read_can_plan_and_is_told_how_far(garden: Garden) -> None:
    garden.applied()
    garden.edit("models/iris/model.yaml", "batching: {max: 32}", "batching: {max: 16}")
    rule = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}
    token = garden.cluster.account("default", f"reader-{garden.environment}", cluster_rules=[rule])
    reader = garden.cluster.write_kubeconfig("reader", {"token": token})
    planned = garden.on("plan", "--against", "cluster", "--kubeconfig", reader)
    assert planned.code == 2
    assert "warning[AIF731]" in planned.err
    assert "0 to create, 1 to change, 0 to delete" in planned.out
    assert garden.on("status", "--kubeconfig", reader, "-o", "json").json["models"]
    applied = garden.on("apply", "--kubeconfig", reader)
    assert (applied.code, "error[AIF705]" in applied.err) == (1, True)


def test_a_repository_that_does_not_load(garden: Garden) -> None:
    garden.applied()
    (garden.root / "platform.yaml").write_text("apiVersion: aif.dev/v1alpha1\nkind: Platform\nmetadata: [\n")
    for words in (*READING, *WRITING):
        done = garden.on(*words)
        assert done.code == 1
        assert "error[AIF1" in done.err
    assert garden.deployment("iris") is not None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("apply", "--timeout", "soon"), "'soon' is no duration"),
        (("apply", "--lock-timeout", "x"), "'x' is no duration"),
        (("rollback", "iris", "--to", "first"), "Invalid value for '--to'"),
        (("wait", "for", "iris"), "'for' is not one of"),
        (("status", "--watch", "-o", "json"), "it draws a table on a terminal"),
        (("status", "--watch"), "it draws a table on a terminal"),
    ],
)
def test_usage(words: tuple[str, ...], said: str, garden: Garden) -> None:
    done = garden.on(*words)
    assert done.code == 1
    assert said in " ".join(done.err.replace("│", " ").split())


# In a terminal


def test_status_in_terminals_of_several_widths(garden: Garden, nodes: object) -> None:
    garden.release("iris", BAD)
    assert garden.on("apply", "--wait", "--timeout", "2s").code == 1
    words = ("status", "--env", garden.environment)
    for columns in (80, 140):
        drawn = terminal.run(*words, columns=columns)
        assert drawn.code == 1
        assert max(map(len, drawn.lines)) <= columns
        header, platform, iris, rose = (line.split() for line in drawn.lines[:4])
        assert header == [
            "MODEL",
            "ENVIRONMENT" if columns > 100 else "ENV",
            "SYNC",
            "HEALTH",
            "RUN",
            "SERVING",
            "SINCE",
        ]
        assert [row[0][:5] for row in (platform, iris, rose)] == ["(plat", "iris", "rose"]
        assert iris[2] == "failed"
        assert "ImagePullBackOff" in iris
        assert ("iris-0123456789" if columns > 100 else "0123456789") in iris
        assert "container server: ImagePullBackOff" in " ".join(drawn.text.split())
        assert "\x1b[31m" in drawn.raw, "red"
    plain = terminal.run(*words, NO_COLOR="1")
    assert "\x1b[" not in plain.raw


def test_a_watch_is_drawn_again_until_ctrl_c(garden: Garden) -> None:
    garden.applied()
    drawn = terminal.run("status", "--watch", "--env", garden.environment, keys={"\x1b[1A": CTRL_C})
    assert drawn.code == 130
    assert drawn.text.count("MODEL") >= 2, "drawn over what it drew before"
    assert "Traceback" not in drawn.raw
    assert drawn.text.rstrip().endswith("interrupted")
    assert drawn.raw.count("\x1b[?25h") == 1, "the cursor is shown again"


def test_an_apply_that_is_interrupted_leaves_no_traceback_and_the_next_one_finishes(
    garden: Garden, nodes: object
) -> None:
    garden.release("iris", BAD)
    drawn = terminal.run("apply", "--wait", "--env", garden.environment, keys={"waiting for": CTRL_C})
    assert drawn.code == 130
    assert "Traceback" not in drawn.raw
    garden.release("iris")
    assert garden.on("apply", "--wait", "--lock-timeout", "1s").code == 0


@pytest.mark.parametrize(("answer", "code"), [("ENV", 0), ("yes", 1), ("", 1)])
def test_a_destroy_wants_the_environment_s_name(answer: str, code: int, garden: Garden) -> None:
    garden.applied()
    typed = answer.replace("ENV", garden.environment) + "\n"
    drawn = terminal.run("destroy", "iris", "--env", garden.environment, keys={"to destroy this: ": typed})
    assert drawn.code == code, drawn.text
    assert "4 to delete" in drawn.text
    assert ("error[AIF745]: not confirmed" in drawn.text) is bool(code)
    assert (garden.deployment("iris") is None) is not bool(code)


def test_nobody_to_ask(garden: Garden, command: Command) -> None:
    garden.applied()
    done = command("destroy", "iris", "--env", garden.environment)
    assert done.returncode == 1
    assert "error[AIF745]: this wants a confirmation, and nobody is at the terminal" in done.stderr
    assert garden.deployment("iris") is not None


def test_a_question_that_is_left_by_ctrl_d_or_ctrl_c(garden: Garden) -> None:
    garden.applied()
    for key, code in (("\x04", 1), (CTRL_C, 130)):
        drawn = terminal.run("destroy", "iris", "--env", garden.environment, keys={"to destroy this: ": key})
        assert drawn.code == code
        assert "Traceback" not in drawn.raw
    assert garden.deployment("iris") is not None


# Completion


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("aifctl status ", ["iris", "rose"]),
        ("aifctl history r", ["rose"]),
        ("aifctl rollback ", ["iris", "rose"]),
        ("aifctl destroy i", ["iris"]),
        ("aifctl destroy iris r", ["rose"]),
        ("aifctl wait ", ["run", "healthy"]),
        ("aifctl wait run r", ["rose"]),
        ("aifctl status --output ", ["text", "json"]),
    ],
)
def test_names_are_completed(line: str, offered: list[str], command: Command) -> None:
    assert completed(command, line) == offered


@pytest.mark.parametrize(
    "name", [name for name, panel in COMMANDS.items() if panel == "Cluster" and name != "reconcile"]
)
def test_environments_are_completed(name: str, garden: Garden, command: Command) -> None:
    assert completed(command, f"aifctl {name} --env ") == ["local", garden.environment, garden.lab]


def completed(command: Command, line: str) -> list[str]:
    words = line.split(" ")
    done = command(COMP_WORDS=line, COMP_CWORD=str(len(words) - 1), _AIFCTL_COMPLETE="complete_bash")
    assert done.stderr == ""
    return done.stdout.split()
