"""Run manifests: written, listed whatever lies beside them, found by name, compared."""

from __future__ import annotations

import json
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aifctl.contract import Kind, StepSpec
from aifctl.diagnostics import Report, Severity
from aifctl.runtime import locks, run_tables, runs
from aifctl.runtime.comparison import compare, comparison_to_json
from aifctl.runtime.runs import About, RunRecord, StepRecord
from aifctl.runtime.store import FileEntry, Store

A, B = "a" * 64, "b" * 64


def spec(name: str, kind: Kind, config: dict[str, Any] | None = None, digest: str | None = A) -> StepSpec:
    return StepSpec(
        name=name, kind=kind, model="digits", tenant="t", own="o", inputs={}, digest=digest, config=config or {}
    )


TRAIN = spec("train", Kind.TRAIN, {"framework": "pytorch", "epochs": 5, "loop": None, "params": {"learning_rate": 0.1}})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def begin(store: Store, run: str = "local-digits-1", **about: Any) -> runs.Recorder:
    return runs.begin(store, run, About(**{"model": "digits", **about}), [TRAIN, spec("evaluate", Kind.EVALUATE)])


class TestRecorder:
    def test_what_is_known_at_the_start_is_written_at_once(self, store: Store) -> None:
        begin(store, spec={"task": "classification"}, command=("aifctl", "run", "m.yaml"))
        (record,) = runs.list_runs(store).records
        assert record.spec == {"task": "classification"}
        assert record.command == ("aifctl", "run", "m.yaml")
        assert record.parameters == {"framework": "pytorch", "epochs": 5, "params.learning_rate": 0.1}
        assert record.steps["train"] == StepRecord(kind="train", digest=A)
        assert record.machine["packages"]["fsspec"]
        assert record.machine["python"]

    def test_metrics_are_those_of_evaluations_and_artifacts_of_every_step(self, store: Store) -> None:
        recorder = begin(store)
        recorder.published("train", A, {"metrics": {"loss": 1.0}}, {"model.bin": FileEntry(B, 7)})
        recorder.published("evaluate", B, {"metrics": {"accuracy": 0.97, "per_class": [1], "ok": True, "n": 3}}, {})
        recorder.save(state="done", ended=runs.now())
        (record,) = runs.list_runs(store).records
        assert record.metrics == {"accuracy": 0.97, "n": 3.0}
        assert record.artifacts["train"] == {"digest": A, "files": {"model.bin": {"sha256": B, "size": 7}}}
        assert record.state == "done"

    def test_a_run_that_starts_again_keeps_its_history(self, store: Store) -> None:
        first = begin(store)
        first.save(state="failed", ended=runs.now())
        second = begin(store)
        assert second.record.created == first.record.created
        assert second.record.history == (
            {"started": first.record.started, "ended": first.record.ended, "state": "failed"},
        )
        assert begin(store).record.history[-1]["state"] == "interrupted"  # the second one never ended

    def test_a_broken_manifest_is_written_anew(self, store: Store) -> None:
        store.write("runs/local-digits-1.json", b'{"run": "local-di')
        begin(store)
        assert runs.list_runs(store).diagnostics == ()

    def test_readers_never_see_half_a_manifest(self, store: Store) -> None:
        recorder = begin(store, spec={"padding": "x" * 200_000})
        stop = threading.Event()

        def rewrite() -> None:
            while not stop.is_set():
                recorder.step("train", state="running")

        writer = threading.Thread(target=rewrite)
        writer.start()
        try:
            listings = [runs.list_runs(store) for _ in range(50)]
        finally:
            stop.set()
            writer.join()
        assert all(len(listing.records) == 1 and not listing.diagnostics for listing in listings)
        assert [path.name for path in Path(store.uri, "runs").iterdir()] == ["local-digits-1.json"]


