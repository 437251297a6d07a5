"""The three views of a plan: exact text, versioned JSON, and Markdown that hostile names can't break out of."""

from __future__ import annotations

import json as decoder
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from aifctl.manifest import Manifest
from aifctl.plan.change import ChangeSet
from aifctl.plan.diff import diff
from aifctl.plan.steps import RunChange, plan_steps
from aifctl.plan.views.json import json
from aifctl.plan.views.markdown import fenced, markdown
from aifctl.plan.views.text import text
from tests.plan.objects import DIGEST, Entry, deployment, manifest, run


def steps(lr: str, train: str, export: str) -> dict[str, Entry]:
    return {
        "prepare": (DIGEST["3"], {"split.seed": "s"}, {"data:digits": "sha256:aa"}),
        "train": (DIGEST[train], {"training.hyperparameters.learning_rate": lr}, {"prepare": DIGEST["3"]}),
        "export-onnx": (DIGEST[export], {}, {"train": DIGEST[train]}),
    }


def autoscaler() -> Manifest:
    return Manifest(
        {**manifest("Service", "digits").object, "kind": "HorizontalPodAutoscaler", "apiVersion": "autoscaling/v2"}
    )


BEFORE = [
    run("digits-1111111111", steps("11", "1", "2")),
    deployment(
        resources={"limits": {"memory": "1Gi"}}, args=["--port=80", "--verbose"], env=[{"name": "A", "value": "1"}]
    ),
    manifest("ConfigMap", "code", data={"train.py": "import x\nlr = 1\n"}),
    autoscaler(),
]
AFTER = [
    run("digits-2222222222", steps("22", "a", "b")),
    deployment(resources={"limits": {"memory": "2Gi"}}, args=["--port=80"], env=[{"name": "A", "value": "true"}]),
    manifest("ConfigMap", "code", data={"train.py": "import x\nlr = 2\n"}),
    manifest("Service", "digits"),
]


def plan(before: list[Manifest], after: list[Manifest]) -> tuple[ChangeSet, tuple[RunChange, ...]]:
    return diff(before, after), plan_steps(before, after).runs


TEXT = """\
lab
  digits
    + Workflow.argoproj.io vision/digits-2222222222: new run, replaces digits-1111111111, which is left to finish
      steps of digits-2222222222
        prepare      kept (3333333333)
        train        runs again: training.hyperparameters.learning_rate changed
        export-onnx  runs again: its input train moved

prod
  digits
    ~ ConfigMap vision/code
        ~ data["train.py"]:
            @@ -1,2 +1,2 @@
             import x
            -lr = 1
            +lr = 2
    + Service vision/digits
    ~ Deployment.apps vision/digits
        - spec.template.spec.containers[server].args[1]: --verbose
        ~ spec.template.spec.containers[server].env[A].value: "1" -> "true"
        ~ spec.template.spec.containers[server].resources.limits.memory: 1Gi -> 2Gi
    - HorizontalPodAutoscaler.autoscaling vision/digits

plan: 2 to create, 2 to change, 1 to delete; 1 model re-trains (train, export-onnx)
"""


def test_text() -> None:
    assert text(*plan(BEFORE, AFTER)) == TEXT


def test_text_on_a_narrow_terminal() -> None:
    before, after = deployment(image="a" * 90), deployment(image="b" * 90, imagePullPolicy="Always")
    assert (
        text(*plan([before], [after]), width=48)
        == """\
prod
  digits
    ~ Deployment.apps vision/digits
        ~ spec.template.spec.containers[server]
            .image:
            - aaaaaaaa… (90 characters, 6b2ec79170)
            + bbbbbbbb… (90 characters, d2468f834b)
        + spec.template.spec.containers[server]
            .imagePullPolicy:
            + Always

plan: 0 to create, 1 to change, 0 to delete
"""
    )


def test_text_in_colour_is_the_same_text() -> None:
    coloured = text(*plan(BEFORE, AFTER), colour=True)
    assert re.sub(r"\x1b\[\d*m", "", coloured) == TEXT
    assert (
        "\x1b[33m        ~ spec.template.spec.containers[server].resources.limits.memory: 1Gi -> 2Gi\x1b[0m\n"
        in coloured
    )
    assert "\x1b[31m            -lr = 1\x1b[0m\n\x1b[32m            +lr = 2\x1b[0m\n" in coloured


def test_text_without_changes() -> None:
    assert text(*plan(BEFORE, BEFORE)) == "plan: no changes (4 objects compared)\n"
    assert text(ChangeSet()) == "plan: no changes (0 objects compared)\n"


