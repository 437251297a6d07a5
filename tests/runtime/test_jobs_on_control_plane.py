"""The launcher against a real API server with real controllers; kwok's pods end as their annotations say.

The driver has the rights that its rendered Role gives it, and the Jobs are those that are rendered.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from aifctl import ir
from aifctl.contract import Site
from aifctl.render.bundles import render
from aifctl.runtime import jobs
from aifctl.runtime.job_status import MEMORY_HINT
from aifctl.runtime.jobs import Driver, JobClaims, JobLauncher
from aifctl.runtime.kube import Exists, Kube, Missing, Refused
from aifctl.runtime.launcher import Ended, Handle, Verdict
from tests.controlplane.cluster import Cluster
from tests.controlplane.cluster import Refused as ClusterRefused
from tests.controlplane.stages import simulate
from tests.render import bundles
from tests.runtime.fake_runs import wait_until

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "PODS_PERIOD", 0.2)
    monkeypatch.setattr(jobs, "CLAIM_PERIOD", 0.2)


class Setting:
    """A rendered run in a namespace, and its driver's rights. Its own pod is not started: the test is the driver."""

    def __init__(self, cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
        target = bundles.target(namespace=namespace, capabilities={})
        self.cluster, self.namespace = cluster, namespace
        self.run = bundles.run()
        rendered = {
            (each.kind, each.name): dict(each.object) for each in render(bundles.bundle(run=self.run, target=target))
        }
        for (kind, _), found in rendered.items():
            if kind != "Job":
                cluster.create(found)
        self.job = rendered["Job", self.run.name]
        self.owner = cluster.create({**self.job, "spec": {**self.job["spec"], "suspend": True}})
        self.driver = Driver(run=self.run.name, uid=self.owner["metadata"]["uid"])
        data = rendered["ConfigMap", f"{self.run.name}-steps"]["data"]
        self.templates = {name.removesuffix(".yaml"): yaml.safe_load(text) for name, text in data.items()}
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        monkeypatch.setenv("KUBECONFIG", str(self._kubeconfig()))
        self.api = Kube(namespace)
        self.launchers: list[JobLauncher] = []

    def _kubeconfig(self) -> Any:
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/digits-driver/token"
        wanted = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        token = self.cluster.request("POST", path, wanted)["status"]["token"]
        return self.cluster.write_kubeconfig("driver", {"token": token}, namespace=self.namespace)

    def launcher(self, driver: Driver | None = None) -> JobLauncher:
        self.launchers.append(JobLauncher(self.api, driver or self.driver, self.templates))
        return self.launchers[-1]

    def step(self, name: str = "gate", **pod: Any) -> ir.Step:
        """A step whose pods have these annotations; `node_selector` and `image` replace what is rendered."""
        template = self.templates[name]["spec"]["template"]
        template["spec"] |= {"nodeSelector": pod.pop("node_selector", None)}
        template["spec"]["containers"][0]["image"] = pod.pop("image", "registry.example/x:1")
        template["metadata"]["annotations"] = pod
        return next(each for each in self.run.steps if each.name == name)

    def start(self, launcher: JobLauncher, step: ir.Step, number: int = 1) -> Handle:
        site = Site(store="file:///none", run=self.run.name, attempt=f"{self.driver.attempt}-{number}")
        return launcher.start(step, site)

    def pods(self, handle: Handle, phase: str | None = None) -> list[dict[str, Any]]:
        return [pod for pod in self.api.pods_of(handle.key) if phase in (None, pod["status"].get("phase"))]

    def kill(self, pod: dict[str, Any]) -> None:
        """Ends a pod that was deleted as a kubelet does; kwok leaves such pods in their phase."""
        ended = {"exitCode": 137, "reason": "Error", "startedAt": None, "finishedAt": None}
        status = {
            "phase": "Failed",
            "containerStatuses": [{**pod["status"]["containerStatuses"][0], "state": {"terminated": ended}}],
        }
        with contextlib.suppress(ClusterRefused):
            self.cluster.patch(
                self.existing("Pod", pod["metadata"]["name"], "v1"), {"status": status}, subresource="status"
            )

    def existing(self, kind: str, name: str, version: str = "batch/v1") -> dict[str, Any]:
        return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": self.namespace}}


@pytest.fixture
def setting(nodes: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setting]:
    found = Setting(nodes, namespace, monkeypatch)
    yield found
    for launcher in found.launchers:
        launcher.close()


def end(launcher: JobLauncher, handle: Handle) -> Ended:
    found: Ended = wait_until(
        lambda: launcher.wait([handle], 0.2) or launcher.poll(handle), f"the end of {handle.step}"
    )
    return found


@pytest.mark.parametrize(
    ("outcome", "code", "verdict", "how"),
    [
        ("complete", None, Verdict.DONE, "exit code 0"),
        ("fail", 1, Verdict.FAILED, "exit code 1"),
        ("fail", 75, Verdict.RETRY, "exit code 75"),
        ("oom", None, Verdict.KILLED, "OOMKilled: out of memory, its limit is 1Gi"),
    ],
)
def test_how_steps_end(setting: Setting, outcome: str, code: int | None, verdict: Verdict, how: str) -> None:
    launcher = setting.launcher()
    handle = setting.start(launcher, setting.step(**simulate(outcome, exit_code=code)))
    found = end(launcher, handle)
    assert (found.verdict, found.how) == (verdict, how)
    assert (found.out_of_memory, found.hint) == ((True, MEMORY_HINT) if outcome == "oom" else (False, None))
    if verdict is Verdict.DONE:  # these pods leave no message: the digest says where the result must be
        assert found.result == {"digest": next(s.spec.digest for s in setting.run.steps if s.name == "gate")}
    assert len(setting.pods(handle)) == 1, "the driver retries, the Job does not"


def test_a_pod_and_a_job_that_are_deleted(setting: Setting) -> None:
    launcher = setting.launcher()
    for number, kind in enumerate(("Pod", "Job"), 1):
        handle = setting.start(launcher, setting.step(**simulate("ready")), number)
        (pod,) = wait_until(lambda handle=handle: setting.pods(handle, "Running"), "its pod")
        gone = ("Pod", pod["metadata"]["name"], "v1") if kind == "Pod" else ("Job", handle.key)
        setting.cluster.delete(setting.existing(*gone))
        setting.kill(pod)
        found = end(launcher, handle)
        assert found.verdict is Verdict.KILLED
        # Who looks early still sees how the deleted pod ended.
        assert found.how in {"Pod": ("its pod was deleted", "exit code 137"), "Job": ("its Job was deleted",)}[kind]


def test_an_evicted_pod_is_made_again_and_not_counted(setting: Setting) -> None:
    launcher = setting.launcher()
    handle = setting.start(launcher, setting.step(**simulate("ready")))
    (first,) = wait_until(lambda: setting.pods(handle, "Running"), "its pod")
    name = first["metadata"]["name"]
    path = f"/api/v1/namespaces/{setting.namespace}/pods/{name}/eviction"
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": setting.namespace},
    }
    setting.cluster.request("POST", path, eviction)
    setting.kill(first)
    wait_until(
        lambda: [pod for pod in setting.pods(handle, "Running") if pod["metadata"]["name"] != name], "another pod"
    )
    assert launcher.poll(handle) is None


