"""What pods read besides manifests, put into a store by content; and steps that find it there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from aifctl import digest, pipeline
from aifctl.contract import Kind, Site
from aifctl.delivery import pushing
from aifctl.delivery.pushing import Pushed
from aifctl.diagnostics import Diagnostic, Report
from aifctl.ir import Run
from aifctl.runtime import archives, entry
from aifctl.spec.facts import INLINE_CODE
from tests.delivery.acme import Acme

LARGE = "src/lexicon.txt"


def push(acme: Acme, environment: str = "lab") -> tuple[list[Pushed], tuple[Diagnostic, ...]]:
    loaded = acme.load()
    return pushing.push(loaded, loaded.environment(environment))


def with_large_code(acme: Acme) -> Acme:
    (acme.root / LARGE).write_text("wine\n" * (INLINE_CODE // 5 + 1))
    return acme


def run_of_lab(acme: Acme) -> Run:
    loaded = acme.load()
    (model,) = pipeline.compile_environment(loaded, loaded.environment("lab")).models
    assert model.bundle.run is not None
    return model.bundle.run


def test_data_is_sent_once(new_acme: Acme) -> None:
    (first,), found = push(new_acme)
    assert found == ()
    assert (first.model, first.what, first.sent) == ("wine", "data wine", True)
    data = new_acme.root / "data/wine.csv"
    assert first.uri == f"file://{new_acme.root}/stores/lab/data/sha256-{digest.of_file(data)}"
    assert Path(first.uri.removeprefix("file://")).read_bytes() == data.read_bytes()
    assert first.size == data.stat().st_size
    (again,), _ = push(new_acme)
    assert (again.sent, again.uri) == (False, first.uri)


def test_changed_data_is_sent_beside_what_is_there(new_acme: Acme) -> None:
    push(new_acme)
    data = new_acme.root / "data/wine.csv"
    data.write_text("\n".join(data.read_text().splitlines()[:-1]) + "\n")
    (row,), _ = push(new_acme)
    assert row.sent
    assert len(new_acme.lab.names("data")) == 2


def test_small_code_travels_in_the_manifest(new_acme: Acme) -> None:
    assert [row.what for row in push(new_acme)[0]] == ["data wine"]
    code = run_of_lab(new_acme).code
    assert code is not None
    assert code.delivery == "inline"


def test_large_code_is_sent_as_one_file(new_acme: Acme) -> None:
    with_large_code(new_acme)
    code, data = push(new_acme)[0]
    assert (code.what, code.sent, data.sent) == ("code", True, True)
    archive = Path(code.uri.removeprefix("file://"))
    assert archive.name == f"{digest.of_tree(new_acme.root / 'src')}.tar"
    before = archive.read_bytes()
    assert [row.sent for row in push(new_acme)[0]] == [False, False]
    (new_acme.root / LARGE).touch()
    (new_acme.root / "src/train.py").chmod(0o755)
    assert archives.pack(new_acme.root / "src") == before, "times and modes are not in it"


def test_a_pod_runs_from_the_store_alone(new_acme: Acme, tmp_path: Path) -> None:
    """With nothing of the repository on its disk."""
    with_large_code(new_acme)
    push(new_acme)
    run = run_of_lab(new_acme)
    shutil.rmtree(new_acme.root / "data")
    shutil.rmtree(new_acme.root / "src")
    for step in run.steps:
        code = tmp_path / "work" / step.name / "code"
        site = Site(store=new_acme.lab.uri, run=run.name, code=str(code))
        result = entry.execute(step.spec, site)
        assert result.digest == step.spec.digest
        assert code.is_dir() is (step.spec.code is not None)
        if step.spec.kind is Kind.EVALUATE:
            assert result.outputs["metrics"]["accuracy"] > 0.9


def test_code_of_the_store_that_is_not_what_the_step_was_compiled_for(new_acme: Acme, tmp_path: Path) -> None:
    with_large_code(new_acme)
    push(new_acme)
    run = run_of_lab(new_acme)
    prepare, train = run.steps[0], next(step for step in run.steps if step.spec.kind is Kind.TRAIN)
    assert new_acme.lab.local is not None
    (archive,) = (new_acme.lab.local / "code").iterdir()
    (new_acme.root / "src/train.py").write_text("import os; os.system('touch /tmp/pwned')\n")
    archive.write_bytes(archives.pack(new_acme.root / "src"))
    entry.execute(prepare.spec, Site(store=new_acme.lab.uri, run=run.name))
    with pytest.raises(Report) as caught:
        entry.execute(train.spec, Site(store=new_acme.lab.uri, run=run.name, code=str(tmp_path / "code")))
    assert caught.value.diagnostics[0].code == "AIF807"
    assert "was compiled for" in caught.value.diagnostics[0].message


def test_data_of_the_store_that_is_not_what_was_pinned(new_acme: Acme) -> None:
    push(new_acme)
    assert new_acme.lab.local is not None
    (data,) = (new_acme.lab.local / "data").iterdir()
    data.write_bytes(data.read_bytes()[::-1])
    with pytest.raises(Report) as caught:
        entry.execute(run_of_lab(new_acme).steps[0].spec, Site(store=new_acme.lab.uri, run="wine-1"))
    assert caught.value.diagnostics[0].code == "AIF811"


def test_a_broken_model_holds_up_no_other(new_acme: Acme) -> None:
    text = (new_acme.root / "model.yaml").read_text().replace("{name: wine}", "{name: other}", 1)
    (new_acme.root / "other.yaml").write_text(text.replace("task: classification", "task: guessing"))
    rows, found = push(new_acme)
    assert [row.model for row in rows] == ["wine"]
    assert [diagnostic.code for diagnostic in found] == ["AIF206"]


@pytest.mark.parametrize("environment", ["local", "edge"])
def test_an_environment_without_a_store(environment: str, new_acme: Acme) -> None:
    with pytest.raises(Report) as caught:
        push(new_acme, environment)
    assert caught.value.diagnostics[0].code == "AIF630"


def test_a_store_that_can_not_be_written(new_acme: Acme) -> None:
    (new_acme.root / "stores").write_text("")
    with pytest.raises(Report) as caught:
        push(new_acme)
    assert caught.value.diagnostics[0].code == "AIF802"


def test_a_store_of_an_unknown_kind(new_acme: Acme) -> None:
    new_acme.edit(f"file://{new_acme.root}/stores/lab", "nowhere://bucket", "platform.yaml")
    with pytest.raises(Report) as caught:
        push(new_acme)
    assert caught.value.diagnostics[0].code == "AIF802"


def test_a_folder_of_data_is_refused_in_words(new_acme: Acme) -> None:
    """Steps read one file a dataset."""
    new_acme.edit("path: data/wine.csv", "path: data").edit("features:", "format: csv\n      features:")
    rows, found = push(new_acme)
    assert rows == []
    assert [(diagnostic.code, diagnostic.message) for diagnostic in found] == [("AIF351", "`data` is a folder")]
    assert found[0].position is not None
