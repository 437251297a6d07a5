from __future__ import annotations

from pathlib import Path

import pytest

from aifctl import resources
from aifctl.diagnostics import Report
from aifctl.render.environment import Templates

HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n"

WHOLE = [
    "a: {{ x }}",
    "a: {{ x }}   ",
    "a: {{ x }}  # why",
    "a:\n- {{ x }}\n- - {{ x }}",
    "a: [{{ x }}, {{ x }}]",
    "a: [ {{ x }} ]",
    "a: [{% for i in xs %}{{ i }},{% endfor %}]",
    "a: {b: {{ x }}, c: [{{ x }}]}",
    "a: {b: {{ x }}}",
    "a: [\n  {{ x }},\n  {{ x }}\n  ]",
    "{{ x }}: 1",
    "a: {{ x }}\n{% if x %}b: {{ x }}\n{% endif %}",
    '"quoted: key": {{ x }}',
    "a: 'it is: quoted'\nb: {{ x }}",
    "a: |\n  text\nb: {{ x }}",
    "a:\n  - b: {{ x }}",
    "a: {# a note #}{{ x }}",
    "a: {{ 'no-' ~ x }}",
]
PARTS = [
    ("a: foo-{{ x }}", 5),
    ("a: {{ x }}-foo", 5),
    ("a: {{ x }} foo", 5),
    ("a: {{ x }}{{ x }}", 5),
    ('a: "{{ x }}"', 5),
    ("a: '{{ x }}'", 5),
    ("a: --x={{ x }}", 5),
    ("a: one, {{ x }}", 5),
    ("b: 1\na: [x{{ x }}]", 6),
    ("a: [{{ x }}y]", 5),
    ("a: http://{{ x }}/b", 5),
    ("a: |\n  echo {{ x }}", 6),
    ("a: |\n  text\n  {{ x }}\nb: {{ x }}", 7),
    ("a: >-\n\n    {{ x }}", 7),
    ("# about {{ x }}\nb: 1", 5),
    ("b: 1  # about {{ x }}", 5),
    ("x{{ x }}: 1", 5),
    ("a:\n- {% if x %}v{{ x }}{% endif %}", 6),
    ("a: one\n  {{- x }}", 6),
]


def render(folder: Path, text: str) -> str:
    (folder / "t.yaml.j2").write_text(HEAD + text, encoding="utf-8")
    manifest = Templates(folder).render("t.yaml.j2", {"x": "value: {", "xs": ["1", "no"]})
    assert manifest is not None
    return manifest.to_yaml()


@pytest.mark.parametrize("text", WHOLE)
def test_an_expression_that_is_a_whole_node_is_taken(text: str, tmp_path: Path) -> None:
    assert "value: {" in render(tmp_path, text) or "xs" in text


@pytest.mark.parametrize(("text", "line"), PARTS)
def test_an_expression_inside_a_scalar_is_refused_with_its_line(text: str, line: int, tmp_path: Path) -> None:
    with pytest.raises(Report) as caught:
        render(tmp_path, text)
    [found] = caught.value.diagnostics
    assert found.code == "AIF504"
    assert found.position is not None
    assert (Path(found.position.file), found.position.line) == (tmp_path / "t.yaml.j2", line)


def test_included_templates_are_looked_at_too(tmp_path: Path) -> None:
    (tmp_path / "part.yaml.j2").write_text("b: x{{ x }}\n")
    with pytest.raises(Report) as caught:
        render(tmp_path, "{% include 'part.yaml.j2' %}")
    [found] = caught.value.diagnostics
    assert found.code == "AIF504"
    assert found.position is not None
    assert (Path(found.position.file).name, found.position.line) == ("part.yaml.j2", 1)


def test_every_template_of_aifctl_can_be_loaded() -> None:
    templates, folder = Templates(), resources.template_path("")
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*.j2")]
    assert len(names) >= 14
    for name in names:
        templates._environment.get_template(name)
