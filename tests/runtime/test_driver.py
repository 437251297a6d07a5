"""Runs on plain Kubernetes: the executor with Jobs, against an API server in memory whose pods are processes."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from aifctl import contract
from aifctl.contract import Kind
from aifctl.diagnostics import Report
from aifctl.runtime import driver, job_status, jobs, runs
from aifctl.runtime.jobs import Driver, JobClaims, job_name
from aifctl.runtime.kube import Object, Refused, Unavailable
from aifctl.runtime.outcome import RunOutcome
from aifctl.runtime.progress import PlainView, QuietView
from aifctl.runtime.store import Store
from tests.runtime.fake_cluster import FakeCluster, Processes
from tests.runtime.fake_runs import Fake, Place, make_run, states, wait_until

DRIVER = Driver(run="digits-0123456789", uid="1b2c3d4e-0000-4000-8000-000000000000")
THREE = (
    Fake("prepare", [["say", "rows"]], kind=Kind.PREPARE),
    Fake("train", after=("prepare",), kind=Kind.TRAIN),
    Fake("evaluate", after=("train",), kind=Kind.EVALUATE),
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PODS_PERIOD", "LOG_PERIOD", "CLAIM_PERIOD"):
        monkeypatch.setattr(jobs, name, 0.02)
    monkeypatch.setattr("aifctl.runtime.job_watch.PAUSES", (0.01,))


def cluster(place: Place) -> FakeCluster:
    return FakeCluster(Processes(place.folder))


def step_job(name: str, store: Path, retries: int = 2) -> Object:
    container = {"name": "step", "args": [f"--store={store}"]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": "vision", "labels": {"aif.dev/step": name},
                     "annotations": {"aif.dev/retries": str(retries)}},
        "spec": {"template": {"metadata": {"labels": {"aif.dev/step": name}}, "spec": {"containers": [container]}}},
    }  # fmt: skip


def order(place: Place, *fakes: Fake, by: Driver = DRIVER, retries: int = 2) -> driver.Order:
    steps = tuple(step.spec for step in make_run(*fakes).steps)
    return driver.Order(
        model="digits", store=str(place.store), namespace="vision", driver=by, steps=steps,
        jobs={spec.name: step_job(spec.name, place.store, retries) for spec in steps},
    )  # fmt: skip


def drive(api: FakeCluster, given: driver.Order, **options: Any) -> RunOutcome:
    return driver.drive(given, api, options.pop("view", QuietView()), pause=lambda _: 0.0)


def codes(outcome: RunOutcome) -> list[str]:
    return [finding.code for finding in outcome.diagnostics]


class TestRuns:
    def test_every_step_is_a_job_and_the_run_is_recorded(self, place: Place) -> None:
        api = cluster(place)
        outcome = drive(api, order(place, *THREE))
        assert (outcome.state, states(outcome)) == ("done", dict.fromkeys(("prepare", "train", "evaluate"), "done"))
        assert api.named("create_job") == [f"{DRIVER.run}-{name}-1b2c3d4e-1" for name in states(outcome)]
        assert place.ran() == ["prepare", "train", "evaluate"]
        record = runs.find(runs.list_runs(Store(place.store)), DRIVER.run)
        assert (record.state, record.metrics, record.model) == ("done", {"accuracy": 0.5}, "digits")

    def test_what_a_job_is_told(self, place: Place) -> None:
        api = cluster(place)
        drive(api, order(place, Fake("train", [["say", "$(HOME) $$ {{x}}"]])))
        (job,) = api.jobs.values()
        assert job["metadata"]["ownerReferences"] == [
            {"apiVersion": "batch/v1", "kind": "Job", "name": DRIVER.run, "uid": DRIVER.uid}
        ]
        labels = {"aif.dev/step": "train", "aif.dev/run": DRIVER.run}
        assert labels.items() <= job["metadata"]["labels"].items()
        assert labels.items() <= job["spec"]["template"]["metadata"]["labels"].items()
        step, *told = job["spec"]["template"]["spec"]["containers"][0]["args"]
        assert "$$(HOME) $$$$" in step
        assert told == [
            f"--run={DRIVER.run}", "--attempt=1b2c3d4e-1", "--events=-", "--message=/dev/termination-log",
            f"--store={place.store}",
        ]  # fmt: skip
        (pod,) = api.logs
        assert api.logs[pod].strip() == "$(HOME) $$ {{x}}"

    def test_independent_steps_are_side_by_side(self, place: Place) -> None:
        """Each waits for the other, which would never end one after the other."""
        first = Fake("a", [["touch", place.path("a")], ["await_file", place.path("b")]])
        second = Fake("b", [["touch", place.path("b")], ["await_file", place.path("a")]])
        assert drive(cluster(place), order(place, first, second)).state == "done"

    def test_digests_below_unpinned_data_reach_the_steps_that_read_them(self, place: Place) -> None:
        api = cluster(place)
        fakes = (Fake("prepare", unpinned=True), Fake("train", after=("prepare",)))
        outcome = drive(api, order(place, *fakes))
        assert states(outcome) == {"prepare": "done", "train": "done"}
        assert all(step.digest is not None for step in outcome.steps)

    def test_a_finished_step_is_not_started_again(self, place: Place) -> None:
        drive(cluster(place), order(place, *THREE[:1]))
        api = cluster(place)
        assert states(drive(api, order(place, *THREE)))["prepare"] == "cached"
        assert place.ran() == ["prepare", "train", "evaluate"]
        assert len(api.jobs) == 2

    def test_what_a_step_prints_as_events_is_progress(self, place: Place) -> None:
        # As `context.log` writes it: its `step` is that of the training
        event = {"step": 3, "event": "metric", "name": "loss", "value": 0.25, "time": 1.0}
        api, seen = FakeCluster(), []

        def kubelet(cluster: FakeCluster, job: Object) -> None:
            pod = cluster.pod(job["metadata"]["name"])
            cluster.logs[pod["metadata"]["name"]] = (
                f"hello\n{{broken\n{json.dumps(event)}\n[1]\n{json.dumps({**event, 'time': 'x'})}"
            )

        api.kubelet = kubelet
        launcher = jobs.JobLauncher(api, DRIVER, {"train": step_job("train", place.store)})
        (step,) = make_run(Fake("train")).steps
        handle = launcher.start(step, contract.Site(store="x", run=DRIVER.run, attempt="a-1"))
        for _ in range(3):
            launcher.poll(handle)
            seen += launcher.events(handle)
            jobs.time.sleep(0.03)
        assert seen == [event]


class TestEnds:
    def test_user_errors_are_not_retried(self, place: Place) -> None:
        finding = {"code": "AIF806", "message": "ValueError: no", "hint": None}
        api = cluster(place)
        outcome = drive(api, order(place, THREE[0], replace_do(THREE[1], [["fail_with", finding]]), THREE[2]))
        assert states(outcome) == {"prepare": "done", "train": "failed", "evaluate": "skipped"}
        assert codes(outcome) == ["AIF806"]
        assert len(api.named("create_job")) == 2

    def test_faults_of_the_surroundings_are_retried_by_rule(self, place: Place) -> None:
        first = [["first_tries", {"counter": place.path("n"), "count": 2, "do": ["fail", contract.EXIT_RETRY]}]]
        api = cluster(place)
        assert drive(api, order(place, Fake("train", first))).state == "done"
        assert [name[-2:] for name in api.named("create_job")] == ["-1", "-2", "-3"]

    def test_and_given_up(self, place: Place) -> None:
        api = cluster(place)
        outcome = drive(api, order(place, Fake("train", [["fail", contract.EXIT_RETRY]]), retries=1))
        assert (codes(outcome), len(api.jobs)) == (["AIF844"], 2)

    def test_out_of_memory_is_said_retried_once_and_not_for_ever(self, place: Place) -> None:
        api = FakeCluster(lambda cluster, job: cluster.end(job["metadata"]["name"], 137, reason="OOMKilled"))
        outcome = drive(api, order(place, Fake("train")))
        assert (outcome.state, codes(outcome), len(api.jobs)) == ("failed", ["AIF843", "AIF843"], 2)
        last = outcome.diagnostics[-1]
        assert "OOMKilled" in last.message
        assert last.hint == job_status.MEMORY_HINT

    @pytest.mark.parametrize("how", ["evicted", "pod deleted", "job deleted"])
    def test_what_was_taken_away_comes_back(self, place: Place, how: str) -> None:
        real = Processes(place.folder)

        def kubelet(cluster: FakeCluster, job: Object) -> None:
            name = job["metadata"]["name"]
            if name.endswith("-3"):
                real(cluster, job)
            elif how == "evicted":
                cluster.end(name, 137, phase="Failed", reason="Error")
                cluster.pods[name][-1]["status"]["reason"] = "Evicted"
            elif how == "pod deleted":
                cluster.conclude(name, "Failed")
            else:
                cluster.forget(name)

        outcome = drive(FakeCluster(kubelet), order(place, Fake("train")))
        assert (outcome.state, codes(outcome)) == ("done", ["AIF843", "AIF843"])

    def test_it_is_not_taken_away_for_ever(self, place: Place) -> None:
        api = FakeCluster(lambda cluster, job: cluster.conclude(job["metadata"]["name"], "Failed"))
        assert drive(api, order(place, Fake("train"))).state == "failed"
        assert len(api.jobs) == driver.KILL_RETRIES + 1

    def test_a_crash_shows_the_last_lines(self, place: Place) -> None:
        api = cluster(place)
        outcome = drive(api, order(place, Fake("train", [["say", "near the end"], ["kill_self", signal.SIGSEGV]])))
        assert codes(outcome) == ["AIF842"]
        assert "near the end" in outcome.diagnostics[0].notes
        assert "exit code 139" in outcome.diagnostics[0].message

    def test_a_pod_that_can_not_start_is_given_up_with_its_phase(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(jobs, "STUCK_LIMIT", 0.1)
        waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "nowhere/x"'}

        def kubelet(cluster: FakeCluster, job: Object) -> None:
            cluster.pod(job["metadata"]["name"], phase="Pending", containerStatuses=[{"state": {"waiting": waiting}}])

        api = FakeCluster(kubelet)
        outcome = drive(api, order(place, Fake("train")))
        assert codes(outcome) == ["AIF868"]
        assert 'ImagePullBackOff: Back-off pulling image "nowhere/x"' in outcome.diagnostics[0].message
        assert (len(api.named("create_job")), api.jobs) == (1, {})

    def test_a_pod_that_waits_for_a_node_is_waited_for_and_told(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(jobs, "STUCK_LIMIT", 0.05)
        api, real = FakeCluster(), Processes(place.folder)
        full = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available."}

        def kubelet(cluster: FakeCluster, job: Object) -> None:
            name = job["metadata"]["name"]
            cluster.pod(name, phase="Pending", conditions=[full])
            threading.Timer(0.5, lambda: real(cluster, job)).start()

        api.kubelet = kubelet
        outcome = drive(api, order(place, Fake("train")), view=PlainView(sys.stdout))
        assert outcome.state == "done"
        assert "waits for a node: 0/1 nodes are available" in capsys.readouterr().out

    def test_a_result_that_was_lost_is_in_the_store(self, place: Place) -> None:
        """The pod is gone before anyone has read its message."""
        api, real = FakeCluster(), Processes(place.folder)

        def kubelet(cluster: FakeCluster, job: Object) -> None:
            real(cluster, job)
            real.join()
            cluster.pods.clear()

        api.kubelet = kubelet
        assert drive(api, order(place, *THREE[:2])).state == "done"

    def test_a_lost_result_of_unpinned_data_is_found_again(self, place: Place) -> None:
        real = Processes(place.folder)

        def kubelet(cluster: FakeCluster, job: Object) -> None:
            real(cluster, job)
            real.join()
            if job["metadata"]["name"].endswith("-1"):
                cluster.pods.clear()

        outcome = drive(FakeCluster(kubelet), order(place, Fake("prepare", unpinned=True)))
        assert states(outcome) == {"prepare": "cached"}

    def test_a_pod_that_lies_about_its_end_is_not_believed(self, place: Place) -> None:
        lie = json.dumps({"digest": "0" * 64})
        api = FakeCluster(lambda cluster, job: cluster.end(job["metadata"]["name"], 0, lie))
        assert codes(drive(api, order(place, Fake("train")))) == ["AIF847"]


class TestTrouble:
    def test_an_api_server_that_is_away_is_waited_for(self, place: Place) -> None:
        api = cluster(place)
        for call in ("create_job", "list_jobs", "watch_jobs", "pods_of"):
            api.faults[call] = [Unavailable("connection refused"), Unavailable("503")]
        assert drive(api, order(place, *THREE)).state == "done"
        assert not any(api.faults.values())

    def test_a_create_that_was_done_though_it_seemed_to_fail(self, place: Place) -> None:
        """The connection is cut after the server has written: the next try finds the Job."""
        api = cluster(place)
        create = api.create_job

        def cut(body: Any) -> Object:
            job = create(body)
            if len(api.named("create_job")) == 1:
                raise Unavailable("connection reset")
            return job

        api.create_job = cut  # type: ignore[method-assign]
        assert drive(api, order(place, Fake("train"))).state == "done"
        assert (len(api.jobs), place.ran()) == (1, ["train"])

    def test_a_watch_that_has_expired_is_listed_anew(self, place: Place) -> None:
        api = FakeCluster()
        watch = api.watch_jobs

        def expired(selector: str, version: str, seconds: int) -> Any:
            if len(api.named("watch_jobs")) == 3:
                api.oldest = 10**6
            elif len(api.named("watch_jobs")) == 5:
                api.oldest = 0
            return watch(selector, version, seconds)

        api.watch_jobs = expired  # type: ignore[method-assign]
        api.kubelet = lambda found, job: threading.Timer(0.6, lambda: Processes(place.folder)(found, job)).start()
        assert drive(api, order(place, Fake("train"))).state == "done"
        assert len(api.named("list_jobs")) >= 3

    def test_a_job_that_is_refused_is_a_finding(self, place: Place) -> None:
        api = cluster(place)
        api.faults["create_job"] = [Refused('jobs.batch is forbidden: User "x" cannot create')]
        outcome = drive(api, order(place, Fake("train")))
        assert codes(outcome) == ["AIF869"]
        assert "is forbidden" in outcome.diagnostics[0].message

    def test_a_job_of_that_name_that_is_not_ours(self, place: Place) -> None:
        api = FakeCluster()
        api.create_job({**step_job("train", place.store), "metadata": {"name": f"{DRIVER.run}-train-1b2c3d4e-1"}})
        assert codes(drive(api, order(place, Fake("train")))) == ["AIF869"]

    def test_the_store_is_away(self, place: Place) -> None:
        """Nothing that runs is lost by it: the next driver goes on."""
        place.store.parent.mkdir(exist_ok=True)
        place.store.write_text("a file")
        with pytest.raises(Report) as caught:
            drive(cluster(place), order(place, Fake("train")))
        assert caught.value.diagnostics[0].code == "AIF802"


class TestRestarts:
    def test_a_driver_that_is_told_to_stop_leaves_its_jobs_to_the_next(self, place: Place) -> None:
        api = cluster(place)
        go = place.path("go")
        fakes = (THREE[0], replace_do(THREE[1], [["touch", place.path("on")], ["await_file", go]]), THREE[2])
        stopper = threading.Thread(
            target=lambda: (wait_until(Path(place.path("on")).exists, "train"), os.kill(os.getpid(), signal.SIGTERM))
        )
        stopper.start()
        outcome = drive(api, order(place, *fakes))
        stopper.join()
        assert (outcome.state, states(outcome)["train"]) == ("interrupted", "interrupted")
        assert api.named("delete_job") == []
        opener = threading.Thread(target=lambda: (wait_until(lambda: api.named("get_job"), "a look"), Path(go).touch()))
        opener.start()
        again = drive(api, order(place, *fakes))
        opener.join()
        assert (again.state, states(again)) == ("done", {"prepare": "cached", "train": "done", "evaluate": "done"})
        assert place.ran() == ["prepare", "train", "evaluate"]
        assert len(api.jobs) == 3

    def test_a_job_that_ended_while_nobody_looked_is_taken_over(self, place: Place) -> None:
        api = cluster(place)
        given = order(place, THREE[0])
        body = jobs.JobLauncher(api, DRIVER, given.jobs)
        (step,) = make_run(THREE[0]).steps
        body.start(step, contract.Site(store=str(place.store), run=DRIVER.run, attempt=f"{DRIVER.attempt}-1"))
        body.close()
        api.kubelet.join()  # type: ignore[union-attr]
        assert states(drive(api, given)) == {"prepare": "cached"}

    def test_failures_that_an_earlier_driver_saw_are_counted(self, place: Place) -> None:
        """A training that runs out of memory is not tried twice more by each driver."""
        api = FakeCluster(lambda cluster, job: cluster.end(job["metadata"]["name"], 137, reason="OOMKilled"))
        drive(api, order(place, Fake("train")))
        assert drive(api, order(place, Fake("train"))).state == "failed"
        assert len(api.jobs) == 2

    @pytest.mark.parametrize("gone", [("1",), ("2",), ("1", "2")])
    def test_an_attempt_that_was_deleted_does_not_come_back_after_a_later_one(
        self, place: Place, gone: tuple[str, ...]
    ) -> None:
        """A third attempt goes on when the driver is started again; some before it were deleted with their Jobs."""
        api, given = FakeCluster(), order(place, Fake("train"))
        (step,) = make_run(Fake("train")).steps
        launcher = jobs.JobLauncher(api, DRIVER, given.jobs)
        for number in (1, 2, 3):
            site = contract.Site(store=str(place.store), run=DRIVER.run, attempt=f"{DRIVER.attempt}-{number}")
            launcher.start(step, site)
        launcher.close()
        first, second, third = api.named("create_job")
        api.end(first, 137, reason="OOMKilled") if "1" not in gone else api.forget(first)
        api.end(second, contract.EXIT_RETRY) if "2" not in gone else api.forget(second)
        api.calls.clear()
        api.kubelet = lambda found, job: found.end(job["metadata"]["name"], 1)  # whatever would be started anew
        threading.Timer(0.3, lambda: Processes(place.folder)(api, api.jobs[third])).start()
        assert drive(api, given).state == "done"
        assert sorted(api.named("create_job")) == sorted({first, second, third} - {*map(third[:-1].__add__, gone)})
        assert place.ran() == ["train"]

    def test_pods_of_a_deleted_job_of_the_same_name_are_not_its_own(self, place: Place) -> None:
        """They may take half a minute to go: how they end says nothing about the Job that came after."""
        api, given = FakeCluster(), order(place, Fake("train"))
        (step,) = make_run(Fake("train")).steps
        site = contract.Site(store=str(place.store), run=DRIVER.run, attempt=f"{DRIVER.attempt}-1")
        launcher = jobs.JobLauncher(api, DRIVER, given.jobs)
        name = launcher.start(step, site).key
        launcher.close()
        api.end(name, 0, json.dumps({"digest": "0" * 64}))
        old = api.pods[name][-1]
        api.forget(name, at_once=False)

        def kubelet(cluster: FakeCluster, job: Object) -> None:
            Processes(place.folder)(cluster, job)
            old["metadata"]["creationTimestamp"] = "2030-12-31T00:00:00Z"

        api.kubelet = kubelet
        outcome = drive(api, given)
        assert (outcome.state, codes(outcome)) == ("done", [])

    def test_nobody_answers_when_the_driver_starts(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(driver, "LOOKS", (0.0, 0.0))
        api = cluster(place)
        api.faults["list_jobs"] = [Unavailable("503")] * 50
        with pytest.raises(Unavailable):
            drive(api, order(place, Fake("train")))
        assert api.jobs == {}

    def test_a_run_that_is_created_again_has_attempts_of_its_own(self, place: Place) -> None:
        api = FakeCluster(lambda cluster, job: cluster.end(job["metadata"]["name"], 1))
        drive(api, order(place, Fake("train")))
        api.kubelet = Processes(place.folder)
        later = Driver(run=DRIVER.run, uid="99999999-0000-4000-8000-000000000000")
        assert drive(api, order(place, Fake("train"), by=later)).state == "done"


class TestClaims:
    def test_a_step_that_another_run_computes_is_waited_for(self, place: Place) -> None:
        api = cluster(place)
        other = replace_run("digits-9999999999")
        go = place.path("go")
        first = order(place, Fake("train", [["await_file", go]]), by=other)
        thread = threading.Thread(target=lambda: drive(api, first))
        thread.start()
        wait_until(lambda: api.jobs, "the other run's Job")
        threading.Timer(0.5, Path(go).touch).start()
        outcome = drive(api, order(place, Fake("train", [["await_file", go]])))
        thread.join()
        assert states(outcome) == {"train": "cached"}
        assert place.ran() == ["train"]

    def test_nobody_claims_while_the_api_server_is_away(self, place: Place) -> None:
        api = FakeCluster()
        api.faults["list_jobs"] = [Unavailable("503")]
        claims = JobClaims(api, DRIVER)
        assert not claims.claim("a" * 64)


class TestStopping:
    def test_a_job_is_deleted_though_the_first_try_fails(self, place: Place) -> None:
        api = FakeCluster()
        launcher = jobs.JobLauncher(api, DRIVER, {"train": step_job("train", place.store)})
        (step,) = make_run(Fake("train")).steps
        handle = launcher.start(step, contract.Site(store="x", run=DRIVER.run, attempt="a-1"))
        api.faults["delete_job"] = [Unavailable("503")]
        launcher.stop(handle, now=True)
        found = wait_until(lambda: launcher.poll(handle), "its end")
        assert (found.verdict, api.jobs, api.graces) == ("stopped", {}, [0])
        launcher.close()


@pytest.mark.parametrize(
    ("run", "step", "name"),
    [
        ("digits-0123456789", "train", "digits-0123456789-train-1b2c3d4e-1"),
        ("digits-0123456789", "Export_ONNX.v2", "digits-0123456789-export-onnx-v2-1b2c3d4e-1-"),
        ("m" * 30 + "-0123456789-a12", "verify-" + "x" * 40, "m" * 30),
    ],
)
def test_names_of_jobs(run: str, step: str, name: str) -> None:
    found = job_name(run, step, "1b2c3d4e-1")
    assert found.startswith(name)
    assert len(found) <= 63
    assert found != job_name(run, step, "1b2c3d4e-2")
    assert set(found) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


class TestCommand:
    def arguments(self, place: Place, *steps: str) -> list[str]:
        folder = place.folder / "steps"
        folder.mkdir(exist_ok=True)
        (folder / "train.yaml").write_text(yaml.safe_dump(step_job("train", place.store)))
        given = {"store": place.store, "model": "digits", "jobs": folder, "run": DRIVER.run, "uid": DRIVER.uid}
        return [*(f"--{name}={value}" for name, value in given.items()), "--namespace=vision", *steps]

    def spec(self, name: str = "train") -> str:
        (step,) = make_run(Fake(name)).steps
        return f"--step={contract.encode(step.spec)}"

    def test_it_reads_what_is_rendered(self, place: Place) -> None:
        found = driver._read(self.arguments(place, self.spec()))
        assert (found.steps[0].name, found.driver, found.jobs["train"]["kind"]) == ("train", DRIVER, "Job")

    @pytest.mark.parametrize("steps", [[], ["--step={}"], ["--step=x"]])
    def test_arguments_that_are_none(self, place: Place, steps: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert driver.main(self.arguments(place, *steps)) == 1
        assert "error[AIF867]" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "content", [None, "", "[]", "{metadata: {}}", "a: [", "metadata: {annotations: {aif.dev/retries: x}}"]
    )
    def test_a_step_without_a_job(self, place: Place, content: str | None, capsys: pytest.CaptureFixture[str]) -> None:
        arguments = self.arguments(place, self.spec())
        file = place.folder / "steps/train.yaml"
        file.unlink() if content is None else file.write_text(content)
        assert driver.main(arguments) == 1
        assert "error[AIF867]" in capsys.readouterr().err

    def test_outside_of_a_cluster(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        monkeypatch.setenv("KUBECONFIG", place.path("none"))
        assert driver.main(self.arguments(place, self.spec())) == 1
        assert "there is no cluster" in capsys.readouterr().err


def replace_do(fake: Fake, do: list[list[Any]]) -> Fake:
    return replace(fake, do=do)


def replace_run(name: str) -> Driver:
    return Driver(run=name, uid="77777777-0000-4000-8000-000000000000")
