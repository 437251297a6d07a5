from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
import yaml12
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aifctl.canonical import to_yaml
from aifctl.diagnostics import Report
from aifctl.manifest import Manifest, in_order

# Texts that a YAML 1.1 or 1.2 reader takes for something else when they are not quoted, or that break a block.
WORDS = """
no On y N ~ null NULL nUll true TRUE Inf .inf -.inf .NaN nan = << - -- --- ... ? : | > ! & * % @ ` ' " \\ # [] {}
12:30:45 12:30 1:2 1e3 1E3 1.5e3 12e5 0o17 017 0x1F 0b1 1_000 1. .5 -1 +1 -0 0 2001-01-01 2001-01-01T00:00:00Z
4Gi 500m 1E 25% -y --y -inf --a=1 {{a}} $(A) a,b a:b a: a::b http://a/b?c=d#e [a {a *a &a !a %a @a `a 'a' "a" a]
"""
HOSTILE = (
    *WORDS.split(),
    *(
        "",
        " ",
        " a",
        "a ",
        "a b",
        "a  b",
        "a: b",
        "a :b",
        "a #b",
        "- a",
        "? a",
        "-\ta",
        "a\tb",
        "\ta",
        "a, b",
        "--a: b",
    ),
    *("\n", "a\n", "a\n\n", "\na", " a\nb", "\ta\nb", "a\n\tb", "a\n  \nb", "a\n   ", "a\n  \n", "a \nb", "a\r\nb"),
    *("a\rb", "a\n---\nb", "a\n...\n", "# a\nb\n", "key: |\n  x\n", "x" * 3000, "a b " * 900, "x y\n" * 900),
    *("\x00", "\x07", "\x1b", "\x7f", "\x85", "\xa0", "a\xa0\nb", "\xad", "\u200b", "\u2028", "\u2029", "a\u2028b\n"),
    *(
        "\u202e",
        "\ufeff",
        "\ufeffa\n",
        "\ufffe",
        "\uffff",
        "é",
        "日本",
        "🎉",
        "🎉\n🎉\n",
        "\U000e0001",
        "\u0378",
        "\u3000",
    ),
)

texts = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.text("ab \n\t:#-'\"\\{}[],&*!|>%@`.0123456789eExob_+~=<", max_size=20),
    st.lists(st.sampled_from(HOSTILE), max_size=4).map("".join),
    st.lists(st.sampled_from(HOSTILE), max_size=4).map("\n".join),
)
keys = texts.filter(lambda text: len(text) < 90)
leaves = st.one_of(
    texts,
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)


def alike(found: Any, wanted: Any) -> bool:
    """Equal in value, type and order of keys: 1, 1.0 and True are three values."""
    if type(found) is not type(wanted):
        return False
    if isinstance(wanted, dict):
        return list(found) == list(wanted) and all(alike(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(alike, found, wanted))
    return repr(found) == repr(wanted)


def read_back(text: str) -> list[Any]:
    """By YAML 1.1 in Python and in C, and by YAML 1.2."""
    return [yaml.safe_load(text), yaml.load(text, yaml.CSafeLoader), yaml12.parse_yaml(text)]


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(keys, values, max_size=4))
@example({"a": []})
@example({"a": {}, "b": [{}, [], [[]], [{"c": ["d\ne\n", {"f": "g\n"}]}]]})
@example({"f": [1e20, 1e-7, -0.0, 1.5e300, 0.1, 5e-324, 1.0, 123456789.123]})
def test_yaml_1_1_and_1_2_read_back_what_was_written(value: dict[str, Any]) -> None:
    text = to_yaml(value)
    for found in read_back(text):
        assert alike(found, value), text


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_survives_as_value_item_and_key(text: str) -> None:
    value = {"value": text, "items": [text, {"inner": text}], "after": "x", **({text: 1} if len(text) < 90 else {})}
    written = to_yaml(value)
    for found in read_back(written):
        assert alike(found, value), written


@pytest.mark.parametrize("text", [*(text for text in HOSTILE if "\n" not in text), "x " * 500])
def test_text_of_one_line_is_never_folded(text: str) -> None:
    assert to_yaml({"a": text}).count("\n") == 1


def test_code_is_a_literal_block() -> None:
    code = "import torch\n\n\ndef f():\n\treturn 'é → 🎉'  # x: y\n"
    assert to_yaml({"data": {"f.py": code}}) == (
        "data:\n  f.py: |\n    import torch\n\n\n    def f():\n    \treturn 'é → 🎉'  # x: y\n"
    )


def test_common_values_are_plain() -> None:
    value = {
        "image": "registry.example:5000/aif/serve@sha256:ab12",
        "args": ["-m", "--store=s3://acme/x", "python"],
        "memory": "4Gi",
        "cpu": "500m",
        "share": "25%",
        "a.b/c-d": "words with blanks",
        "flags": [True, None, 1, 1.5],
    }
    assert to_yaml(value) == (
        "image: registry.example:5000/aif/serve@sha256:ab12\nargs:\n- -m\n- --store=s3://acme/x\n- python\n"
        "memory: 4Gi\ncpu: 500m\nshare: 25%\na.b/c-d: words with blanks\nflags:\n- true\n- null\n- 1\n- 1.5\n"
    )


