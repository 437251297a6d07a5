"""`aifctl retry`: a new name for the run object, and nothing else new."""

from __future__ import annotations

import pytest
import yaml

from aifctl import pipeline
from aifctl.delivery import locking, retrying
from aifctl.delivery.retrying import Retried
from aifctl.diagnostics import Report
from aifctl.ir import Run
from tests.delivery.acme import Acme


def run_of_lab(acme: Acme) -> Run:
    loaded = acme.load()
    compiled = pipeline.compile_environment(loaded, loaded.environment("lab"))
    assert not compiled.diagnostics
    (model,) = compiled.models
    assert model.bundle.run is not None
    return model.bundle.run


def retry(acme: Acme, environment: str = "lab") -> Retried:
    return retrying.retry(acme.load(), "wine", environment)


def test_attempts_are_counted_in_the_lock_file(new_acme: Acme) -> None:
    first = run_of_lab(new_acme)
    assert retry(new_acme) == Retried("wine.lock.yaml", f"{first.name}-a2", 2)
    second = run_of_lab(new_acme)
    assert (second.name, second.attempt) == (f"{first.name}-a2", 2)
    assert retry(new_acme).run == run_of_lab(new_acme).name == f"{first.name}-a3"


def test_no_digest_moves(new_acme: Acme) -> None:
    first = run_of_lab(new_acme)
    retry(new_acme)
    second = run_of_lab(new_acme)
    assert second.digest == first.digest
    assert [step.spec for step in second.steps] == [step.spec for step in first.steps]


def test_the_rendered_object_is_another_one(new_acme: Acme) -> None:
    def workflows() -> list[str]:
        loaded = new_acme.load()
        manifests = pipeline.compile_environment(loaded, loaded.environment("lab")).manifests
        return [manifest.name for manifest in manifests if manifest.kind == "Workflow"]

    before = workflows()
    retry(new_acme)
    assert workflows() == [f"{before[0]}-a2"]


def test_another_run_starts_at_one(new_acme: Acme) -> None:
    retry(new_acme)
    new_acme.spec(strength=0.7)
    assert run_of_lab(new_acme).attempt == 1
    assert retry(new_acme).attempt == 2
    new_acme.spec()
    assert run_of_lab(new_acme).attempt == 1, "only the last run's attempts are counted"


def test_what_is_locked_stays_locked(new_acme: Acme) -> None:
    locking.lock(new_acme.load(), update=False)
    before = yaml.safe_load((new_acme.root / "wine.lock.yaml").read_text())
    retry(new_acme)
    after = yaml.safe_load((new_acme.root / "wine.lock.yaml").read_text())
    assert after.pop("retry")["lab"]["attempt"] == 2
    assert after == before
    locking.lock(new_acme.load(), update=True)
    assert run_of_lab(new_acme).attempt == 2


@pytest.mark.parametrize("environment", ["local", "prod", "edge"])
def test_environments_without_run_objects(environment: str, new_acme: Acme) -> None:
    with pytest.raises(Report) as caught:
        retry(new_acme, environment)
    assert caught.value.diagnostics[0].code == "AIF639"
    assert not (new_acme.root / "wine.lock.yaml").exists()


def test_a_spec_with_errors(new_acme: Acme) -> None:
    new_acme.edit("min: 0.3", "minimum: 0.3")
    with pytest.raises(Report) as caught:
        retry(new_acme)
    assert caught.value.diagnostics[0].code == "AIF203"
    assert not (new_acme.root / "wine.lock.yaml").exists()
