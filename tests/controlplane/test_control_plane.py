"""The tests' control plane itself: what other tests take for granted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import httpx
import pytest
import yaml

from tests.controlplane import binaries, fixtures
from tests.controlplane.cluster import Cluster, Object, Refused, path_of
from tests.controlplane.plane import CannotStart, ControlPlane
from tests.controlplane.proxy import EXPIRED_EVENT, Call, Cut, FaultProxy, Forward, Respond, Rule, Seen, Truncate
from tests.controlplane.stages import simulate
from tests.controlplane.webhooks import Webhooks

GPU_TAINT = [{"key": "nvidia.com/gpu", "operator": "Exists"}]


def container(image: str = "registry.example/server:1", **limits: str) -> Object:
    return {"name": "main", "image": image, "resources": {"limits": limits}}


def pod(namespace: str, name: str, one: Object, annotations: dict[str, str] | None = None, **spec: object) -> Object:
    metadata = {"name": name, "namespace": namespace, "annotations": annotations or {}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [one], **spec}}


def deployment(namespace: str, name: str, **spec: object) -> Object:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container()]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template, **spec},
    }


def configmap(namespace: str, name: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def phase(*wanted: str) -> Callable[[Object], bool]:
    return lambda live: live["status"].get("phase") in wanted


def state_of(live: Object) -> Object:
    state: Object = live["status"]["containerStatuses"][0]["state"]
    return state


class TestSimulatedPods:
    def test_a_deployment_becomes_available(self, nodes: Cluster, namespace: str) -> None:
        wanted = deployment(namespace, "server")
        nodes.create(wanted)
        nodes.wait(wanted, lambda live: live["status"].get("availableReplicas") == 2)
        assert all(each["status"]["podIP"] for each in nodes.list("v1", "Pod", namespace))

    def test_a_deleted_deployment_takes_its_pods_with_it(self, nodes: Cluster, namespace: str) -> None:
        wanted = deployment(namespace, "server")
        nodes.create(wanted)
        nodes.wait(wanted, lambda live: live["status"].get("availableReplicas") == 2)
        one = nodes.list("v1", "Pod", namespace)[0] | {"apiVersion": "v1", "kind": "Pod"}
        nodes.delete(wanted)
        nodes.wait_gone(one)

    def test_a_gpu_pod_is_scheduled_where_gpus_are_and_one_too_many_is_not(
        self, nodes: Cluster, namespace: str
    ) -> None:
        gpus = {"nvidia.com/gpu": "8"}
        wide = [pod(namespace, f"rank-{rank}", container(**gpus), tolerations=GPU_TAINT) for rank in range(3)]
        for each in wide[:2]:
            nodes.create(each)
        where = {nodes.wait(each, phase("Running"))["spec"]["nodeName"] for each in wide[:2]}
        assert where == {"gpu-0", "gpu-1"}
        nodes.create(wide[2])
        live = nodes.wait(wide[2], lambda live: live["status"].get("conditions"))
        assert "Insufficient nvidia.com/gpu" in live["status"]["conditions"][0]["message"]
        for each in wide:
            nodes.delete(each)

    def test_a_bad_image_is_backed_off_from(self, nodes: Cluster, namespace: str) -> None:
        wanted = pod(namespace, "one", container("registry.example/bad-image:1"))
        nodes.create(wanted)
        live = nodes.wait(wanted, lambda live: live["status"].get("containerStatuses"))
        assert live["status"]["phase"] == "Pending"
        assert state_of(live)["waiting"]["reason"] == "ImagePullBackOff"

    @pytest.mark.parametrize(
        ("annotations", "ended", "code", "reason"),
        [
            (simulate("complete"), "Succeeded", 0, "Completed"),
            (simulate("fail", exit_code=3), "Failed", 3, "Error"),
            (simulate("oom", after="200ms"), "Failed", 137, "OOMKilled"),
        ],
    )
    def test_a_pod_ends_as_it_is_told(
        self, nodes: Cluster, namespace: str, annotations: dict[str, str], ended: str, code: int, reason: str
    ) -> None:
        wanted = pod(namespace, "one", container(), annotations, restartPolicy="Never")
        nodes.create(wanted)
        terminated = state_of(nodes.wait(wanted, phase(ended)))["terminated"]
        assert (terminated["exitCode"], terminated["reason"]) == (code, reason)

    def test_a_failing_container_that_is_restarted_crashes_on(self, nodes: Cluster, namespace: str) -> None:
        wanted = pod(namespace, "one", container(), simulate("oom"))
        nodes.create(wanted)
        live = nodes.wait(
            wanted, lambda live: "waiting" in (live["status"].get("containerStatuses") or [{"state": {}}])[0]["state"]
        )
        assert state_of(live)["waiting"]["reason"] == "CrashLoopBackOff"
        assert live["status"]["containerStatuses"][0]["lastState"]["terminated"]["reason"] == "OOMKilled"

    def test_unready_pods_hold_their_deployment_back(self, nodes: Cluster, namespace: str) -> None:
        wanted = deployment(namespace, "server", replicas=1)
        wanted["spec"]["template"]["metadata"]["annotations"] = simulate("unready")
        nodes.create(wanted)
        nodes.wait(wanted, lambda live: live["status"].get("updatedReplicas") == 1)  # its pod is there
        assert nodes.wait(wanted)["status"].get("unavailableReplicas") == 1
        nodes.wait({**nodes.list("v1", "Pod", namespace)[0], "apiVersion": "v1", "kind": "Pod"}, phase("Running"))
        assert not nodes.wait(wanted)["status"].get("availableReplicas")

    def test_a_job_completes(self, nodes: Cluster, namespace: str) -> None:
        wanted = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "train", "namespace": namespace},
            "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container()]}}},
        }
        nodes.create(wanted)
        nodes.wait(wanted, lambda live: live["status"].get("succeeded") == 1)

    def test_an_unknown_outcome_is_refused(self) -> None:
        with pytest.raises(ValueError, match="bad-image"):
            simulate("explodes")


class TestAccess:
    def test_nobody_may_do_nothing_and_an_account_what_its_rules_say(
        self, control_plane: Cluster, namespace: str
    ) -> None:
        rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}
        reader = control_plane.account(namespace, "reader", rule)
        path = f"{control_plane.url}/api/v1/namespaces/{namespace}"
        tls = ssl.create_default_context(cafile=str(control_plane.ca))

        def status(token: str, resource: str) -> int:
            return httpx.get(f"{path}/{resource}", headers={"Authorization": f"Bearer {token}"}, verify=tls).status_code

        assert status(control_plane.tokens["nobody"], "configmaps") == 403
        assert (status(reader, "configmaps"), status(reader, "secrets")) == (200, 403)
        assert httpx.get(f"{path}/configmaps", verify=tls).status_code == 401

    def test_kubectl_enters_by_the_kubeconfigs(self, control_plane: Cluster, namespace: str) -> None:
        def may(kubeconfig: Path) -> str:
            command = [str(binaries.binaries() / "kubectl"), "auth", "can-i", "create", "pods", "-n", namespace]
            environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "HOME": str(control_plane.folder)}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            return str(done.stdout).strip()

        assert may(control_plane.kubeconfig) == "yes"
        assert may(control_plane.kubeconfig_as("somebody", "some-group")) == "no"


class TestCustomResources:
    def test_definitions_are_installed_and_their_schemas_hold(self, control_plane: Cluster, namespace: str) -> None:
        installed = fixtures.install_crds(control_plane, "jobset", "localqueues.kueue.x-k8s.io")
        assert installed == ["jobsets.jobset.x-k8s.io", "localqueues.kueue.x-k8s.io"]
        assert fixtures.install_crds(control_plane, "jobset") == ["jobsets.jobset.x-k8s.io"]
        job = {
            "apiVersion": "jobset.x-k8s.io/v1alpha2",
            "kind": "JobSet",
            "metadata": {"name": "a", "namespace": namespace},
        }
        control_plane.create({**job, "spec": {"replicatedJobs": []}})
        with pytest.raises(Refused, match="replicatedJobs"):
            control_plane.apply({**job, "spec": {"replicatedJobs": "two"}}, force=True)

    def test_every_definition_is_served(self, crds: Cluster) -> None:
        names = fixtures.install_crds(crds)
        assert len(names) == len(list(fixtures.crds_folder().glob("*/*.yaml")))
        assert set(names) <= crds.discovered()

    def test_one_that_is_not_there_is_named(self, control_plane: Cluster) -> None:
        with pytest.raises(LookupError, match="no CRD nothing"):
            fixtures.install_crds(control_plane, "nothing.example")


class TestSharing:
    def test_it_outlives_its_first_user_and_ends_with_the_last(self, control_plane: Cluster, tmp_path: Path) -> None:
        program = "import sys, time; from pathlib import Path; from tests.controlplane.keeper import *\n"
        program += "with shared_control_plane(Path(sys.argv[1])) as one: print(one.url, flush=True); time.sleep(60)"
        users = [_run(program, tmp_path) for _ in range(2)]
        url, other = (_line(user) for user in users)
        assert url == other != control_plane.url
        _kill(users[0])
        tls = ssl.create_default_context(cafile=str(next(tmp_path.glob("plane-*/ca.crt"))))
        assert httpx.get(f"{url}/readyz", verify=tls).status_code == 401
        _kill(users[1])
        until = time.monotonic() + 60
        while _answers(f"{url}/readyz", tls):  # its keeper waits for the lock of the last user, and ends it then
            assert time.monotonic() < until
            time.sleep(0.1)

    def test_without_programs_tests_skip_and_fail_where_a_cluster_is_required(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def needs_programs() -> None:
            with fixtures.or_skip():
                raise binaries.MissingBinaries("no Go here")

        monkeypatch.delenv("AIFCTL_REQUIRE_CLUSTER", raising=False)
        with pytest.raises(pytest.skip.Exception, match="no Go here"):
            needs_programs()
        monkeypatch.setenv("AIFCTL_REQUIRE_CLUSTER", "1")
        with pytest.raises(pytest.fail.Exception, match="no Go here"):
            needs_programs()


def _run(program: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, str(folder)]
    return subprocess.Popen(command, cwd=fixtures.ROOT, stdout=subprocess.PIPE, text=True)


def _answers(url: str, tls: ssl.SSLContext) -> bool:
    try:
        httpx.get(url, verify=tls)
    except httpx.TransportError:
        return False
    return True


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


class TestRestart:
    def test_a_restarted_api_server_has_its_data_and_its_port(self, bare_control_plane: ControlPlane) -> None:
        namespace = bare_control_plane.create_namespace()
        kept = bare_control_plane.create(configmap(namespace, "kept", a="1"))
        bare_control_plane.stop_apiserver()
        assert not bare_control_plane.answers("/readyz")
        bare_control_plane.start_apiserver()
        live = bare_control_plane.get(kept)
        assert live is not None
        assert live["metadata"]["uid"] == kept["metadata"]["uid"]

    def test_one_that_cannot_start_shows_its_last_words(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        programs = tmp_path / "bin"
        programs.mkdir()
        for name in binaries.PROGRAMS:
            program = programs / name
            program.write_text("#!/bin/sh\necho no disk left; exit 1\n")
            program.chmod(0o755)
        monkeypatch.setenv("KUBEBUILDER_ASSETS", str(programs))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        with pytest.raises(CannotStart, match="no disk left"), ControlPlane(controllers=False):
            pass

    def test_a_machine_without_go_is_told_what_is_missing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
        with pytest.raises(binaries.MissingBinaries, match=r"etcd .* needs Go"), ControlPlane(controllers=False):
            pass


@pytest.fixture
def proxy(control_plane: Cluster) -> Iterator[FaultProxy]:
    with FaultProxy(control_plane) as started:
        yield started


@pytest.fixture
def through(proxy: FaultProxy) -> Iterator[httpx.Client]:
    """A client that enters by the proxy's kubeconfig."""
    config = yaml.safe_load(proxy.kubeconfig.read_text())
    token = config["users"][0]["user"]["token"]
    tls = ssl.create_default_context(cafile=str(proxy.ca))
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=config["clusters"][0]["cluster"]["server"], headers=headers, verify=tls) as client:
        yield client