def test_characters_that_mislead_a_reviewer_are_escaped() -> None:
    assert to_yaml({"a": "x\u202ey", "b": "x\u200by\n"}) == 'a: "x\\u202ey"\nb: "x\\u200by\\n"\n'


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        2**63,
        -(2**63) - 1,
        {1: "a"},
        {None: "a"},
        {True: "a"},
        {"x" * 1100: 1},
        "\ud800",
        "a\n\udfff",
        {"\ud800": 1},
        b"bytes",
        {1, 2},
        object(),
    ],
)
def test_what_kubernetes_can_not_carry_is_refused(value: object) -> None:
    for place in ({"a": value}, {"a": [value]}, {"a": {"b": value}}):
        with pytest.raises(ValueError, match=r"."):
            to_yaml(place)


def test_values_of_other_classes_are_written_as_what_they_stand_for() -> None:
    class Text(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "other"

    assert to_yaml({"a": Text("x"), "b": (1, 2), "c": [Text("no\n")]}) == "a: x\nb:\n- 1\n- 2\nc:\n- |\n  no\n"


def an_object(kind: str, name: str, namespace: str | None = "n", version: str = "v1") -> Manifest:
    metadata = {"name": name} if namespace is None else {"name": name, "namespace": namespace}
    return Manifest({"apiVersion": version, "kind": kind, "metadata": metadata})


def test_identity_has_the_group_and_not_the_version() -> None:
    one = an_object("Deployment", "a", version="apps/v1")
    assert one.identity == ("apps", "Deployment", "n", "a")
    assert one.identity == an_object("Deployment", "a", version="apps/v1beta1").identity
    assert str(one.identity) == "Deployment.apps n/a"
    assert str(an_object("Namespace", "a", None).identity) == "Namespace a"


def test_the_first_keys_are_in_their_usual_order_and_the_rest_as_given() -> None:
    found = Manifest(
        {
            "spec": {"b": 1, "a": 2},
            "metadata": {
                "uid": "u",
                "annotations": {"z": "1"},
                "labels": {"b": "1", "a": "2"},
                "namespace": "ns",
                "name": "x",
            },
            "kind": "K",
            "apiVersion": "g/v1",
        }
    ).to_yaml()
    assert [line.strip() for line in found.splitlines()] == [
        "apiVersion: g/v1", "kind: K", "metadata:", "name: x", "namespace: ns", "labels:", 'b: "1"', 'a: "2"',
        "annotations:", 'z: "1"', "uid: u", "spec:", "b: 1", "a: 2",
    ]  # fmt: skip


def test_the_digest_is_of_values_and_not_of_the_order_of_keys() -> None:
    one = {"apiVersion": "v1", "kind": "K", "metadata": {"name": "a"}, "data": {"x": "1", "y": "2"}}
    other = {"data": {"y": "2", "x": "1"}, "metadata": {"name": "a"}, "kind": "K", "apiVersion": "v1"}
    assert Manifest(one).digest == Manifest(other).digest
    assert Manifest(one).digest != Manifest({**one, "data": {"x": "1", "y": "3"}}).digest


def test_apply_order_puts_what_others_lean_on_first_whatever_the_input_order() -> None:
    kinds = [
        "HorizontalPodAutoscaler",
        "Deployment",
        "RoleBinding",
        "ConfigMap",
        "Role",
        "Workflow",
        "ServiceAccount",
        "Service",
    ]
    found = [each.kind for each in in_order(an_object(kind, "a") for kind in kinds)]
    assert found == [
        *("ServiceAccount", "Role", "RoleBinding", "ConfigMap", "Service", "Deployment", "Workflow"),
        "HorizontalPodAutoscaler",
    ]
    assert found == [each.kind for each in in_order(an_object(kind, "a") for kind in reversed(kinds))]


def test_two_manifests_of_one_object_are_refused() -> None:
    with pytest.raises(Report) as caught:
        in_order([an_object("Role", "a"), an_object("Role", "b"), an_object("Role", "a")])
    assert [(each.code, each.message) for each in caught.value.diagnostics] == [
        ("AIF501", "Role n/a is rendered twice")
    ]


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"apiVersion": "v1", "kind": "K"},
        {"apiVersion": "v1", "kind": "K", "metadata": {}},
        {"apiVersion": "v1", "kind": "", "metadata": {"name": "a"}},
        {"apiVersion": 1, "kind": "K", "metadata": {"name": "a"}},
        {"apiVersion": "v1", "kind": "K", "metadata": {"name": None}},
        {"apiVersion": "v1", "kind": "K", "metadata": "name"},
    ],
)
def test_what_is_no_kubernetes_object_is_no_manifest(value: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a Kubernetes object needs"):
        Manifest(value)