class TestGit:
    def git(self, folder: Path, *arguments: str) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout

    def test_commit_and_dirty_state(self, tmp_path: Path) -> None:
        self.git(tmp_path, "init", "-q", "-b", "main")
        (tmp_path / "a.yaml").write_text("a: 1")
        self.git(tmp_path, "add", ".")
        self.git(tmp_path, "commit", "-q", "-m", "first")
        commit = self.git(tmp_path, "rev-parse", "HEAD").strip()
        clean = {"commit": commit, "branch": "main", "dirty": False, "changed": []}
        assert runs.git_state(tmp_path) == clean
        (tmp_path / "a.yaml").write_text("a: 2")
        assert runs.git_state(tmp_path) == {**clean, "dirty": True, "changed": ["a.yaml"]}

    def test_no_repository_no_commit_no_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
        (tmp_path / "plain").mkdir()
        assert runs.git_state(tmp_path / "plain") == {}
        assert runs.git_state(tmp_path / "missing") == {}
        (tmp_path / "empty").mkdir()
        self.git(tmp_path / "empty", "init", "-q")
        assert runs.git_state(tmp_path / "empty") == {}

    def test_without_git(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert runs.git_state(tmp_path) == {}


class TestList:
    def test_newest_first(self, store: Store) -> None:
        for number, started in enumerate(("2025-01-02T00:00:00", "2025-01-03T00:00:00", "2025-01-01T00:00:00")):
            recorder = begin(store, f"local-m-{number}")
            recorder.save(started=started, state="done")
        assert [record.run for record in runs.list_runs(store).records] == ["local-m-1", "local-m-0", "local-m-2"]

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            (b"", "invalid json"),
            (b"\xff\xfe\x00", "invalid json"),
            (b"[]", "object"),
            (b"{}", "run: "),
            (b'{"run": "x", "model": "m"', "invalid json"),
            (b'{"run": 5, "model": "m", "state": "done", "created": "", "started": ""}', "run: "),
            (b'{"run": "other", "model": "m", "state": "done", "created": "", "started": ""}', "run `other`"),
            (
                b'{"run": "x", "model": "m", "state": "done", "created": "", "started": "", "manifest": 99}',
                "version 99",
            ),
            (b'{"run": "x", "model": "m", "state": "", "created": "", "started": "", "steps": {"a": 1}}', "steps.a"),
        ],
    )
    def test_broken_and_foreign_files_are_reported_and_left_out(self, store: Store, text: bytes, why: str) -> None:
        begin(store)
        store.write("runs/x.json", text)
        store.write("runs/notes.txt", b"not ours")
        listing = runs.list_runs(store)
        assert [record.run for record in listing.records] == ["local-digits-1"]
        (finding,) = listing.diagnostics
        assert (finding.code, finding.severity) == ("AIF848", Severity.WARNING)
        assert "runs/x.json" in finding.message
        assert why in finding.message
        assert "\n" not in finding.message

    def test_folders_and_dangling_links_among_the_manifests(self, store: Store, tmp_path: Path) -> None:
        begin(store)
        (tmp_path / "store/runs/folder.json").mkdir()
        (tmp_path / "store/runs/link.json").symlink_to(tmp_path / "nowhere")
        listing = runs.list_runs(store)
        assert len(listing.records) == 1
        assert [finding.code for finding in listing.diagnostics] == ["AIF848", "AIF848"]

    def test_no_store_no_runs(self, tmp_path: Path) -> None:
        assert runs.list_runs(Store(tmp_path / "none")) == runs.Listing((), ())
        assert not (tmp_path / "none").exists()

    def test_a_running_run_that_nobody_runs_was_interrupted(self, store: Store, tmp_path: Path) -> None:
        begin(store)
        assert runs.list_runs(store).records[0].state == "interrupted"
        lock = locks.take(locks.run_path(tmp_path / "store", "local-digits-1"))
        assert runs.list_runs(store).records[0].state == "running"
        assert lock is not None
        lock.release()

    def test_a_run_of_a_cluster_in_a_mounted_store_goes_on(self, store: Store) -> None:
        recorder = begin(store, "digits-0123456789")
        assert runs.list_runs(store).records[0].state == "running"
        recorder.save(state="interrupted")
        assert runs.list_runs(store).records[0].state == "interrupted"

    def test_a_remote_store(self) -> None:
        store = Store("memory://bucket/models")
        begin(store)
        listing = runs.list_runs(store)
        assert [(record.run, record.state) for record in listing.records] == [("local-digits-1", "running")]


class TestFind:
    @pytest.fixture
    def listing(self, store: Store) -> runs.Listing:
        for name in ("local-digits-aa11", "local-digits-aa22", "local-wine-bb"):
            begin(store, name)
        return runs.list_runs(store)

    @pytest.mark.parametrize("name", ["local-wine-bb", "wine-bb", "wine", "local-w"])
    def test_by_name_or_the_beginning_of_one(self, listing: runs.Listing, name: str) -> None:
        assert runs.find(listing, name).run == "local-wine-bb"

    @pytest.mark.parametrize(
        ("name", "hint"),
        [("digits-aa", "local-digits-aa22"), ("local-wine-bx", "did you mean `local-wine-bb`"), ("", "write more")],
    )
    def test_unknown_and_ambiguous_names(self, listing: runs.Listing, name: str, hint: str) -> None:
        with pytest.raises(Report) as report:
            runs.find(listing, name)
        (finding,) = report.value.diagnostics
        assert finding.code == "AIF849"
        assert hint in str(finding.hint)

    def test_an_empty_store(self) -> None:
        with pytest.raises(Report, match="AIF849"):
            runs.find(runs.Listing((), ()), "x")


