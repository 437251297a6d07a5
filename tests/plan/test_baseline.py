"""A rendered tree read back: what aifctl wrote comes back as it was, everything else is told."""

from __future__ import annotations

import pytest

from aifctl.diagnostics import Severity
from aifctl.diagnostics.codes import CODES
from aifctl.plan.baseline import parse_tree
from aifctl.plan.diff import diff_environments
from tests.plan.objects import deployment, manifest, run

GOOD = b"apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  labels: {app.kubernetes.io/managed-by: aifctl}\n"


def findings(files: dict[str, bytes]) -> list[tuple[str, str]]:
    found = parse_tree(files)
    assert {diagnostic.code for diagnostic in found.diagnostics} <= set(CODES)
    return [(diagnostic.code, diagnostic.message) for diagnostic in found.diagnostics]


def test_what_the_canonical_writer_writes_comes_back() -> None:
    code = "def f(a, *args, **kw):\n    return *args\n\n# no: 12:30\n"
    wrote = [
        deployment(env=[{"name": "A", "value": "no"}]),
        manifest("ConfigMap", "c", data={"f.py": code}),
        run("r", {}),
    ]
    files = {f"prod/vision/digits/serve/{n}.yaml": found.to_yaml().encode() for n, found in enumerate(wrote)}
    read = parse_tree(files)
    assert read.diagnostics == ()
    assert diff_environments({"prod": wrote}, read.environments).effective == ()
    assert read.paths["prod", wrote[1].identity] == "prod/vision/digits/serve/1.yaml"


def test_the_first_folder_is_the_environment() -> None:
    read = parse_tree({"a/x.yaml": GOOD, "b/y/z.yaml": GOOD, "_gitops/x.yaml": GOOD})
    assert {name: len(found) for name, found in read.environments.items()} == {"_gitops": 1, "a": 1, "b": 1}


def test_an_empty_tree_is_no_fault() -> None:
    assert parse_tree({}) == parse_tree({}, root="x")


BOMB = b"a: &a [x]\n" + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b",".join([b"*a"] * 9)) for n in range(9))


@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        (b"a: [\n", "AIF601", "not readable YAML: YAML parse error"),
        (b"\xff\xfe", "AIF601", "not readable YAML: 'utf-8' codec can't decode byte 0xff"),
        (b"<<<<<<< HEAD\na: 1\n", "AIF601", "not readable YAML:"),
        (b"a: \0", "AIF601", "not readable YAML: it holds a NUL character"),
        (b"[" * 100_000, "AIF601", "not readable YAML: YAML parse error: recursion limit exceeded"),
        (BOMB, "AIF601", "not readable YAML: it holds an alias (`*name`)"),
        (b"x" * (8 << 20) + b"y", "AIF601", "the file is larger than 8 MiB"),
        (b"", "AIF603", "holds 0 documents, not one"),
        (GOOD + b"---\n" + GOOD, "AIF603", "holds 2 documents, not one"),
        (b"- a\n", "AIF603", "is no mapping"),
        (b"text", "AIF603", "is no mapping"),
        (b"kind: Service\nmetadata: {}\n", "AIF603", "a Kubernetes object needs"),
        (GOOD + b"1: 2\n", "AIF603", "has a key that is no text: 1"),
        (GOOD + b"a: .nan\n", "AIF603", "holds nan, which JSON does not have"),
        (GOOD + b"a: [{b: !x y}]\n", "AIF603", "holds the tag `!x`"),
        (b"apiVersion: v1\nkind: S\nmetadata: {name: a, labels: [x]}", "AIF603", "metadata.labels is no mapping"),
        (b"apiVersion: v1\nkind: S\nmetadata: {name: a, namespace: 1}", "AIF603", "metadata.namespace is no text"),
    ],
)
def test_files_that_hold_no_object(data: bytes, code: str, message: str) -> None:
    (found,) = findings({"prod/x.yaml": data})
    assert found[0] == code
    assert found[1].startswith(message)


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("README.md", b"# x"),
        ("prod/notes.txt", b"x"),
        ("prod/x.yml", GOOD),
        ("x.yaml", GOOD),
        ("prod/x.yaml", b"apiVersion: v1\nkind: Service\nmetadata: {name: a}\n"),
        ("prod/x.yaml", GOOD.replace(b": aifctl", b": Helm")),
    ],
)
def test_files_of_others_are_left_out_with_a_warning(path: str, data: bytes) -> None:
    read = parse_tree({path: data})
    assert [(d.code, d.severity) for d in read.diagnostics] == [("AIF602", Severity.WARNING)]
    assert read.environments == {}


def test_one_object_in_two_files_is_told_with_both() -> None:
    read = parse_tree({"prod/b.yaml": GOOD, "prod/a.yaml": GOOD})
    (found,) = read.diagnostics
    assert (found.code, found.message) == ("AIF604", "Service a is in `prod/a.yaml` too")
    assert found.where is not None
    assert found.where.file == "rendered/prod/b.yaml"
    assert len(read.environments["prod"]) == 1


def test_names_of_files_are_made_printable() -> None:
    (found,) = parse_tree({"prod/\x1b[31m\u202e.yaml": b"a: ["}).diagnostics
    assert found.where is not None
    assert found.where.file == "rendered/prod/\\x1b[31m\\u202e.yaml"