def test_text_of_a_change_beside_an_unchanged_run() -> None:
    service = manifest("Service", "digits", environment="lab", spec={"a": 1})
    shown = text(*plan(BEFORE[:1], [BEFORE[0], service]))
    assert "    + Service vision/digits\n      steps of digits-1111111111: all kept, none runs again\n" in shown


def test_text_of_a_run_that_is_left() -> None:
    assert (
        text(*plan(BEFORE[:1], []))
        == """\
lab
  digits
    = Workflow.argoproj.io vision/digits-1111111111: no longer rendered; a run is never pruned, it is left to finish
      steps of digits-1111111111
        prepare      gone
        train        gone
        export-onnx  gone

plan: no changes (1 object compared)
"""
    )


def first_run(model: str) -> Manifest:
    return run(f"{model}-1", steps("11", "1", "2"), model=model)


@pytest.mark.parametrize(
    ("before", "after", "clause"),
    [
        ([], [first_run("a")], "1 model trains for the first time (a)"),
        ([], [first_run(m) for m in "abcde"], "5 models train for the first time (a, b, c, …)"),
        (
            [first_run("a")],
            [run("a-2", steps("11", "1", "b"), model="a")],
            "1 model runs steps again without training (export-onnx)",
        ),
        (
            [run("a", {"prepare": (None, {}, {"data:d": None})}, "CronWorkflow", "a")],
            [run("a", {"prepare": (None, {}, {"data:d": None})}, "CronWorkflow", "a")],
            "1 model may run again, as its data is not pinned (prepare)",
        ),
        (
            [first_run("a"), first_run("b")],
            [run(f"{m}-2", steps("22", "a", "b"), model=m) for m in "ab"],
            "2 models re-train (a, b)",
        ),
    ],
)
def test_the_summary_tells_the_work(before: list[Manifest], after: list[Manifest], clause: str) -> None:
    assert text(*plan(before, after)).splitlines()[-1].split("; ")[1:] == [clause]


def test_a_replace_is_counted_when_there_is_one() -> None:
    before, after = (manifest("Deployment", "d", spec={"selector": n}) for n in (1, 2))
    shown = text(*plan([before], [after]))
    assert "    ± Deployment.apps vision/d: spec.selector can't be changed in place\n" in shown
    assert shown.endswith("plan: 0 to create, 0 to change, 1 to replace, 0 to delete\n")


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        (1, 2, "1 -> 2"),
        (1, "1", '1 -> "1"'),
        (True, "true", 'true -> "true"'),
        (None, "null", 'null -> "null"'),
        ("", "a b", '"" -> "a b"'),
        ("500m", "1e3", '500m -> "1e3"'),
        ("-", "~", '"-" -> "~"'),
        ([1, "x"], {"a": [None, 1.5]}, '[1, "x"] -> {"a": [null, 1.5]}'),
        ("é", "\x1b[2J\u202e", '"é" -> "\\u001b[2J\\u202e"'),
        ("a" * 61, "a" * 62, f"{'a' * 31}… (61 characters, 35d5fc17cf) -> {'a' * 31}… (62 characters, f506898cc7)"),
    ],
)
def test_values(before: Any, after: Any, line: str) -> None:
    changes = diff([manifest("Service", "s", v=before)], [manifest("Service", "s", v=after)])
    assert f"        ~ v: {line}\n" in text(changes, width=200)


def test_long_differences_of_texts_are_cut_with_a_count() -> None:
    old = "".join(f"line {n}\n" for n in range(300))
    changes = diff([manifest("ConfigMap", "c", data={"f": old})], [manifest("ConfigMap", "c", data={"f": old.upper()})])
    assert "            … and 561 more lines\n" in text(changes)
    huge = diff(
        [manifest("ConfigMap", "c", data={"f": "x\n" * 15_000})],
        [manifest("ConfigMap", "c", data={"f": "y\n" * 15_000})],
    )
    assert len(text(huge)) < 600
    ends = diff([manifest("ConfigMap", "c", data={"f": "x\r\n"})], [manifest("ConfigMap", "c", data={"f": "x\n"})])
    assert "            only line ends changed\n" in text(ends)


# JSON