def apply(client: httpx.Client, wanted: Object, query: str = "") -> httpx.Response:
    kind = {"Content-Type": "application/apply-patch+yaml"}
    path = f"{path_of(wanted)}?fieldManager=test{query}"
    return client.patch(path, content=json.dumps(wanted), headers=kind)


class TestFaultProxy:
    def test_requests_pass_and_are_counted(self, proxy: FaultProxy, through: httpx.Client, namespace: str) -> None:
        wanted = configmap(namespace, "one", a="1")
        assert apply(through, wanted, "&dryRun=All").status_code == 201
        assert proxy.writes() == []
        assert apply(through, wanted).status_code == 201
        assert through.get(path_of(wanted)).json()["data"] == {"a": "1"}
        assert through.get(path_of(wanted, collection=True)).json()["kind"] == "ConfigMapList"
        assert proxy.writes() == [f"apply {path_of(wanted)}?fieldManager=test"]
        assert proxy.reads_of_objects() == [f"get {path_of(wanted)}"]
        assert (proxy.count("PATCH"), proxy.count("list|watch"), proxy.count(path="/one$")) == (2, 1, 3)

    def test_the_second_and_third_of_a_kind_are_too_many(
        self, proxy: FaultProxy, through: httpx.Client, namespace: str
    ) -> None:
        proxy.add(Rule("apply", Respond(429, retry_after=1), path="/configmaps/", nth=2, times=2))
        answers = [apply(through, configmap(namespace, f"c{number}")) for number in range(4)]
        assert [answer.status_code for answer in answers] == [201, 429, 429, 201]
        assert answers[1].headers["Retry-After"] == "1"
        assert answers[1].json()["reason"] == "TooManyRequests"

    def test_500_after_commit(
        self, proxy: FaultProxy, through: httpx.Client, control_plane: Cluster, namespace: str
    ) -> None:
        proxy.add(Rule("apply", Forward(then=Respond(500)), times=1))
        wanted = configmap(namespace, "one")
        assert apply(through, wanted).status_code == 500
        assert control_plane.get(wanted) is not None

    @pytest.mark.parametrize(("action", "committed"), [(Cut(), False), (Forward(then=Cut()), True)])
    def test_a_connection_cut_before_and_after(
        self, proxy: FaultProxy, through: httpx.Client, control_plane: Cluster, namespace: str,
        action: Cut | Forward, committed: bool,
    ) -> None:  # fmt: skip
        proxy.add(Rule("apply", action, times=1))
        wanted = configmap(namespace, "one")
        with pytest.raises(httpx.TransportError):
            apply(through, wanted)
        assert (control_plane.get(wanted) is not None) == committed
        assert apply(through, wanted).is_success

    def test_a_function_is_called_when_the_server_has_done_it(
        self, proxy: FaultProxy, through: httpx.Client, control_plane: Cluster, namespace: str
    ) -> None:
        wanted = configmap(namespace, "one")
        found: list[bool] = []

        def look(seen: Seen) -> None:
            found.append(control_plane.get(wanted) is not None)

        proxy.add(Rule("apply", Call(look), times=1), Rule("apply", Call(look, after=True), times=1))
        assert apply(through, wanted).status_code == 201
        control_plane.delete(wanted)
        assert apply(through, wanted).json()["metadata"]["name"] == "one"
        assert found == [False, True]

    def test_a_watch_streams_and_is_truncated(self, proxy: FaultProxy, namespace: str, control_plane: Cluster) -> None:
        proxy.add(Rule("watch", Truncate(lines=2), nth=2, times=1))
        proxy.add(Rule("watch", Truncate(lines=0, tail=EXPIRED_EVENT, orderly=True), nth=2, times=1))
        for name in ("a", "b", "c"):
            control_plane.create(configmap(namespace, name))
        path = f"{proxy.url}/api/v1/namespaces/{namespace}/configmaps?watch=true&timeoutSeconds=1&resourceVersion=0"
        whole = asyncio.run(_events(path, proxy))
        assert {"a", "b", "c"} <= {event["object"]["metadata"]["name"] for event in whole}
        assert len(asyncio.run(_events(path, proxy))) == 2
        assert [event["object"]["code"] for event in asyncio.run(_events(path, proxy))] == [410]

    def test_an_api_server_that_is_away_is_a_cut_connection(self, bare_control_plane: ControlPlane) -> None:
        with FaultProxy(bare_control_plane) as proxy:
            bare_control_plane.stop_apiserver()
            tls = ssl.create_default_context(cafile=str(proxy.ca))
            with pytest.raises(httpx.TransportError):
                httpx.get(f"{proxy.url}/readyz", verify=tls)
            bare_control_plane.start_apiserver()
            headers = {"Authorization": f"Bearer {bare_control_plane.token}"}
            assert httpx.get(f"{proxy.url}/readyz", verify=tls, headers=headers).text == "ok"