class TestCompare:
    A = RunRecord(
        run="local-digits-1",
        model="digits",
        state="done",
        created="2025-01-01T10:00:00.000+00:00",
        started="2025-01-01T10:00:00.000+00:00",
        spec={"training": {"epochs": 5, "layers": [1, 2]}, "export": [{"name": "onnx", "opset": 17}]},
        steps={"prepare": StepRecord(kind="prepare", digest=A), "train": StepRecord(kind="train", digest=A)},
        parameters={"epochs": 5},
        metrics={"accuracy": 0.95},
        artifacts={"train": {"digest": A, "files": {"m.bin": {"sha256": A, "size": 1}}}},
        git={"commit": A[:40], "dirty": False, "branch": "main", "changed": []},
        machine={"packages": {"torch": "2.9"}},
    )

    def test_a_run_does_not_differ_from_itself(self) -> None:
        comparison = compare(self.A, replace(self.A, started="2026-01-01", command=("other",)))
        assert comparison.differences == ()
        assert run_tables.comparison_to_text(comparison).endswith("no differences")

    def test_every_section(self) -> None:
        other = replace(
            self.A,
            run="local-digits-2",
            spec={"training": {"epochs": 6, "layers": [1, 2, 3]}, "export": [{"name": "onnx", "opset": 18}]},
            steps={**self.A.steps, "train": StepRecord(kind="train", digest=B)},
            parameters={"epochs": 6, "seed": 1},
            metrics={"accuracy": 0.97},
            artifacts={"train": {"digest": B, "files": {"m.bin": {"sha256": B, "size": 1}}}},
            git={"commit": B[:40], "dirty": True, "branch": "x", "changed": ["a"]},
            machine={"packages": {"torch": "2.10"}},
        )
        comparison = compare(self.A, other)
        assert [(d.section, d.key, d.a, d.b) for d in comparison.differences] == [
            ("spec", "training.epochs", 5, 6),
            ("spec", "export[onnx].opset", 17, 18),
            ("spec", "training.layers[2]", None, 3),
            ("parameters", "epochs", 5, 6),
            ("parameters", "seed", None, 1),
            ("metrics", "accuracy", 0.95, 0.97),
            ("steps", "train", A, B),
            ("artifacts", "train.m.bin", A, B),
            ("code", "commit", A[:40], B[:40]),
            ("code", "dirty", False, True),
            ("packages", "torch", "2.9", "2.10"),
        ]
        assert run_tables.comparison_to_text(comparison) == (
            "a: local-digits-1 (done, 2025-01-01T10:00:00Z)\n"
            "b: local-digits-2 (done, 2025-01-01T10:00:00Z)\n"
            "\n"
            "spec\n"
            "                      a   b\n"
            "  training.epochs     5   6\n"
            "  export[onnx].opset  17  18\n"
            "  training.layers[2]  -   3\n"
            "\n"
            "parameters\n"
            "          a  b\n"
            "  epochs  5  6\n"
            "  seed    -  1\n"
            "\n"
            "metrics\n"
            "            a     b\n"
            "  accuracy  0.95  0.97  +0.02\n"
            "\n"
            "steps\n"
            "         a           b\n"
            "  train  aaaaaaaaaa  bbbbbbbbbb\n"
            "\n"
            "artifacts\n"
            "               a           b\n"
            "  train.m.bin  aaaaaaaaaa  bbbbbbbbbb\n"
            "\n"
            "code\n"
            "          a           b\n"
            "  commit  aaaaaaaaaa  bbbbbbbbbb\n"
            "  dirty   false       true\n"
            "\n"
            "packages\n"
            "         a    b\n"
            "  torch  2.9  2.10"
        )
        assert json.loads(json.dumps(comparison_to_json(comparison)))["differences"][0] == {
            "section": "spec", "key": "training.epochs", "a": 5, "b": 6,
        }  # fmt: skip

    def test_the_table_of_runs(self) -> None:
        step = StepRecord(kind="train", digest=A, seconds=12.34)
        record = replace(self.A, steps={"train": step}, git={"commit": B[:40], "dirty": True})
        assert run_tables.listing_to_text(runs.Listing((record,), ())) == (
            "RUN             MODEL   STATE  STARTED               SECONDS  COMMIT       METRICS\n"
            "local-digits-1  digits  done   2025-01-01T10:00:00Z  12.3     bbbbbbbbbb*  accuracy=0.95"
        )
        listed = runs.listing_to_json(runs.Listing((record,), ()))
        assert json.loads(json.dumps(listed))["runs"][0]["steps"]["train"]["seconds"] == 12.34
