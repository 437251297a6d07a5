"""Text → values by YAML 1.2's core rules, and everything that is refused on the way."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
import yaml12
from hypothesis import given, settings
from hypothesis import strategies as st

from aifctl.diagnostics import Diagnostic, Report, Severity, Where
from aifctl.spec import source


def parse(text: str) -> tuple[list[dict[str, Any]], list[Diagnostic]]:
    documents, found = source.parse(text, Path("m.yaml"), "m.yaml")
    return [d.value for d in documents], found


def codes(text: str) -> list[str]:
    return [d.code for d in parse(text)[1]]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("-.5", -0.5), ("0o17", 15), ("0x1F", 31), ("+12", 12), ("1.", 1.0), (".inf", math.inf),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("no", "no"), ("12:30", "12:30"),
        ("1_000", "1_000"), ("2026-01-01", "2026-01-01"), ("0755", 755), ("'1'", "1"), ('"true"', "true"), ("=", "="),
    ],
)  # fmt: skip
def test_scalars_by_the_core_schema(text: str, value: object) -> None:
    (document,), _ = parse(f"a: {text}")
    assert document == {"a": value}
    assert type(document["a"]) is type(value)


@given(st.text(alphabet="0123456789+-.eExoabcdefnultrsyTFNINany~_: ", min_size=1, max_size=12))
@settings(max_examples=500)
def test_scalars_are_read_as_another_reader_of_1_2_reads_them(text: str) -> None:
    plain = f"a: {text}"
    try:
        theirs = yaml12.parse_yaml(plain)
        documents, _ = source.parse(plain, Path("m.yaml"), "m.yaml")
    except ValueError:
        return
    if not documents or not isinstance(theirs, dict) or set(theirs) != {"a"}:
        return
    ours = documents[0].value.get("a")
    assert repr(ours) == repr(theirs["a"]) or (isinstance(ours, float) and math.isnan(ours))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: [1, 2", "AIF104"),
        ("a: 1\n\tb: 2", "AIF104"),
        ("a: \x07", "AIF104"),
        ("a: 1\na: 2", "AIF105"),
        ("a: &x [*x]", "AIF106"),
        ("a: &x {b: 1}\nc: *y", "AIF104"),
        ("a: !!str 1", "AIF109"),
        ("a: !Ref b", "AIF109"),
        ("a: {<<: {b: 1}}", "AIF110"),
        ("? [1, 2]\n: 3", "AIF111"),
        ("- 1", "AIF112"),
        ("just text", "AIF112"),
    ],
)
def test_what_is_refused(text: str, code: str) -> None:
    documents, found = parse(text)
    assert [d.code for d in found] == [code]
    assert documents == []


def test_a_quoted_merge_key_is_a_key() -> None:
    assert parse('a: {"<<": 1}') == ([{"a": {"<<": 1}}], [])


def test_documents_after_a_bad_one_are_still_read() -> None:
    documents, found = parse("a: 1\na: 2\n---\nb: 1\n---\n# empty\n---\n- 1\n")
    assert documents == [{"b": 1}]
    assert [(d.code, d.position.line) for d in found if d.position] == [("AIF105", 2), ("AIF112", 8)]


def test_all_duplicate_keys_are_told_with_the_line_of_the_first() -> None:
    _, found = parse("a: 1\nb: {c: 1, c: 2}\na: 2\na: 3\n")
    assert [(d.position.line, d.hint) for d in found if d.position] == [
        (2, "keep one of them; the first is in line 2"),
        (3, "keep one of them; the first is in line 1"),
        (4, "keep one of them; the first is in line 1"),
    ]


def test_aliases_share_their_value() -> None:
    (document,), found = parse("a: &x {b: [1, 2]}\nc: *x\nd: [*x, *x]")
    assert document["c"] is document["a"]
    assert found == []


@pytest.mark.parametrize("levels", [6, 9, 60])
def test_a_bomb_of_aliases_is_refused_before_it_costs_anything(levels: int) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    assert codes("\n".join(lines)) == ["AIF106"]


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 50_000, "- " * 50_000 + "x", "[" * 70 + "]" * 70])
def test_deep_nesting_is_refused_and_never_recursed_into(text: str) -> None:
    assert codes(f"a: {text}" if text[0] != "-" else text) in (["AIF107"], ["AIF104"])


def test_nesting_that_is_allowed_is_read() -> None:
    (document,), found = parse("a: " + "[" * 60 + "]" * 60)
    assert found == []
    assert isinstance(document["a"], list)


@pytest.mark.parametrize(
    ("text", "warned"),
    [("yes", True), ("Off", True), ("12:30:45", True), ("017", True), ("1_0", True), ("'yes'", False), ("true", False)],
)
def test_values_that_readers_of_1_1_take_for_something_else_warn(text: str, warned: bool) -> None:
    _, found = parse(f"a: {text}")
    assert [d.code for d in found] == (["AIF108"] if warned else [])
    assert all(d.severity is Severity.WARNING for d in found)
    if warned:
        assert yaml.safe_load(f"a: {text}")["a"] != source.core_scalar(text)


@pytest.mark.parametrize(
    ("content", "code"), [(b"a: \xff", "AIF102"), (b"\x00" * (4 * 1024**2 + 1), "AIF103"), (None, "AIF101")]
)
def test_files_that_are_not_read(tmp_path: Path, content: bytes | None, code: str) -> None:
    path = tmp_path / "m.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Report) as raised:
        source.read_text(path, "m.yaml")
    assert [d.code for d in raised.value.diagnostics] == [code]


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_bytes(b"\xef\xbb\xbfkind: Model")
    assert source.read_text(tmp_path / "m.yaml", "m.yaml") == "kind: Model"


@given(st.text(max_size=200))
@settings(max_examples=300)
def test_no_text_makes_it_raise(text: str) -> None:
    documents, found = source.parse(text, Path("m.yaml"), "m.yaml")
    everything = [*found, Diagnostic("AIF204", "x", None, Where("m.yaml", ("spec", "x"), document=3))]
    assert all(d.position is not None for d in source.resolve(everything, {"m.yaml": text}))
    assert documents == [] or all(isinstance(d.value, dict) for d in documents)


def test_a_missing_field_is_placed_at_what_should_hold_it() -> None:
    text = "spec:\n  training: {epochs: 1}\n  export:\n    - format: onnx\n      opset: 18\n"
    paths = [("spec", "training", "hardware", "epochs"), ("spec", "export", 0), ("spec", "serving")]
    found = source.resolve([Diagnostic("AIF204", "x", None, Where("m", path)) for path in paths], {"m": text})
    assert [(d.position.line, d.position.column, d.position.end_column) for d in found if d.position] == [
        (2, 13, 24),
        (4, 7, 13),
        (1, 1, 5),
    ]