def test_json() -> None:
    found = decoder.loads(json(*plan(BEFORE, AFTER)))
    assert found["format_version"] == "1.0"
    assert found["exit_code"] == 2
    assert found["summary"] == {
        "create": 2,
        "change": 2,
        "replace": 0,
        "delete": 1,
        "unchanged": 0,
        "text": "plan: 2 to create, 2 to change, 1 to delete; 1 model re-trains (train, export-onnx)",
    }
    assert [(c["action"], c["kind"], c["name"]) for c in found["changes"]] == [
        ("create", "Workflow", "digits-2222222222"),
        ("change", "ConfigMap", "code"),
        ("create", "Service", "digits"),
        ("change", "Deployment", "digits"),
        ("delete", "HorizontalPodAutoscaler", "digits"),
    ]
    assert found["changes"][0]["replaces"] == "digits-1111111111"
    assert found["changes"][0]["fields"][0]["after"] == AFTER[0].object
    assert found["changes"][3]["fields"][-1] == {
        "path": "spec.template.spec.containers[server].resources.limits.memory",
        "keys": ["spec", "template", "spec", "containers", {"name": "server"}, "resources", "limits", "memory"],
        "op": "change",
        "before": "1Gi",
        "after": "2Gi",
        "position": None,
    }
    assert found["runs"][0]["steps"][1] == {
        "name": "train",
        "kind": "train",
        "status": "runs again",
        "digest": "a" * 64,
        "why": "runs again: training.hyperparameters.learning_rate changed",
        "parts": [{"path": "training.hyperparameters.learning_rate", "op": "change"}],
        "inputs": [],
    }


def test_json_masks_secrets_and_tells_reorders_by_key() -> None:
    before = [manifest("Secret", "s", data={"a": "aHVudGVyMg=="}), deployment(env=[{"name": "A"}, {"name": "B"}])]
    after = [manifest("Secret", "s", data={"a": "aHVudGVyMw=="}), deployment(env=[{"name": "B"}, {"name": "A"}])]
    secret, order = (change["fields"][0] for change in decoder.loads(json(diff(before, after)))["changes"])
    assert set(secret["before"]) == {"secret"}
    assert re.fullmatch(r"[0-9a-f]{10}", secret["after"]["secret"])
    assert (order["op"], order["after"]) == ("reorder", [{"name": "B"}, {"name": "A"}])


def test_json_without_changes() -> None:
    found = decoder.loads(json(*plan(BEFORE, BEFORE)))
    assert (found["exit_code"], found["changes"], found["summary"]["unchanged"]) == (0, [], 4)


# Markdown

HOSTILE = [
    "`",
    "```",
    "</details>",
    "<script>alert(1)</script>",
    "a|b",
    "[x](http://evil)",
    "![x](http://evil)",
    "**b**",
    "@everyone",
    "www.evil.com",
    "https://evil.com",
    "#1",
    "&lt;",
    "\n# head\n",
    "\r\n```\r\n",
    "</summary>",
    "<!--",
    "$x$",
    "\\",
    "\x1b[31m",
    "\u202e",
    ":smile:",
    "~~x~~",
]
NAMES = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=5), min_size=1, max_size=4).map("".join).filter(len)


def parsed(source: str) -> list[Token]:
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(source)


def tags(source: str) -> set[str]:
    """Every kind of token and every piece of raw HTML, outside code blocks."""
    found = set()
    for token in parsed(source):
        if token.type == "html_block":
            found |= set(re.findall(r"<[^>]*>?", token.content))
        elif token.type == "inline":
            found |= {child.content if child.type == "html_inline" else child.type for child in token.children or []}
        else:
            found.add(token.type)
    return found


def folds(source: str) -> list[int]:
    """1 for each place where a folded block opens, 0 for each where one closes, outside code blocks."""
    blocks = "".join(token.content for token in parsed(source) if token.type == "html_block")
    return [int(not closing) for closing in re.findall("<(/?)details>", blocks)]


OUR_HTML = {"<details>", "</details>", "<summary>", "</summary>", "<code>", "</code>"}
OUR_TOKENS = {"heading_open", "heading_close", "paragraph_open", "paragraph_close", "fence", "text"}
TABLE = {f"{part}_{end}" for part in ("table", "thead", "tbody", "tr", "th", "td") for end in ("open", "close")}


