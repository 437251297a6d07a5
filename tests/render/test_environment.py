from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml12
from hypothesis import given

from aifctl.diagnostics import Diagnostic, Report
from aifctl.manifest import Manifest
from aifctl.render.environment import Templates, written
from tests.test_manifest import HOSTILE, alike, values

HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n"


def render(folder: Path, text: str, **context: Any) -> Manifest | None:
    (folder / "t.yaml.j2").write_text(text, encoding="utf-8")
    return Templates(folder).render("t.yaml.j2", context)


def refused(folder: Path, text: str, **context: Any) -> Diagnostic:
    with pytest.raises(Report) as caught:
        render(folder, text, **context)
    [found] = caught.value.diagnostics
    return found


@given(values)
def test_a_value_comes_through_a_template_unchanged(value: Any) -> None:
    assert alike(yaml12.parse_yaml(f"a: {written(value)}"), {"a": value})


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_can_not_leave_its_place(text: str, tmp_path: Path) -> None:
    key = text[:90]
    template = HEAD + "data:\n  a: {{ x }}\n  b: [{{ x }}, {c: {{ x }}}]\n  {{ key }}: 1\n"
    found = render(tmp_path, template, x=text, key=key)
    assert found is not None
    assert found.object["data"] == {"a": text, "b": [text, {"c": text}], key: 1}


def test_mappings_of_other_classes_are_written(tmp_path: Path) -> None:
    found = render(tmp_path, HEAD + "data: {{ x }}\n", x=MappingProxyType({"a": MappingProxyType({"b": (1, 2)})}))
    assert found is not None
    assert found.object["data"] == {"a": {"b": [1, 2]}}


def test_a_template_of_the_platform_replaces_one_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "argo").mkdir()
    (tmp_path / "argo/role.yaml.j2").write_text(HEAD + "data: {own: {{ name }}}\n")
    found = Templates(tmp_path).render("argo/role.yaml.j2", {"name": "x"})
    assert found is not None
    assert found.object["data"] == {"own": "x"}
    assert Templates(tmp_path).render("argo/rolebinding.yaml.j2", _account()) is not None


def _account() -> dict[str, Any]:
    return {"name": "x", "namespace": "n", "labels": {}, "annotations": {}}


@pytest.mark.parametrize("text", ["", "\n", "# nothing here\n", "{% if x %}" + HEAD + "{% endif %}"])
def test_a_template_that_renders_to_nothing_leaves_the_object_out(text: str, tmp_path: Path) -> None:
    assert render(tmp_path, text, x=False) is None


def test_a_missing_template_is_named_with_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(Report) as caught:
        Templates(tmp_path).render("argo/none.yaml.j2", {})
    [found] = caught.value.diagnostics
    assert (found.code, found.message) == ("AIF502", "there is no template `argo/none.yaml.j2`")
    assert str(tmp_path) in (found.hint or "")


@pytest.mark.parametrize("name", ["../secret", "argo/../../secret", "/etc/passwd"])
def test_an_include_can_not_leave_the_folders(name: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a: 1\n")
    (tmp_path / "templates").mkdir()
    assert refused(tmp_path / "templates", "{% include '" + name + "' %}").code == "AIF502"


def test_a_missing_folder_is_a_finding(tmp_path: Path) -> None:
    with pytest.raises(Report) as caught:
        Templates(tmp_path / "none")
    assert caught.value.diagnostics[0].code == "AIF502"


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("{% for i in x %}\na: 1\n", 2, "Unexpected end of template"),
        ("a: 1\nb: {{ x | nonsense }}\n", 2, "No filter named 'nonsense'"),
        ("a: {{ x y }}\n", 1, "expected token"),
        ("a: 1\n\nb: {{ x \n", 3, "unexpected"),
        ("a: {{ x | center(1000) }}\n", 1, "No filter named 'center'"),
    ],
)
def test_a_syntax_error_has_file_and_line(text: str, line: int, what: str, tmp_path: Path) -> None:
    found = refused(tmp_path, text, x=1)
    assert found.code == "AIF503"
    assert what in found.message
    assert found.position is not None
    assert (Path(found.position.file).name, found.position.line) == ("t.yaml.j2", line)


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        (HEAD + "a: {{ missing }}\n", 5, "'missing' is undefined"),
        (HEAD + "b: 1\na: {{ x.missing }}\n", 6, "missing"),
        (HEAD + "{% for i in missing %}\n{% endfor %}\n", 5, "'missing' is undefined"),
        (HEAD + "a: {{ [missing] }}\n", 5, "'missing' is undefined"),
        ("{% include 't.yaml.j2' %}", 1, "includes itself without end"),
        (HEAD + "a: {{ nan }}\n", 5, "Out of range"),
        (HEAD + "a: {{ some_object }}\n", 5, "can't be written"),
        (HEAD + "a: {{ 'a' * 1000000000 }}\n", 5, "operator `*`"),
        (HEAD + "a: {{ 2 ** 1000000000 }}\n", 5, "operator `**`"),
        (HEAD + "a: {{ '%1000000000d' % 1 }}\n", 5, "operator `%`"),
        (HEAD + "a: {{ '{:1000000000}'.format(1) }}\n", 5, "not safely callable"),
        (HEAD + "a: {{ ''.__class__.__mro__ }}\n", 5, "unsafe"),
        (HEAD + "a: {{ call() }}\n", 5, "not safely callable"),
        (HEAD + "{% for i in range(9) %}\n{% endfor %}\n", 5, "'range' is undefined"),
        (HEAD + "{% set _ = x.update({'a': 1}) %}\n", 5, "unsafe"),
        (HEAD + "a: {{ 'a'.ljust(1000000000) }}\n", 5, "not safely callable"),
        (HEAD + "a: {{ 1 / 0 }}\n", 5, "division by zero"),
    ],
)
def test_a_template_that_fails_has_file_and_line(text: str, line: int, what: str, tmp_path: Path) -> None:
    found = refused(tmp_path, text, x={"k": 1}, nan=float("nan"), some_object=object(), call=lambda: 1)
    assert found.code == "AIF505"
    assert what in found.message
    assert found.position is not None
    assert (Path(found.position.file).name, found.position.line) == ("t.yaml.j2", line)


@pytest.mark.parametrize(
    "text",
    [
        "a: [1\n",
        HEAD + "---\n" + HEAD,
        "just text\n",
        "- a\n",
        "kind: ConfigMap\n",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {labels: {}}\n",
        "a: &x {b: 1}\nc: *y\n",
        "\ta: 1\n",
    ],
)
def test_what_is_no_object_is_refused(text: str, tmp_path: Path) -> None:
    found = refused(tmp_path, text)
    assert found.code == "AIF506"
    assert found.position is not None
    assert Path(found.position.file) == tmp_path / "t.yaml.j2"


def test_broken_yaml_shows_the_filled_text(tmp_path: Path) -> None:
    found = refused(tmp_path, HEAD + "a: {{ x }}\n b: 1\n", x="value")
    assert any('a: "value"' in note for note in found.notes), found


def test_reading_the_ir_and_the_package_does_not_load_jinja() -> None:
    code = "import aifctl.render, aifctl.manifest, aifctl.render.write, sys; print(json.dumps('jinja2' in sys.modules))"
    result = subprocess.run([sys.executable, "-c", "import json; " + code], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) is False
