"""`--output json`: valid, versioned, and nothing else on stdout; and what `explain` and `schema` give."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from aifctl.diagnostics.codes import CODES
from aifctl.spec import json_schema
from tests.cli.conftest import Command, Done

ROOT = Path(__file__).resolve().parents[2]

GIVES: dict[tuple[str, ...], set[str]] = {
    ("render", "--env", "lab"): {"dry", "new", "changed", "removed", "unchanged"},
    ("render", "--check"): {"dry", "new", "changed", "removed", "unchanged"},
    ("plan", "--env", "lab"): {"exit_code"},
    ("runs",): {"runs"},
    ("gc",): {"deleted", "items"},
    ("lock", "minimal"): {"locks"},
    ("retry", "iris", "--env", "lab"): {"file", "run", "attempt"},
    ("build", "iris", "--env", "lab"): {"files", "command"},
    ("explain",): {"codes"},
    ("explain", "AIF301"): {"code", "page"},
    ("init", "new"): {"files"},
}


@pytest.mark.parametrize("words", GIVES, ids=" ".join)
def test_results_for_scripts(words: tuple[str, ...], examples: Command, inside: Callable[..., Done]) -> None:
    done = inside(examples.folder, *words, "--output", "json")
    assert done.returncode in (0, 2), done.stderr
    value = json.loads(done.stdout)
    assert value["format_version"].startswith("1.")
    assert GIVES[words] <= set(value)
    assert done.stderr == ""


def test_findings_for_scripts(examples: Command, inside: Callable[..., Done]) -> None:
    done = inside(examples.folder, "validate", "-o", "json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"version": 1, "diagnostics": [], "summary": {"errors": 0, "warnings": 0}}
    (examples.folder / "minimal/model.yaml").write_text("apiVersion: aif.dev/v1alpha1\nkind: Model\n")
    done = inside(examples.folder, "validate", "-o", "json")
    found = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (1, "")
    assert found["summary"]["errors"] == len(found["diagnostics"]) > 0


def test_an_error_leaves_stdout_empty(examples: Command, inside: Callable[..., Done]) -> None:
    done = inside(examples.folder, "promote", "digits", "--env", "local", "-o", "json")
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize("code", CODES)
def test_explain(code: str, inside: Callable[..., Done], tmp_path: Path) -> None:
    done = inside(tmp_path, "explain", code)
    assert done.returncode == 0
    assert done.stdout.startswith(f"# {code}: {CODES[code].title}\n")


def test_explain_lists_all(inside: Callable[..., Done], tmp_path: Path) -> None:
    lines = inside(tmp_path, "explain").stdout.splitlines()
    assert [line.split("  ", 1) for line in lines] == [[each.code, each.title] for each in CODES.values()]
    assert inside(tmp_path, "explain", "301").stdout == inside(tmp_path, "explain", "aif301").stdout


class TestSchema:
    @pytest.mark.parametrize("kind", json_schema.KINDS)
    def test_is_the_file_in_schemas(self, kind: str, inside: Callable[..., Done], tmp_path: Path) -> None:
        assert inside(tmp_path, "schema", kind).stdout == (ROOT / f"schemas/{kind}.schema.json").read_text("utf-8")

    def test_writes_exactly_what_is_in_schemas(self, inside: Callable[..., Done], tmp_path: Path) -> None:
        assert inside(tmp_path, "schema", "--write", "deep/out").returncode == 0
        written, kept = (
            {path.name: path.read_text("utf-8") for path in folder.iterdir()}
            for folder in (tmp_path / "deep/out", ROOT / "schemas")
        )
        assert written == kept, "run `make schemas`"

    def test_writes_one(self, inside: Callable[..., Done], tmp_path: Path) -> None:
        inside(tmp_path, "schema", "lock", "--write", "out")
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["lock.schema.json"]

    @pytest.mark.parametrize("kind", json_schema.KINDS)
    def test_is_a_schema(self, kind: str) -> None:
        import jsonschema

        jsonschema.Draft202012Validator.check_schema(json_schema.schema(kind))