def test_markdown() -> None:
    assert markdown(*plan(BEFORE, AFTER)) == (
        "### aifctl plan\n\n"
        "2 to create&#44; 2 to change&#44; 1 to delete&#59; 1 model re-trains &#40;train&#44; export-onnx&#41;\n\n"
        "| environment | model | create | change | delete | steps that run again |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        "| <code>lab</code> | <code>digits</code> | 1 | 0 | 0 | <code>train</code>, <code>export-onnx</code> |\n"
        "| <code>prod</code> | <code>digits</code> | 1 | 2 | 1 |  |\n\n"
        "<details><summary><code>lab</code> / <code>digits</code>: 1 change</summary>\n\n"
        "```diff\n"
        "+ Workflow.argoproj.io vision/digits-2222222222: "
        "new run, replaces digits-1111111111, which is left to finish\n"
        "    steps of digits-2222222222\n"
        "      prepare      kept (3333333333)\n"
        "      train        runs again: training.hyperparameters.learning_rate changed\n"
        "      export-onnx  runs again: its input train moved\n"
        "```\n\n</details>\n\n"
        "<details><summary><code>prod</code> / <code>digits</code>: 4 changes</summary>\n\n"
        "```diff\n"
        "! ConfigMap vision/code\n"
        '!     data["train.py"]:\n'
        "          @@ -1,2 +1,2 @@\n"
        "           import x\n"
        "-          lr = 1\n"
        "+          lr = 2\n"
        "+ Service vision/digits\n"
        "! Deployment.apps vision/digits\n"
        "-     spec.template.spec.containers[server].args[1]: --verbose\n"
        '!     spec.template.spec.containers[server].env[A].value: "1" -> "true"\n'
        "!     spec.template.spec.containers[server].resources.limits.memory: 1Gi -> 2Gi\n"
        "- HorizontalPodAutoscaler.autoscaling vision/digits\n"
        "```\n\n</details>\n"
    )


def test_markdown_without_changes() -> None:
    assert markdown(*plan(BEFORE, BEFORE)) == "### aifctl plan\n\nno changes &#40;4 objects compared&#41;\n"


@settings(max_examples=150, deadline=None)
@given(NAMES, NAMES, NAMES, NAMES)
def test_markdown_is_not_broken_by_names_or_values(name: str, model: str, key: str, value: str) -> None:
    before = [manifest("ConfigMap", name, name, model, data={key: value}), run(f"{model}-1", {}, model=model)]
    after = [
        manifest("ConfigMap", name, name, model, data={key: f"{value}x"}),
        run(f"{model}-2", {name: (DIGEST["1"], {key: "1"}, {})}, model=model),
    ]
    shown = markdown(*plan(before, after))
    assert tags(shown) <= OUR_HTML | OUR_TOKENS | TABLE
    assert folds(shown) == [1, 0] * len([token for token in parsed(shown) if token.type == "fence"])
    cells = [len(re.findall(r"(?<!\\)\|", line)) for line in shown.splitlines() if line.startswith("| ")]
    assert set(cells) == {7}
    assert all(character.isprintable() or character == "\n" for character in shown)


@settings(max_examples=40, deadline=None)
@given(st.integers(500, 20_000), st.integers(1, 60), st.integers(1, 30), st.sampled_from(["m", "`" * 30, "|" * 200]))
def test_markdown_stays_within_its_limit(limit: int, models: int, fields: int, name: str) -> None:
    after = [
        manifest("ConfigMap", "c", model=f"{name}{m}", data={str(n): "x" for n in range(fields)}) for m in range(models)
    ]
    before = [manifest("ConfigMap", "c", model=f"{name}{m}", data={}) for m in range(models)]
    for found in (*before, *after):
        found.object["metadata"]["namespace"] = (
            found.model if hasattr(found, "model") else found.labels["aif.dev/model"]
        )
    shown = markdown(diff(before, after), limit=limit)
    assert len(shown) <= limit
    assert tags(shown) <= OUR_HTML | OUR_TOKENS | TABLE
    assert folds(shown) == [1, 0] * shown.count("<details>")


def test_markdown_says_how_much_it_left_out() -> None:
    after = [manifest("ConfigMap", f"c{n}", model=f"m{n:04}") for n in range(1_000)]
    shown = markdown(diff([], after))
    assert len(shown) <= 65_536
    rows = len(re.findall(r"^\| <code>", shown, re.MULTILINE))
    details = shown.count("<details>")
    assert f"… and {1_000 - rows} more rows" in shown
    assert f"… and {1_000 - details} more models" in shown


def test_one_model_with_too_much_shows_its_first_lines() -> None:
    after = [manifest("ConfigMap", f"c{n}") for n in range(5_000)]
    shown = markdown(diff([], after))
    assert 60_000 < len(shown) <= 65_536
    assert re.search(r"\+ ConfigMap vision/c\d+\n\n?… and \d,\d+ more lines\n```\n\n</details>\n$", shown)


def test_a_line_of_backticks_does_not_close_the_block() -> None:
    shown = fenced(["a", "```", "````diff", "b"], 1_000)
    (token,) = parsed(shown)
    assert (token.type, token.content) == ("fence", "a\n```\n````diff\nb\n")


def test_markdown_refuses_a_limit_that_holds_nothing() -> None:
    with pytest.raises(ValueError, match="the least is 500"):
        markdown(ChangeSet(), limit=499)