def test_an_image_that_can_not_be_pulled(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "STUCK_LIMIT", 1.0)
    launcher = setting.launcher()
    handle = setting.start(launcher, setting.step(image="registry.example/bad-image:1"))
    found = end(launcher, handle)
    assert found.result is not None
    (finding,) = found.result["diagnostics"]
    assert finding["code"] == "AIF868"
    assert "ImagePullBackOff" in finding["message"]
    setting.cluster.wait_gone(setting.existing("Job", handle.key))


def test_a_step_that_finds_no_node_waits_and_says_so(setting: Setting) -> None:
    launcher = setting.launcher()
    handle = setting.start(launcher, setting.step(node_selector={"there": "is-none"}))
    notes: list[str] = []

    def told() -> bool:
        assert launcher.poll(handle) is None
        notes.extend(str(event["text"]) for event in launcher.events(handle))
        return any(note.startswith("waits for a node: 0/") for note in notes)

    wait_until(told, "the note")


def test_the_next_driver_takes_over(setting: Setting) -> None:
    first = setting.launcher()
    step = setting.step(**simulate("fail", exit_code=1, after="3000ms"))
    handle = setting.start(first, step)
    first.close()
    second = setting.launcher()
    again = setting.start(second, step)
    assert again.key == handle.key
    assert end(second, again).verdict is Verdict.FAILED
    assert len(setting.pods(again)) == 1


