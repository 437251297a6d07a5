"""Identity v1 is frozen: the same spec, code, data and platform have the same step digests for ever.

digests-v1.json holds a spec with every section, a change of each field that moves a digest, and the examples, all with
the digests they had. What stands in it is never written again: not by `--update-golden`, not by anything here. A test
that fails means that an upgrade of aifctl would train every model of that kind once more. Mend the code; if the meaning
of a field really has to change, that is identity v2, beside v1.

New entries may be added, when a field gets into the identity or an example is edited:

    AIFCTL_ADD_DIGESTS=1 python -m pytest tests/golden/test_digests.py

writes those that the file lacks (refused where CI is set), and leaves the others as they are. An example's entry goes
by the content it is made of, so an edited example is a new entry.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml12

from aifctl import contract, digest, ir
from aifctl.spec.load import Unit
from tests.golden import repository
from tests.lowering.test_identity import FIELDS, SURROUNDINGS
from tests.lowering.units import GONE, HERE, SPEC, Around, edited, steps

FILE = repository.HERE / "digests-v1.json"
ADD = "AIFCTL_ADD_DIGESTS"
AROUND = ("data", "code", "requirements", "platform", "metadata", "lock")
MOVING = {name: row for name, row in FIELDS.items() if row.touches}
AROUND_MOVING = {name: around for name, (around, touches) in SURROUNDINGS.items() if touches}
EXAMPLES = sorted(path.parent.name for path in repository.EXAMPLES.glob("*/model.yaml"))
Digests = dict[str, str | None]


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The file; with what it lacks, where that was asked for."""
    kept: dict[str, Any] = json.loads(FILE.read_text("utf-8")) if FILE.is_file() else {}
    if not os.environ.get(ADD):
        return kept
    if os.environ.get("CI"):
        raise pytest.UsageError(f"{ADD} is refused where CI is set")
    found = _with_new(kept, repository.lay_out(tmp_path_factory.mktemp("golden") / "specs"))
    if found != kept:
        FILE.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return found


def test_the_function_that_chains_digests_is_as_ever() -> None:
    assert digest.canonical_json({"b": [1.0, 0.5, True, None], "a": "é"}) == '{"a":"\\u00e9","b":[1,0.5,true,null]}'
    assert contract.step_digest("train", "a" * 64, {"prepare": "b" * 64}) == CHAINED
    assert contract.step_digest("train", "a" * 64, {"prepare": None}) is None


CHAINED = digest.of_text('{"id":"v1","inputs":{"prepare":"' + "b" * 64 + '"},"kind":"train","own":"' + "a" * 64 + '"}')
"""By hand: sha256 of this very text."""


def test_the_base_has_the_digests_it_had(frozen: dict[str, Any]) -> None:
    assert _digests(_base(frozen)) == frozen["steps"]


@pytest.mark.parametrize("name", [*MOVING, *AROUND_MOVING])
def test_a_change_has_the_digests_it_had(name: str, frozen: dict[str, Any]) -> None:
    assert name in frozen["variations"], f"not frozen yet: see {ADD} above"
    _check(frozen, name)


def test_every_change_that_was_frozen_is_still_checked(frozen: dict[str, Any]) -> None:
    """Also those whose row is gone from the table that they were taken from."""
    for name in frozen["variations"]:
        _check(frozen, name)


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("environment", ["lab", "local"])
def test_an_example_has_the_digests_it_had(name: str, environment: str, frozen: dict[str, Any], tmp_path: Path) -> None:
    key, found = _example(repository.lay_out(tmp_path / "specs"), environment)[name]
    assert key in frozen["examples"], f"the example was edited: see {ADD} above"
    assert found == frozen["examples"][key]["steps"]


def test_nothing_is_written_where_continuous_integration_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = FILE.read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "the_base_has", str(Path(__file__))],
        cwd=repository.HERE.parents[1],
        env={**os.environ, "CI": "true", ADD: "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert f"{ADD} is refused where CI is set" in done.stdout + done.stderr
    assert FILE.read_bytes() == before


def _check(frozen: Mapping[str, Any], name: str) -> None:
    kept = frozen["variations"][name]
    expected = {step: value for step, value in frozen["steps"].items() if step not in kept["gone"]} | kept["moved"]
    assert _digests(_varied(frozen, kept)) == expected, name


# From what is kept to digests


def _base(frozen: Mapping[str, Any]) -> Mapping[str, ir.Step]:
    return steps(frozen["spec"], around=Around(**_tuples(frozen["around"])))


def _varied(frozen: Mapping[str, Any], kept: Mapping[str, Any]) -> Mapping[str, ir.Step]:
    edits = {path: GONE if rest == [] else rest[0] for path, *rest in kept["edits"]}
    around = Around(**_tuples({**frozen["around"], **kept["around"]}))
    return steps(edited(frozen["spec"], edits), around=around)


def _tuples(around: Mapping[str, Any]) -> dict[str, Any]:
    return {**around, "requirements": tuple(around["requirements"])}


def _digests(found: Mapping[str, ir.Step]) -> Digests:
    return {name: step.spec.digest for name, step in found.items()}


# From what is here to what is kept


def _with_new(kept: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {
        "identity": contract.IDENTITY,
        "spec": SPEC,
        "around": {name: getattr(HERE, name) for name in AROUND},
        "steps": _digests(steps(SPEC)),
        "variations": {},
        "examples": {},
        **kept,
    }
    plain = json.loads(json.dumps(found))
    news = {name: {"edits": _edits({**row.base, **row.to}), "around": {}} for name, row in MOVING.items()}
    for name, around in AROUND_MOVING.items():
        changed = {each: getattr(around, each) for each in AROUND if getattr(around, each) != getattr(HERE, each)}
        news[name] = {"edits": [], "around": changed}
    for name, new in news.items():
        if name not in plain["variations"]:
            after = _digests(_varied(plain, new))
            moved = {step: value for step, value in after.items() if plain["steps"].get(step) != value or value is None}
            new |= {"moved": moved, "gone": sorted(plain["steps"].keys() - after.keys())}
            plain["variations"][name] = new
    for environment in ("lab", "local"):
        for name, (key, digests) in _example(folder, environment).items():
            plain["examples"].setdefault(key, {"of": f"{name} in {environment}", "steps": digests})
    return plain


def _edits(edits: Mapping[str, Any]) -> list[list[Any]]:
    return [[path] if value is GONE else [path, value] for path, value in edits.items()]


def _example(folder: Path, environment: str) -> dict[str, tuple[str, Digests]]:
    """Example → (key of what it is made of, its digests)."""
    found = {}
    for model in repository.compiled(folder, environment).models:
        assert model.bundle.run is not None
        digests = {step.name: step.spec.digest for step in model.bundle.run.steps}
        found[model.unit.document.path.parent.name] = (_content(model.unit, folder), digests)
    return found


def _content(unit: Unit, folder: Path) -> str:
    platform = yaml12.parse_yaml((folder / "platform.yaml").read_text("utf-8"))
    facts = unit.facts
    files = [unit.document.value, sorted(facts.code.files.items()) if facts.code is not None else None]
    data = sorted((name, fact.sha256) for name, fact in facts.data.items())
    lines = facts.requirements.lines if facts.requirements is not None else None
    return digest.of_value([unit.environment.name, platform, files, data, lines])[:16]