async def _events(path: str, proxy: FaultProxy) -> list[Object]:
    tls = ssl.create_default_context(cafile=str(proxy.ca))
    token = yaml.safe_load(proxy.kubeconfig.read_text())["users"][0]["user"]["token"]
    text = b""
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
        session.get(path, ssl=tls) as answer,
    ):
        with contextlib.suppress(aiohttp.ClientError):
            async for chunk in answer.content.iter_any():
                text += chunk
    return [json.loads(line) for line in text.splitlines()]


class TestWebhooks:
    def test_what_is_denied_stays(self, control_plane: Cluster, namespace: str) -> None:
        kept, gone = configmap(namespace, "keep-it"), configmap(namespace, "other")
        for each in (kept, gone):
            control_plane.create(each)
        with Webhooks(control_plane, namespace) as webhooks:
            webhooks.deny("DELETE", kind="ConfigMap", name="keep-.*", message="it is precious")
            webhooks.deny("UPDATE", kind="ConfigMap", name="keep-it")
            with pytest.raises(Refused, match="it is precious"):
                control_plane.delete(kept)
            with pytest.raises(Refused, match="denied"):
                control_plane.patch(kept, {"data": {"a": "1"}})
            control_plane.delete(gone)
            assert control_plane.get(gone) is None
            assert {review["operation"] for review in webhooks.reviews} == {"DELETE", "UPDATE"}
        control_plane.delete(kept)
        assert control_plane.get(kept) is None

    def test_a_default_is_added_and_what_is_set_stays(self, control_plane: Cluster, namespace: str) -> None:
        with Webhooks(control_plane, namespace) as webhooks:
            webhooks.mutate(kind="ConfigMap", change=[{"op": "add", "path": "/data/level", "value": "info"}])
            webhooks.annotate("ConfigMap", "one", {"note": "added"})
            made = control_plane.apply(configmap(namespace, "one", a="1"))
            assert made["data"] == {"a": "1", "level": "info"}
            assert made["metadata"]["annotations"] == {"note": "added"}
            assert control_plane.apply(configmap(namespace, "two", level="debug"))["data"] == {"level": "debug"}

    def test_one_that_fails_blocks_its_namespace_alone(self, control_plane: Cluster, namespace: str) -> None:
        with Webhooks(control_plane, namespace) as webhooks:
            webhooks.failing()
            with pytest.raises(Refused, match="failed calling webhook"):
                control_plane.create(configmap(namespace, "one"))
            control_plane.delete(control_plane.create(configmap("default", f"in-{namespace}")))

    def test_operations_are_checked(self, control_plane: Cluster, namespace: str) -> None:
        with pytest.raises(ValueError, match="PATCH"):
            Webhooks(control_plane, namespace).deny("PATCH")