def test_a_step_that_is_stopped_is_gone_with_its_pod(setting: Setting) -> None:
    launcher = setting.launcher()
    handle = setting.start(launcher, setting.step(**simulate("ready")))
    wait_until(lambda: setting.pods(handle, "Running"), "its pod")
    launcher.stop(handle)
    assert end(launcher, handle).verdict is Verdict.STOPPED
    assert setting.pods(handle) == []


def test_two_runs_do_not_compute_one_step(setting: Setting) -> None:
    step = setting.step(**simulate("ready"))
    handle = setting.start(setting.launcher(), step)
    assert step.spec.digest is not None
    assert JobClaims(setting.api, setting.driver).claim(step.spec.digest), "its own is no obstacle"
    other = JobClaims(setting.api, Driver(run="digits-other", uid="another"))
    assert not other.claim(step.spec.digest)
    setting.cluster.delete(setting.existing("Job", handle.key))
    wait_until(lambda: other.claim(step.spec.digest or ""), "the claim")


def test_steps_go_with_their_driver(setting: Setting) -> None:
    handle = setting.start(setting.launcher(), setting.step(**simulate("ready")))
    setting.cluster.delete(setting.existing("Job", setting.run.name))
    setting.cluster.wait_gone(setting.existing("Job", handle.key))


@pytest.mark.parametrize(("code", "pods"), [(1, 1), (75, 2)])
def test_a_driver_that_failed_is_not_started_again(setting: Setting, code: int, pods: int) -> None:
    """As its podFailurePolicy says; one that met a fault of its surroundings is, after a while."""
    job = yaml.safe_load(yaml.safe_dump(setting.job, sort_keys=False))
    job["metadata"]["name"] = name = f"{setting.run.name}-x"
    job["spec"]["template"]["metadata"]["annotations"] = simulate("fail", exit_code=code)
    setting.cluster.create(job)
    wait_until(lambda: len(setting.api.pods_of(name)) == pods, "its pods")
    if code == 1:
        done = setting.cluster.wait(
            job, lambda live: "Failed" in [c["type"] for c in live["status"].get("conditions", ())]
        )
        assert done["status"]["failed"] == 1


POD = {"metadata": {"name": "x"}, "spec": {"containers": [{"name": "x", "image": "x"}]}}


class TestApi:
    def test_the_rights_are_those_and_no_more(self, setting: Setting) -> None:
        core, batch = setting.api._core, setting.api._batch
        from kubernetes.client import ApiException

        for call in (
            lambda: core.list_namespaced_secret(setting.namespace),
            lambda: core.delete_namespaced_pod("x", setting.namespace),
            lambda: core.create_namespaced_pod(setting.namespace, POD),
            lambda: batch.patch_namespaced_job("x", setting.namespace, {}),
            lambda: core.list_namespaced_pod("default"),
        ):
            with pytest.raises(ApiException) as caught:
                call()
            assert caught.value.status == 403

    def test_trouble_has_names(self, setting: Setting) -> None:
        api = setting.api
        with pytest.raises(Missing):
            api.get_job("none")
        with pytest.raises(Missing):
            api.delete_job("none", None)
        with pytest.raises(Exists):
            api.create_job(setting.job)
        with pytest.raises(Refused, match="is forbidden"):
            Kube("default").list_jobs("a=b")
        with pytest.raises(Refused, match=r"spec\.retries"):
            api.create_job({**setting.templates["gate"], "spec": {**setting.templates["gate"]["spec"], "retries": 1}})

    def test_a_watch_ends_after_its_time_and_goes_on_where_it_was(self, setting: Setting) -> None:
        _, version = setting.api.list_jobs("aif.dev/run=none")
        began = time.monotonic()
        assert [kind for kind, _ in setting.api.watch_jobs("aif.dev/run=none", version, 1) if kind != "BOOKMARK"] == []
        assert time.monotonic() - began < 30
