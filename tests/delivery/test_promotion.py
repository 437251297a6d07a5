"""Releases: what may serve, what a release file says, and what stops one. The runs are real ones."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from aifctl import digest, pipeline
from aifctl.delivery import files, promotion
from aifctl.delivery.promotion import Promoted, Request
from aifctl.diagnostics import Diagnostic, Report, Severity
from aifctl.runtime import runs
from aifctl.runtime.store import Store
from aifctl.spec.models.release import Release, ReleaseEntry
from tests.delivery.acme import COLUMNS, DATA, GOOD, SERVE_IMAGE, WORSE, Acme


def promote(acme: Acme, environment: str = "local", **request: Any) -> Promoted:
    return promotion.promote(acme.load(), "wine", Request(environment=environment, **request))


def refused(acme: Acme, environment: str = "local", **request: Any) -> Diagnostic:
    with pytest.raises(Report) as caught:
        promote(acme, environment, **request)
    return caught.value.diagnostics[0]


def released(acme: Acme, environment: str = "local") -> ReleaseEntry:
    return Release.model_validate(yaml.safe_load(acme.release(environment).read_text("utf-8"))).stable


def run_of(acme: Acme, strength: float) -> str:
    """Name of the run of this machine with that parameter."""
    (found,) = [r.run for r in runs.list_runs(acme.here).records if r.parameters["params.C"] == strength]
    return found


class TestRelease:
    def test_the_file_says_what_serves_and_what_spoke_for_it(self, acme: Acme) -> None:
        run = run_of(acme, GOOD)
        done = promote(acme, run=run)
        assert (done.file, done.changed, done.run) == ("releases/local/wine.yaml", True, run)
        entry = released(acme)
        record = runs.find(runs.list_runs(acme.here), run)
        assert (entry.run, entry.train) == (run, record.steps["train"].digest)
        assert (entry.commit, entry.dirty, entry.image) == (None, False, None)
        evaluated = acme.here.find(str(record.steps["evaluate"].digest))
        assert evaluated is not None
        assert dict(entry.evidence.metrics) == evaluated.outputs["metrics"] == done.metrics
        assert entry.evidence.metrics["accuracy"] > 0.9
        assert entry.evidence.gate == {"accuracy": {"min": 0.3}}
        assert entry.evidence.champion is None

    def test_the_bundle_is_the_one_that_was_verified(self, acme: Acme) -> None:
        promote(acme, run=run_of(acme, GOOD))
        export = released(acme).exports["linear"]
        assert export.uri.startswith(".aif/steps/")
        folder = acme.root / export.uri
        hashes = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        assert export.size == sum(path.stat().st_size for path in hashes.values())
        assert (export.format, "bundle.json" in hashes) == ("custom", True)

    def test_the_file_is_canonical(self, acme: Acme) -> None:
        promote(acme, run=run_of(acme, GOOD))
        text = acme.release("local").read_text("utf-8")
        assert text == promotion.text(Release.model_validate(yaml.safe_load(text)))
        assert text.startswith("# Written by `aifctl promote`")
        assert "null" not in text, "a tensor's signature lists what it has"
        assert acme.release("local").stat().st_mode & 0o777 == 0o644

    def test_the_newest_finished_run_is_taken(self, acme: Acme) -> None:
        assert promote(acme).run == run_of(acme, WORSE)
        acme.run_here("training.hyperparameters.C=0.0001", state="running")
        assert promote(acme).run == run_of(acme, WORSE)

    def test_again_changes_nothing(self, acme: Acme) -> None:
        first = promote(acme)
        text = acme.release("local").read_bytes()
        again = promote(acme)
        assert (first.changed, again.changed) == (True, False)
        assert acme.release("local").read_bytes() == text
        assert again.champion is None, "what serves is no rival of itself"

    def test_evidence_is_of_the_run_and_not_of_todays_spec(self, acme: Acme) -> None:
        acme.spec(gate=0.999)
        promote(acme, run=run_of(acme, GOOD))
        assert released(acme).evidence.gate == {"accuracy": {"min": 0.3}}

    def test_evidence_is_of_the_run_and_not_of_the_one_that_registered_first(self, acme: Acme) -> None:
        """A stricter gate moves no digest but its own, so both runs share the register step."""
        run = acme.spec(gate=0.5).run_here()
        promote(acme, run=run)
        assert released(acme).run == run
        assert released(acme).evidence.gate == {"accuracy": {"min": 0.5}}

    def test_the_commit_is_that_of_the_run(self, new_acme: Acme) -> None:
        def git(*words: str) -> str:
            settings = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
            command = ["git", "-C", str(new_acme.root), *settings, *words]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

        git("init", "-q")
        (new_acme.root / ".gitignore").write_text(".aif/\n")
        git("add", "-A")
        git("commit", "-qm", "one")
        made_from = git("rev-parse", "HEAD")
        new_acme.run_here()
        git("commit", "-qm", "two", "--allow-empty")
        promote(new_acme)
        assert (released(new_acme).commit, released(new_acme).dirty) == (made_from, False)
        git("add", "-A")
        git("commit", "-qm", "release")
        assert not promote(new_acme).changed
        new_acme.spec(gate=0.31).run_here()
        promote(new_acme)
        assert released(new_acme).dirty

    def test_a_reverted_release_is_what_served_before(self, acme: Acme) -> None:
        promote(acme, run=run_of(acme, GOOD))
        before = acme.release("local").read_bytes()
        promote(acme, run=run_of(acme, WORSE), allow_worse=True)
        assert released(acme).run == run_of(acme, WORSE)
        acme.release("local").write_bytes(before)
        (unit,) = pipeline.load.units(acme.load(), acme.load().environment("local"))[0]
        assert unit.release is not None
        assert unit.release.stable.run == run_of(acme, GOOD)


class TestChampion:
    """What serves is measured again, from raw rows, on the rows the candidate was tested on."""

    def test_a_worse_candidate_is_refused_with_the_numbers(self, acme: Acme) -> None:
        promote(acme, run=run_of(acme, GOOD))
        before = acme.release("local").read_bytes()
        found = refused(acme, run=run_of(acme, WORSE))
        assert found.code == "AIF635"
        assert "is worse than the champion's" in found.message
        assert found.hint is not None
        assert "--allow-worse" in found.hint
        (table,) = found.notes
        head, *rows = [line.split() for line in table.splitlines()]
        assert head == ["metric", "candidate", "champion"]
        assert [row[0] for row in rows] == ["accuracy", "f1_macro", "log_loss"]
        assert float(rows[0][1]) < float(rows[0][2])
        assert acme.release("local").read_bytes() == before

    def test_unless_it_is_allowed_to_be_worse(self, acme: Acme) -> None:
        best = promote(acme, run=run_of(acme, GOOD))
        done = promote(acme, run=run_of(acme, WORSE), allow_worse=True)
        assert [(d.code, d.severity) for d in done.diagnostics] == [("AIF635", Severity.WARNING)]
        assert done.champion is not None
        assert done.champion["accuracy"] == pytest.approx(best.metrics["accuracy"])
        assert released(acme).evidence.champion == done.champion

    def test_a_better_one_replaces_it(self, acme: Acme) -> None:
        promote(acme, run=run_of(acme, WORSE))
        done = promote(acme, run=run_of(acme, GOOD))
        assert (done.changed, done.diagnostics) == (True, ())
        assert done.champion is not None
        assert done.champion["accuracy"] < done.metrics["accuracy"]

    def test_nothing_is_compared_unless_the_spec_asks(self, acme: Acme) -> None:
        acme.edit(", compare_with: champion", "")
        promote(acme, run=run_of(acme, GOOD))
        done = promote(acme, run=run_of(acme, WORSE))
        assert (done.champion, done.diagnostics) == (None, ())

    def test_equal_is_not_worse(self, acme: Acme) -> None:
        """Another model with the same answers: a stronger penalty that moves no row of the test split."""
        promote(acme, run=run_of(acme, GOOD))
        other = acme.run_here("training.hyperparameters.C=0.5000001")
        done = promote(acme, run=other)
        assert done.changed
        assert done.champion is not None
        assert done.champion["accuracy"] == done.metrics["accuracy"]

    def test_a_champion_that_reads_other_columns_can_not_be_asked(self, acme: Acme) -> None:
        promote(acme, run=run_of(acme, GOOD))
        rows = [line.split(",") for line in DATA.read_text().splitlines()]
        (acme.root / "data/wine.csv").write_text("\n".join(",".join(row[1:]) for row in rows) + "\n")
        acme.spec(columns=COLUMNS[1:])
        run = acme.run_here()
        found = refused(acme, run=run)
        assert found.code == "AIF637"
        assert f"it reads `{COLUMNS[0]}`, which they lack" in found.message
        done = promote(acme, run=run, allow_worse=True)
        assert [(d.code, d.severity) for d in done.diagnostics] == [("AIF637", Severity.WARNING)]
        assert done.champion is None

    def test_a_champion_with_other_classes(self, acme: Acme) -> None:
        promote(acme, run=run_of(acme, GOOD))
        lines = [line for line in DATA.read_text().splitlines() if not line.endswith(",2")]
        (acme.root / "data/wine.csv").write_text("\n".join(lines) + "\n")
        acme.edit("names: [barolo, grignolino, barbera]", "names: [barolo, grignolino]")
        assert refused(acme, run=acme.run_here()).code == "AIF637"

    def test_a_champion_that_is_gone_or_damaged(self, acme: Acme) -> None:
        promote(acme, run=run_of(acme, GOOD))
        bundle = acme.root / released(acme).exports["linear"].uri
        (bundle / "bundle.json").write_text((bundle / "bundle.json").read_text() + " ")
        assert refused(acme, run=run_of(acme, WORSE)).code == "AIF832"
        shutil.rmtree(bundle)
        assert refused(acme, run=run_of(acme, WORSE)).code == "AIF861"
        done = promote(acme, run=run_of(acme, WORSE), allow_worse=True)
        assert [(d.code, d.severity) for d in done.diagnostics] == [("AIF861", Severity.WARNING)]

    def test_rows_of_the_candidate_that_are_gone(self, acme: Acme) -> None:
        promote(acme, run=run_of(acme, GOOD))
        record = runs.find(runs.list_runs(acme.here), run_of(acme, WORSE))
        shutil.rmtree(acme.root / ".aif/steps" / str(record.steps["prepare"].digest))
        found = refused(acme, run=run_of(acme, WORSE))
        assert (found.code, "no longer in the store" in found.message) == ("AIF637", True)


class TestRuns:
    def test_none(self, new_acme: Acme) -> None:
        found = refused(new_acme)
        assert found.code == "AIF634"
        assert found.hint == "`aifctl run wine` makes one"

    def test_one_that_failed_or_never_ended(self, acme: Acme) -> None:
        for state, shown in (("failed", "failed"), ("running", "interrupted")):
            run = acme.run_here("training.hyperparameters.C=0.25", state=state)
            found = refused(acme, run=run)
            assert (found.code, f"is {shown}, not done" in found.message) == ("AIF634", True)

    def test_one_whose_proof_was_collected(self, acme: Acme) -> None:
        run = run_of(acme, GOOD)
        record = runs.find(runs.list_runs(acme.here), run)
        shutil.rmtree(acme.root / ".aif/steps" / str(record.steps["register"].digest))
        assert refused(acme, run=run).code == "AIF634"

    @pytest.mark.parametrize("name", ["local-wine-none", "../../etc/passwd", "\x1b[31mred", "a\0b", ""])
    def test_names_that_are_no_runs(self, name: str, acme: Acme) -> None:
        assert refused(acme, run=name).code == "AIF849"

    def test_one_without_an_export(self, acme: Acme) -> None:
        acme.edit(
            "  export: [{name: linear, format: custom}]\n  serving: {export: linear, "
            "batching: {max: 16, delay: 5ms}}\n",
            "",
        )
        found = refused(acme, run=acme.run_here())
        assert found.code == "AIF636"

    def test_a_laptops_run_stays_on_the_laptop(self, acme: Acme) -> None:
        for environment in ("prod", "near", "edge"):
            found = refused(acme, environment, source="local")
            assert found.code == "AIF632"
            assert not acme.release(environment).exists()

    def test_also_where_it_was_made_in_the_labs_store(self, acme: Acme) -> None:
        """By pointing a laptop's steps at the lab's store."""
        acme.tamper(acme.lab, {"run": "local-wine-0123456789"})
        assert refused(acme, "prod").code == "AIF632"


class TestCluster:
    def test_the_bundle_is_copied_where_stores_differ(self, acme: Acme) -> None:
        done = promote(acme, "prod")
        entry = released(acme, "prod")
        export = entry.exports["linear"]
        assert export.uri == f"file://{acme.root}/stores/prod/bundles/wine/{export.sha256[:16]}"
        copied = Path(export.uri.removeprefix("file://"))
        assert digest.of_tree(copied) == digest.of_tree(self.made_in_lab(acme))
        assert entry.image == SERVE_IMAGE
        assert done.run.startswith("wine-")

    @pytest.mark.parametrize("environment", ["near", "edge"])
    def test_it_stays_where_they_do_not(self, environment: str, acme: Acme) -> None:
        promote(acme, environment)
        uri = released(acme, environment).exports["linear"].uri
        assert uri == f"file://{self.made_in_lab(acme)}"
        assert not (acme.root / "stores/prod").exists()

    def test_it_takes_no_more_than_the_base_install(self, acme: Acme) -> None:
        """Without a champion to compare with, a laptop that only validates and applies can release."""
        code = (
            "import sys; sys.modules |= dict.fromkeys(('numpy', 'pandas', 'fsspec', 'mlflow', 'onnxruntime'))\n"
            "from aifctl.cli import main; sys.exit(main(sys.argv[1:]))"
        )
        words = [sys.executable, "-c", code, "promote", "wine", "--env", "near"]
        done = subprocess.run(words, cwd=acme.root, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert released(acme, "near").run.startswith("wine-")

    def test_a_copy_that_was_cut_off_is_completed(self, acme: Acme) -> None:
        promote(acme, "prod")
        copied = Path(released(acme, "prod").exports["linear"].uri.removeprefix("file://"))
        whole = digest.of_tree(copied)
        (copied / "bundle.json").write_text("{")
        acme.release("prod").unlink()
        promote(acme, "prod")
        assert digest.of_tree(copied) == whole

    def test_a_damaged_bundle_is_not_copied(self, acme: Acme) -> None:
        made = self.made_in_lab(acme) / "bundle.json"
        made.write_bytes(made.read_bytes()[::-1])
        assert refused(acme, "prod").code == "AIF803"
        assert not acme.release("prod").exists()

    def test_serving_is_rendered_from_the_release(self, acme: Acme) -> None:
        promote(acme, "prod")
        loaded = acme.load()
        compiled = pipeline.compile_environment(loaded, loaded.environment("prod"))
        assert not compiled.diagnostics
        kinds = {manifest.kind for manifest in compiled.manifests}
        assert {"Deployment", "Service"} <= kinds
        (model,) = compiled.models
        assert model.bundle.service is not None
        assert model.bundle.service.bundle.sha256 == released(acme, "prod").exports["linear"].sha256

    def test_the_comparison_is_made_with_what_serves_there(self, acme: Acme) -> None:
        promote(acme, "prod")
        acme.spec(strength=WORSE).run_in_lab()
        found = refused(acme, "prod")
        assert found.code == "AIF635"
        assert promote(acme, "near").champion is None, "nothing served there yet"

    def test_a_run_that_the_spec_does_not_stand_for(self, acme: Acme) -> None:
        found = refused(acme, "prod", run="wine-0000000000")
        assert found.code == "AIF634"
        assert promote(acme, "prod", run=promote(acme, "near").run).changed

    def test_no_finished_run(self, new_acme: Acme) -> None:
        found = refused(new_acme, "prod")
        assert (found.code, found.hint) == ("AIF634", "wait until its Workflow has succeeded")

    def test_a_stricter_gate_has_to_be_passed_first(self, acme: Acme) -> None:
        """Everything else of that run is there already, the registration too."""
        acme.spec(gate=0.5)
        found = refused(acme, "prod")
        assert found.code == "AIF634"
        assert "is not proved: `gate` of it is not in" in found.message
        acme.run_in_lab()
        promote(acme, "prod")
        assert released(acme, "prod").evidence.gate == {"accuracy": {"min": 0.5}}

    @staticmethod
    def made_in_lab(acme: Acme) -> Path:
        assert acme.lab.local is not None
        (found,) = acme.lab.local.glob("steps/*/attempts/*/bundle.json")
        return found.parent


class TestEnvironments:
    def test_one_that_does_not_serve(self, acme: Acme) -> None:
        assert refused(acme, "lab").code == "AIF631"

    def test_one_that_is_not_there(self, acme: Acme) -> None:
        assert refused(acme, "prdo").code == "AIF212"
        assert refused(acme, "prod", source="lba").code == "AIF212"

    def test_one_that_makes_no_runs(self, acme: Acme) -> None:
        found = refused(acme, "prod", source="near")
        assert (found.code, "only serves" in found.message) == ("AIF633", True)

    def test_several_that_could_have_made_the_run(self, acme: Acme) -> None:
        lab = "{name: lab, roles: [train], cluster: {context: lab}"
        acme.edit(f"    - {lab}", f"    - {lab.replace('lab', 'lab2')}}}\n    - {lab}", "platform.yaml")
        found = refused(acme, "prod")
        assert found.code == "AIF633"
        assert "`lab2`, `lab`" in found.message
        assert promote(acme, "prod", source="lab").changed
        assert refused(acme, "prod", source="lab2").code == "AIF630"

    def test_no_such_model(self, acme: Acme) -> None:
        with pytest.raises(Report) as caught:
            promotion.promote(acme.load(), "wien", Request(environment="local"))
        assert caught.value.diagnostics[0].code == "AIF121"


class TestHostileStore:
    """registration.json comes from a store that many can write to."""

    @pytest.mark.parametrize(
        "changes",
        [
            {"run": "wine\x1b[31m"},
            {"run": "../../releases"},
            {"run": ""},
            {"exports/linear/path": "../../../etc"},
            {"exports/linear/path": "/etc"},
            {"exports/linear/sha256": "0"},
            {"exports/linear/size": -1},
            {"train": {"digest": "x"}},
            {"train": None},
            {"exports/linear/format": 3},
            {"exports": []},
            {"model": "other"},
            {"exports/linear/digest": 64 * "1"},
            {"train": {"digest": 64 * "1"}},
        ],
        ids=str,
    )
    def test_what_no_register_step_writes_is_refused(self, changes: dict[str, Any], acme: Acme) -> None:
        acme.tamper(acme.lab, changes)
        found = refused(acme, "prod")
        assert found.code == "AIF803"
        assert not acme.release("prod").exists()

    def test_a_digest_that_is_not_the_bundles_is_found_when_it_is_served(self, acme: Acme) -> None:
        """The lab's word for the content is in the release; the server holds the bundle against it."""
        from aifctl.runtime import bundle

        acme.tamper(acme.lab, {"exports/linear/sha256": 64 * "0"})
        promote(acme, "prod")
        export = released(acme, "prod").exports["linear"]
        with pytest.raises(Report) as caught:
            bundle.load(Path(export.uri.removeprefix("file://")), export.sha256)
        assert caught.value.diagnostics[0].code == "AIF832"


class TestWriting:
    def test_where_no_file_can_be_written(self, acme: Acme) -> None:
        (acme.root / "releases").write_text("")
        found = refused(acme)
        assert found.code == "AIF621"
        assert str(acme.release("local")) in found.message

    def test_a_file_is_written_whole_or_not_at_all(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        target = tmp_path / "wine.yaml"
        assert files.write_text(target, "one\n")
        assert not files.write_text(target, "one\n")

        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "replace", fail)
        with pytest.raises(Report) as caught:
            files.write_text(target, "two\n")
        assert "No space left" in caught.value.diagnostics[0].message
        assert [path.name for path in tmp_path.iterdir()] == ["wine.yaml"]
        assert target.read_text() == "one\n"

    def test_a_release_that_can_not_be_read_stops_the_next(self, acme: Acme) -> None:
        promote(acme)
        acme.release("local").write_text("kind: Release\n")
        with pytest.raises(Report):
            promote(acme)


def test_the_store_of_the_run_is_not_changed(acme: Acme) -> None:
    before = digest.of_tree(acme.root / "stores/lab")
    promote(acme, "prod")
    assert digest.of_tree(acme.root / "stores/lab") == before
    assert Store(f"file://{acme.root}/stores/prod").names("bundles") == ["wine"]
