"""`aifctl plan` on real Git repositories: what it says of each kind of edit, word for word."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from tests.delivery import places
from tests.delivery.places import Place, shortened

AGAINST = pytest.mark.parametrize("against", ["tree", "main"])


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Place:
    """Committed and rendered, nothing changed since."""
    monkeypatch.setenv("COLUMNS", "120")
    made = places.new(tmp_path / "repository", capsys)
    monkeypatch.chdir(made.root)
    assert made.run("render")[0] == 0
    return made


def plan(place: Place, against: str) -> str:
    code, out, err = place.run("plan", "--against", against)
    assert (code, err) == (2, "")
    return shortened(out)


def text(block: str) -> str:
    return textwrap.dedent(block).lstrip("\n")


@AGAINST
def test_nothing_changed(place: Place, against: str) -> None:
    code, out, err = place.run("plan", "--against", against)
    assert (code, out, err) == (0, "plan: no changes (10 objects compared)\n", "")


EDITS: dict[str, tuple[tuple[str, str, str], str]] = {
    "serving": (
        ("iris/model.yaml", "max: 32", "max: 16"),
        """
        prod
          iris
            ~ Deployment.apps garden-prod/iris
                ~ spec.template.spec.containers[server].args[5]: --max-batch=32 -> --max-batch=16

        plan: 0 to create, 1 to change, 0 to delete
        """,
    ),
    "a resource request": (
        ("iris/model.yaml", "cpu: 2", "cpu: 3"),
        """
        lab
          iris
            + Workflow.argoproj.io garden/iris-#: new run, replaces iris-#, which is left to finish
              steps of iris-#: all kept, none runs again

        plan: 1 to create, 0 to change, 0 to delete
        """,
    ),
    "a gate": (
        ("iris/model.yaml", "min: 0.9", "min: 0.95"),
        """
        lab
          iris
            + Workflow.argoproj.io garden/iris-#: new run, replaces iris-#, which is left to finish
              steps of iris-#
                prepare      kept (#)
                train        kept (#)
                evaluate     kept (#)
                gate         runs again: evaluation.gate.accuracy changed
                export-onnx  kept (#)
                verify-onnx  kept (#)
                register     kept (#)

        plan: 1 to create, 0 to change, 0 to delete; 1 model runs steps again without training (gate)
        """,
    ),
    "one more export": (
        ("iris/model.yaml", "format: onnx}", "format: onnx}\n    - {name: newer, format: onnx, opset: 20}"),
        """
        lab
          iris
            + Workflow.argoproj.io garden/iris-#: new run, replaces iris-#, which is left to finish
              steps of iris-#
                prepare       kept (#)
                train         kept (#)
                evaluate      kept (#)
                gate          kept (#)
                export-newer  new
                export-onnx   kept (#)
                verify-newer  new
                verify-onnx   kept (#)
                register      runs again: its input export-newer moved

        plan: 1 to create, 0 to change, 0 to delete; 1 model runs steps again without training \
(export-newer, verify-newer, register)
        """,
    ),
    "learning_rate": (
        ("iris/model.yaml", "0.01", "0.02"),
        """
        lab
          iris
            + Workflow.argoproj.io garden/iris-#: new run, replaces iris-#, which is left to finish
              steps of iris-#
                prepare      kept (#)
                train        runs again: training.hyperparameters.learning_rate changed
                evaluate     runs again: its input train moved
                gate         runs again: its input evaluate moved
                export-onnx  runs again: its input train moved
                verify-onnx  runs again: its inputs export-onnx, train moved
                register     runs again: its inputs export-onnx, train moved

        plan: 1 to create, 0 to change, 0 to delete; 1 model re-trains (train, evaluate, gate, …)
        """,
    ),
    "a line of code": (
        ("iris/src/net.py", "nn.Linear(2,", "nn.Linear(2 * 1,"),
        """
        lab
          iris
            + ConfigMap garden/iris-code-#
            = ConfigMap garden/iris-code-#: no longer rendered, but marked not to be pruned
            + Workflow.argoproj.io garden/iris-#: new run, replaces iris-#, which is left to finish
              steps of iris-#
                prepare      kept (#)
                train        runs again: code/net.py changed
                evaluate     runs again: its input train moved
                gate         runs again: its input evaluate moved
                export-onnx  runs again: its input train moved
                verify-onnx  runs again: its inputs export-onnx, train moved
                register     runs again: its inputs export-onnx, train moved

        plan: 2 to create, 0 to change, 0 to delete; 1 model re-trains (train, evaluate, gate, …)
        """,
    ),
    "a requirement": (
        ("iris/requirements.txt", "torch>=2.9", "torch>=2.8"),
        """
        lab
          iris
            + Workflow.argoproj.io garden/iris-#: new run, replaces iris-#, which is left to finish
              steps of iris-#
                prepare      kept (#)
                train        runs again: requirements/torch changed
                evaluate     runs again: its input train moved
                gate         runs again: its input evaluate moved
                export-onnx  runs again: its input train moved
                verify-onnx  runs again: its inputs export-onnx, train moved
                register     runs again: its inputs export-onnx, train moved

        plan: 1 to create, 0 to change, 0 to delete; 1 model re-trains (train, evaluate, gate, …)
        """,
    ),
    "a row of the data": (
        ("iris/iris.csv", "\n17.5,", "\n17.25,"),
        """
        lab
          iris
            + Workflow.argoproj.io garden/iris-#: new run, replaces iris-#, which is left to finish
              steps of iris-#
                prepare      runs again: its data iris moved
                train        runs again: its input prepare moved
                evaluate     runs again: its inputs prepare, train moved
                gate         runs again: its input evaluate moved
                export-onnx  runs again: its inputs prepare, train moved
                verify-onnx  runs again: its inputs export-onnx, prepare, train moved
                register     runs again: its inputs export-onnx, train moved

        plan: 1 to create, 0 to change, 0 to delete; 1 model re-trains (prepare, train, evaluate, …)
        """,
    ),
    "data that is no longer pinned": (
        ("iris/model.yaml", "- name: iris", "- name: iris\n      pinned: false"),
        """
        lab
          iris
            + Workflow.argoproj.io garden/iris-#: new run, replaces iris-#, which is left to finish
              steps of iris-#
                prepare      unknown until data is read: iris is not pinned
                train        unknown until data is read
                evaluate     unknown until data is read
                gate         unknown until data is read
                export-onnx  unknown until data is read
                verify-onnx  unknown until data is read
                register     unknown until data is read

        plan: 1 to create, 0 to change, 0 to delete; 1 model may run again, as its data is not pinned (prepare, \
train, evaluate, …)
        """,
    ),
}


@AGAINST
@pytest.mark.parametrize("name", EDITS)
def test_what_an_edit_changes(name: str, against: str, place: Place) -> None:
    (path, old, new), expected = EDITS[name]
    place.edit(path, old, new)
    assert plan(place, against) == text(expected)


@AGAINST
def test_an_edit_of_serving_says_nothing_of_steps_and_is_of_its_environment_alone(place: Place, against: str) -> None:
    place.edit("iris/model.yaml", "max: 32", "max: 16")
    code, out, err = place.run("plan", "--against", against, "--env", "lab")
    assert (code, out, err) == (0, "plan: no changes (6 objects compared)\n", "")
    assert place.run("plan", "--against", against, "--env", "prod")[0] == 2


@AGAINST
def test_a_comment_changes_nothing(place: Place, against: str) -> None:
    place.edit("iris/model.yaml", "kind: Model", "# about the model\nkind: Model")
    assert place.run("plan", "--against", against)[0] == 0


@AGAINST
def test_a_new_model_is_created_and_trains_for_the_first_time(place: Place, against: str) -> None:
    place.model("tulip")
    out = plan(place, against)
    assert "    + Workflow.argoproj.io garden/tulip-#: new run\n      steps of tulip-#\n" in out
    assert "        train        new\n" in out
    assert out.endswith("plan: 10 to create, 0 to change, 0 to delete; 1 model trains for the first time (tulip)\n")
    assert "iris" not in out


@AGAINST
def test_a_removed_spec_is_deleted_but_for_its_runs(place: Place, against: str) -> None:
    place.model("tulip")
    place.commit()
    assert place.run("render")[0] == 0
    for path in ("tulip/model.yaml", "releases/prod/tulip.yaml"):
        (place.root / path).unlink()
    expected = text("""
        lab
          tulip
            - ServiceAccount garden/tulip-run
            - Role.rbac.authorization.k8s.io garden/tulip-run
            - RoleBinding.rbac.authorization.k8s.io garden/tulip-run
            - Secret garden/tulip-run.service-account-token
            = ConfigMap garden/tulip-code-#: no longer rendered, but marked not to be pruned
            = Workflow.argoproj.io garden/tulip-#: no longer rendered; a run is never pruned, it is left to finish
              steps of tulip-#
                prepare      gone
                train        gone
                evaluate     gone
                gate         gone
                export-onnx  gone
                verify-onnx  gone
                register     gone

        prod
          tulip
            - NetworkPolicy.networking.k8s.io garden-prod/tulip
            - ServiceAccount garden-prod/tulip
            - Service garden-prod/tulip
            - Deployment.apps garden-prod/tulip

        plan: 0 to create, 0 to change, 8 to delete
        """)
    assert plan(place, against) == expected


@AGAINST
@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("task: classification", "task: clasification", "AIF206"),
        ("min: 0.9", "min: 9", "AIF333"),
        ("metadata: {name: tulip, tenant: garden}", "metadata: {name: tulip, tenant: garden", "AIF104"),
    ],
)
def test_a_broken_spec_is_frozen(old: str, new: str, code: str, place: Place, against: str) -> None:
    """An error, exit code 1, and yet nothing of the model is said to change, least of all to be deleted."""
    place.model("tulip")
    place.commit()
    assert place.run("render")[0] == 0
    place.edit("tulip/model.yaml", old, new)
    place.edit("iris/model.yaml", "max: 32", "max: 16")
    exit_code, out, err = place.run("plan", "--against", against)
    assert exit_code == 1
    assert code in err
    assert "tulip" not in out
    assert out.endswith("plan: 0 to create, 1 to change, 0 to delete\n"), "others are planned all the same"


@AGAINST
def test_a_broken_spec_among_others_in_one_file_is_frozen(place: Place, against: str) -> None:
    one, other = (places.MODEL.replace("NAME", name) for name in ("iris", "rose"))
    (place.root / "iris/model.yaml").write_text(f"{one}---\n{other}")
    place.commit()
    assert place.run("render")[0] == 0
    place.edit("iris/model.yaml", f"---\n{other}", "---\n" + other.replace("min: 0.9", "min: 9"))
    code, out, err = place.run("plan", "--against", against)
    assert code == 1
    assert "AIF333" in err
    assert "rose" not in out
    assert out == "plan: no changes (10 objects compared)\n"


@AGAINST
def test_asking_for_one_model_says_nothing_of_others(place: Place, against: str) -> None:
    place.model("tulip")
    place.commit()
    assert place.run("render")[0] == 0
    place.edit("tulip/model.yaml", "0.01", "0.02")
    place.edit("iris/model.yaml", "max: 32", "max: 16")
    code, out, _ = place.run("plan", "iris/model.yaml", "--against", against)
    assert code == 2
    assert "tulip" not in out
    assert out.endswith("plan: 0 to create, 1 to change, 0 to delete\n")
    code, out, _ = place.run("plan", "tulip", "--against", against)
    assert code == 2
    assert "prod" not in out
    assert "train        runs again" in out


def test_against_a_ref_the_tree_on_disk_does_not_matter(place: Place) -> None:
    place.git("checkout", "-b", "work")
    place.edit("iris/model.yaml", "0.01", "0.02")
    place.commit()
    for path in sorted((place.root / "rendered").rglob("*.yaml")):
        path.unlink()
    assert "training.hyperparameters.learning_rate changed" in plan(place, "main")
    assert place.run("plan", "--against", "HEAD")[:2] == (0, "plan: no changes (10 objects compared)\n")
    assert place.run("plan", "--against", "main", "iris")[0] == 2


def test_a_platform_file_that_was_named_counts_on_both_sides(place: Place) -> None:
    """Not only now: at the ref too, it is what the specs are compiled for."""
    (place.root / "other.yaml").write_text(
        places.PLATFORM.replace("roles: [train]", 'roles: [train]\n      namespace: "{tenant}-other"')
    )
    place.commit()
    code, out, err = place.run("plan", "--platform", "other.yaml", "--against", "main")
    assert (code, out, err) == (0, "plan: no changes (10 objects compared)\n", "")


def test_what_was_broken_at_the_ref_counts_as_new(place: Place) -> None:
    place.edit("iris/model.yaml", "min: 0.9", "min: 9")
    place.commit("broken")
    place.edit("iris/model.yaml", "min: 9", "min: 0.9")
    code, out, err = place.run("plan", "--against", "main")
    assert code == 2
    assert "warning[AIF333]: at main: " in err
    assert "1 model trains for the first time (iris)" in out


@pytest.mark.parametrize(
    ("ref", "code"), [("nowhere", "AIF611"), ("--help", "AIF613"), ("HEAD^", "AIF611"), ("", "AIF613")]
)
def test_a_ref_that_is_none(ref: str, code: str, place: Place) -> None:
    exit_code, out, err = place.run("plan", f"--against={ref}")
    assert (exit_code, out) == (1, "")
    assert code in err


def test_outside_of_git(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    place = Place(tmp_path / "plain", capsys)
    place.root.mkdir()
    (place.root / "platform.yaml").write_text(places.PLATFORM)
    place.model("iris")
    monkeypatch.chdir(place.root)
    code, out, err = place.run("plan", "--against", "main")
    assert (code, out) == (1, "")
    assert "AIF610" in err
    assert place.run("plan")[0] == 2, "against the tree, no Git is needed"


def test_an_edit_of_the_rendered_tree_by_hand_is_seen(place: Place) -> None:
    [service] = (place.root / "rendered").rglob("deployment-iris.yaml")
    place.edit(service.relative_to(place.root).as_posix(), "--max-batch=32", "--max-batch=99")
    out = plan(place, "tree")
    assert "--max-batch=99 -> --max-batch=32" in out
    assert place.run("plan", "--against", "main")[0] == 0


def test_json_is_versioned_and_tells_steps(place: Place) -> None:
    place.edit("iris/model.yaml", "0.01", "0.02")
    code, out, _ = place.run("plan", "--against", "main", "--output", "json")
    found = json.loads(out)
    assert (code, found["format_version"], found["exit_code"]) == (2, "1.0", 2)
    assert found["summary"] | {"text": "", "unchanged": 0} == {
        "create": 1, "change": 0, "replace": 0, "delete": 0, "unchanged": 0, "text": "",
    }  # fmt: skip
    [run] = found["runs"]
    steps = {step["name"]: step for step in run["steps"]}
    assert {name for name, step in steps.items() if step["status"] == "kept"} == {"prepare"}
    assert steps["train"]["parts"] == [{"path": "training.hyperparameters.learning_rate", "op": "change"}]
    assert steps["gate"]["inputs"] == ["evaluate"]
    assert [change["action"] for change in found["changes"]] == ["create"]
    place.edit("iris/model.yaml", "0.02", "0.01")
    code, out, _ = place.run("plan", "--against", "main", "--output", "json")
    assert (code, json.loads(out)["exit_code"], json.loads(out)["changes"]) == (0, 0, [])


def test_markdown_is_for_a_pull_request(place: Place) -> None:
    place.edit("iris/model.yaml", "min: 0.9", "min: 0.95")
    code, out, _ = place.run("plan", "--against", "main", "--output", "markdown")
    assert code == 2
    assert out.startswith("### aifctl plan\n\n1 to create")
    row = ["<code>lab</code>", "<code>iris</code>", "1", "0", "0", "<code>gate</code>"]
    assert f"| {' | '.join(row)} |" in out
    assert "gate         runs again: evaluation.gate.accuracy changed\n" in out


@AGAINST
def test_from_a_folder_inside_the_plan_is_of_the_whole_repository_or_of_that_folder(
    place: Place, against: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever of the two: nothing that lies elsewhere is said to be deleted."""
    place.model("tulip")
    place.commit()
    assert place.run("render")[0] == 0
    monkeypatch.chdir(place.root / "tulip")
    code, out, err = place.run("plan", "--against", against)
    assert (code, err) == (0, "")
    assert out.startswith("plan: no changes (")


def test_a_platform_that_was_broken_at_the_ref(place: Place) -> None:
    place.edit("platform.yaml", "kind: Platform", "kind: Platfrom")
    place.commit("broken")
    place.edit("platform.yaml", "kind: Platfrom", "kind: Platform")
    code, out, err = place.run("plan", "--against", "main")
    assert (code, out) == (1, "")
    assert "at main: unknown kind `Platfrom`" in err
    assert "/aifctl-plan-" not in err
