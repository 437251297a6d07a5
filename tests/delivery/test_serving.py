"""What `aifctl serve` is told by a release."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from aifctl.delivery import promotion, serving
from aifctl.delivery.promotion import Request
from aifctl.diagnostics import Report
from aifctl.runtime import bundle
from tests.delivery.acme import Acme


def promote(acme: Acme, environment: str = "local") -> None:
    promotion.promote(acme.load(), "wine", Request(environment=environment, allow_worse=True))


def refused(acme: Acme, environment: str = "local") -> tuple[str, str]:
    with pytest.raises(Report) as caught:
        serving.released(acme.load(), "wine", environment, {})
    found = caught.value.diagnostics[0]
    return found.code, found.message


def test_options_are_the_releases_and_the_specs(acme: Acme) -> None:
    promote(acme)
    options = serving.released(acme.load(), "wine", "local", {"port": 0})
    assert (options.name, options.max_batch, options.batch_delay, options.port) == ("wine", 16, 0.005, 0)
    assert options.low_confidence == 0.6
    loaded = bundle.load(Path(options.bundle), options.sha256)
    assert list(loaded.labels or ()) == ["barolo", "grignolino", "barbera"]


def test_what_is_given_on_the_command_line_comes_first(acme: Acme) -> None:
    promote(acme)
    options = serving.released(acme.load(), "wine", "local", {"max_batch": 3, "host": "0.0.0.0", "timeout": 1.5})
    assert (options.max_batch, options.host, options.timeout) == (3, "0.0.0.0", 1.5)


def test_from_another_folder(acme: Acme, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The release names its bundle relative to the repository."""
    promote(acme)
    monkeypatch.chdir(tmp_path)
    assert bundle.load(Path(serving.released(acme.load(), "wine", "local", {}).bundle)).labels


def test_a_clusters_release(acme: Acme) -> None:
    promote(acme, "prod")
    options = serving.released(acme.load(), "wine", "prod", {})
    assert options.bundle.startswith(f"file://{acme.root}/stores/prod/bundles/wine/")


def test_what_was_released_serves_whatever_became_of_its_training(acme: Acme) -> None:
    promote(acme)
    before = serving.released(acme.load(), "wine", "local", {})
    shutil.rmtree(acme.root / "data")
    shutil.rmtree(acme.root / "src")
    acme.edit("gate: {accuracy: {min: 0.3}}", "gate: {acuracy: {min: 0.3}}")
    assert serving.released(acme.load(), "wine", "local", {}) == before


def test_nothing_released(acme: Acme) -> None:
    assert refused(acme) == ("AIF638", "nothing of `wine` is released to `local`")
    promote(acme)
    assert refused(acme, "prod") == ("AIF638", "nothing of `wine` is released to `prod`")


def test_an_environment_that_does_not_serve(acme: Acme) -> None:
    assert refused(acme, "lab") == ("AIF638", "environment `lab` does not serve")
    assert refused(acme, "lob")[0] == "AIF212"


def test_a_model_that_does_not_serve(acme: Acme) -> None:
    acme.edit("  serving: {export: linear, batching: {max: 16, delay: 5ms}}\n", "")
    assert refused(acme) == ("AIF638", "`wine` has no `serving` section")


def test_an_export_that_the_released_run_does_not_have(acme: Acme) -> None:
    promote(acme)
    acme.edit("{name: linear,", "{name: straight,").edit("export: linear", "export: straight")
    assert refused(acme)[0] == "AIF345"


def test_a_laptops_run_that_someone_wrote_into_a_clusters_release(acme: Acme) -> None:
    promote(acme)
    acme.release("prod").parent.mkdir(parents=True)
    text = acme.release("local").read_text().replace("environment: local", "environment: prod")
    acme.release("prod").write_text(text)
    assert refused(acme, "prod")[0] == "AIF346"


def test_a_release_file_that_is_broken(acme: Acme) -> None:
    promote(acme)
    acme.release("local").write_text(acme.release("local").read_text().replace("sha256:", "sha:"))
    assert refused(acme)[0] in ("AIF203", "AIF204")


def test_a_bare_bundle(tmp_path: Path) -> None:
    options = serving.bare(tmp_path, "digits", {"port": 0})
    assert (options.bundle, options.name, options.sha256) == (str(tmp_path), "digits", None)
