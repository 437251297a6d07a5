"""The real Argo Workflows controller on the tests' control plane, and pods that end when and how a test says.

An `Engine` has a company of its own: the repository of the examples, whose environment that trains lies in a namespace
of this cluster. `aifctl` runs there as a user runs it. The platform's `pod_defaults` hold every pod in its running
state (tests/controlplane/stages.py) until `end` lets it end: what runs at a time, the controller wanted at that time.

What argoexec would do in the pods is done by nobody: `tell` writes the outputs of a step in its place.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aifctl import ir
from aifctl.pipeline import Compiled
from tests.argo.binaries import controller
from tests.controlplane.binaries import locked
from tests.controlplane.cluster import Cluster, Object, Refused
from tests.controlplane.plane import start_child, tail
from tests.controlplane.stages import EXIT_CODE, OUTCOME
from tests.golden import repository

WORKFLOW = "workflows.argoproj.io/workflow"
NODE = "workflows.argoproj.io/node-id"
STEP = "aif.dev/step"
LOOK = 0.4
"""Seconds between two looks at the cluster: one fetches megabytes."""
PATIENCE = 90.0
SETTINGS = {
    # Several controllers on one machine would want the same port.
    "metricsConfig": "enabled: false\n",
}

# Kinds that the controller and its executor alone write, as its own minimal manifests have them: of no certain shape.
INNER = {
    "workflowtaskresults": "WorkflowTaskResult",
    "workflowtasksets": "WorkflowTaskSet",
    "workflowartifactgctasks": "WorkflowArtifactGCTask",
}


@dataclass(frozen=True, slots=True)
class Said:
    code: int
    out: str
    err: str


@dataclass
class Engine:
    """One controller, one namespace, one repository. A context manager."""

    cluster: Cluster
    root: Path
    environment: str = field(default_factory=lambda: f"a{uuid.uuid4().hex[:6]}")
    pods: dict[str, Object] = field(default_factory=dict)
    """Every pod of a Workflow that was ever seen, as it was last seen."""
    gone: set[str] = field(default_factory=set)
    """uids of those that are there no more."""
    workflows: dict[str, Object] = field(default_factory=dict)
    failure: BaseException | None = None

    @property
    def namespace(self) -> str:
        return f"vision-{self.environment}"

    def __enter__(self) -> Engine:
        self._ended = threading.Event()
        _lay_out(self.root, self.environment)
        self.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self._home}})
        settings = {"metadata": {"name": "workflow-controller-configmap", "namespace": self._home}, "data": SETTINGS}
        self.cluster.create({"apiVersion": "v1", "kind": "ConfigMap", **settings})
        self._process = self._started()
        self._looking = threading.Thread(target=self._look, daemon=True)
        self._looking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._looking.join()
        self._process.kill()
        self._process.wait()
        for name in (self.namespace, f"tabular-{self.environment}", self._home):
            self.cluster.delete({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    # The repository and its commands

    def add(self, name: str, *edits: tuple[str, str], seed: int = 0) -> None:
        """One more model like digits-pytorch, under this name and with a training of its own, and edited."""
        folder = self.root / name
        shutil.copytree(self.root / "digits-pytorch", folder)
        text = (folder / "model.yaml").read_text("utf-8")
        renamed = ("{name: digits, tenant", f"{{name: {name}, tenant")
        # That of the split comes before a comma.
        sown = ("seed: 7\n", f"seed: {seed or zlib.crc32(name.encode())}\n")
        for old, new in (renamed, sown, *edits):
            assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}/model.yaml"
            text = text.replace(old, new)
        (folder / "model.yaml").write_text(text, "utf-8")

    def keep(self, *names: str) -> None:
        """Take every other model out of the repository."""
        for model in self.root.glob("*/model.yaml"):
            if model.parent.name not in names:
                shutil.rmtree(model.parent)
        shutil.rmtree(self.root / "releases")

    def aifctl(self, *words: str) -> Said:
        """A command of the user, in the repository, on this cluster and environment."""
        there = ("--env", self.environment, "--context", "test", "--kubeconfig", str(self.cluster.kubeconfig))
        done = subprocess.run(
            [sys.executable, "-m", "aifctl", *words, *there], cwd=self.root, capture_output=True, text=True, check=False
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def compiled(self) -> Compiled:
        return repository.compiled(self.root, self.environment)

    # What the controller does

    def workflow(self, name: str) -> Object:
        """A Workflow as it is now; an empty one where there is none."""
        return self.workflows.get(name, {})

    def reference(self, name: str, kind: str = "Workflow") -> Object:
        return {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": kind,
            "metadata": {"name": name, "namespace": self.namespace},
        }

    def said(self) -> str:
        """The controller's log."""
        return self._log.read_text("utf-8", "replace")

    def running(self, workflow: str) -> dict[str, str]:
        """Step → its pod, of the pods that run."""
        return {_step(pod): name for name, pod in self._of(workflow).items() if self._runs(pod)}

    def started(self, workflow: str) -> list[str]:
        """Steps of all pods that there ever were, in the order of their creation."""
        found = sorted(self._of(workflow).values(), key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
        return [_step(pod) for pod in found]

    def wait(self, what: str, until: Callable[[], Any], seconds: float = PATIENCE) -> Any:
        """Look until it is true; fails with what was waited for."""
        end = time.monotonic() + seconds
        while not (found := until()):
            if self.failure is not None:
                raise AssertionError(f"nobody looks any more: {self.failure!r}") from self.failure
            if self._process.poll() is not None:
                raise AssertionError(f"the controller ended:\n{tail(self._log)}")
            if time.monotonic() > end:
                raise AssertionError(f"not after {seconds:.0f} s: {what}\n{tail(self._log)}")
            time.sleep(LOOK / 4)
        return found

    def start(self, workflow: Object) -> str:
        """Create a Workflow; its name."""
        self.cluster.create(workflow)
        return str(workflow["metadata"]["name"])

    def nudge(self, workflow: str) -> None:
        """Let the controller look at a Workflow, which it otherwise does every 20 minutes where nothing happens."""
        self.cluster.patch(self.reference(workflow), {"metadata": {"annotations": {"nudged": uuid.uuid4().hex}}})

    def wait_phase(self, workflow: str, phase: str) -> Object:
        def reached() -> bool:
            return bool(self.workflow(workflow).get("status", {}).get("phase") == phase)

        self.wait(f"{workflow} is {phase}", reached)
        return self.workflow(workflow)

    def pod(self, workflow: str, step: str) -> str:
        """The pod that runs this step, when it does."""
        return str(self.wait(f"{workflow} runs {step}", lambda: self.running(workflow).get(step)))

    def pods_of(self, workflow: str, step: str) -> list[str]:
        """All pods that this step ever had."""
        return [name for name, pod in self._of(workflow).items() if _step(pod) == step]

    # What becomes of pods

    def end(self, pod: str, outcome: str = "complete", exit_code: int = 0) -> None:
        """Let a running pod end: `complete`, `fail` or `oom`."""
        said = {OUTCOME: outcome, EXIT_CODE: str(exit_code)}
        self.cluster.patch(self._pod(pod), {"metadata": {"annotations": said}})

    def kill(self, pod: str) -> None:
        """Delete it, as a drained node does."""
        self.cluster.delete(self._pod(pod))

    def fail(self, pod: str, reason: str, message: str) -> None:
        """End it as the kubelet does by itself: its containers are killed, and the pod's own status says why."""
        status = self.pods[pod]["status"]
        containers = [
            {**each, "ready": False, "started": False, "state": {"terminated": {"exitCode": 137, "reason": "Error"}}}
            for each in status["containerStatuses"]
        ]
        said = {"phase": "Failed", "reason": reason, "message": message, "containerStatuses": containers}
        self.cluster.patch(self._pod(pod), {"status": said}, subresource="status")

    def tell(self, pod: str, **parameters: str) -> None:
        """Write what the executor in this pod would have read from the step's files."""
        metadata = self.pods[pod]["metadata"]
        self.cluster.create(
            {
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "WorkflowTaskResult",
                "metadata": {
                    "name": metadata["annotations"][NODE],
                    "namespace": self.namespace,
                    "labels": {
                        WORKFLOW: metadata["labels"][WORKFLOW],
                        "workflows.argoproj.io/report-outputs-completed": "true",
                    },
                },
                "outputs": {"parameters": [{"name": name, "value": value} for name, value in parameters.items()]},
            }
        )

    def play(
        self, workflow: str, after: Mapping[str, frozenset[str]], look: Callable[[str, str], object] | None = None
    ) -> list[frozenset[str]]:
        """Let every step end well, as soon as all that may run at a time do; the steps that ran together, in order.

        Fails where the controller starts others than those whose predecessors are done. `look` is called with each
        step and its pod before it ends.
        """
        done: set[str] = set()
        layers = []
        while done != after.keys():
            ready = frozenset(step for step, before in after.items() if step not in done and before <= done)
            self.wait(f"{workflow} runs {sorted(ready)}", lambda ready=ready: self.running(workflow).keys() == ready)
            assert set(self.started(workflow)) == done | ready
            layers.append(ready)
            for step, pod in self.running(workflow).items():
                if look is not None:
                    look(step, pod)
                self.end(pod)
            done |= ready
        return layers

    # Inside

    @property
    def _home(self) -> str:
        return f"argo-{self.environment}"

    @property
    def _log(self) -> Path:
        return self.root / "workflow-controller.log"

    def _started(self) -> subprocess.Popen[bytes]:
        entry = self.cluster.write_kubeconfig("argo", {"token": self.cluster.token}, namespace=self._home)
        options = ["--kubeconfig", str(entry), "--executor-image", "registry.example/argoexec:v3.7.3"]
        pace = ["--qps", "200", "--burst", "400"]
        where = ["--namespaced", "--managed-namespace", self.namespace]
        environment = {**os.environ, "LEADER_ELECTION_DISABLE": "true", "DEFAULT_REQUEUE_TIME": "1s"}
        with self._log.open("ab") as log:
            return start_child([str(controller()), *options, *pace, *where], self.root, log, environment)

    def _look(self) -> None:
        """Keep `pods` and `workflows` as the cluster has them; one request a kind for all who wait."""
        try:
            while not self._ended.wait(LOOK):
                with unless_busy():
                    self._look_once()
        except BaseException as error:  # noqa: BLE001 - whoever waits is told
            self.failure = error

    def _look_once(self) -> None:
        found = self.cluster.list("argoproj.io/v1alpha1", "Workflow", self.namespace)
        pods = {each["metadata"]["name"]: each for each in self.cluster.list("v1", "Pod", self.namespace)}
        self.workflows = {each["metadata"]["name"]: each for each in found}
        self.gone |= _uids(self.pods) - _uids(pods)
        self.pods = {**self.pods, **pods}

    def _of(self, workflow: str) -> dict[str, Object]:
        return {name: pod for name, pod in self.pods.items() if pod["metadata"]["labels"].get(WORKFLOW) == workflow}

    def _runs(self, pod: Object) -> bool:
        metadata = pod["metadata"]
        alive = metadata["uid"] not in self.gone and "deletionTimestamp" not in metadata
        return alive and metadata["annotations"].get(OUTCOME) == "ready" and pod["status"]["phase"] == "Running"

    def _pod(self, name: str) -> Object:
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": self.namespace}}


def install_inner_kinds(cluster: Cluster) -> None:
    """Define what the controller needs beside the CRDs that users see, and wait until it is served."""
    with locked(cluster.folder / "crds.lock"):
        served = cluster.discovered()
        for plural in INNER:
            if f"{plural}.argoproj.io" not in served:
                cluster.create(_inner_kind(plural))
        while not cluster.discovered() >= {f"{plural}.argoproj.io" for plural in INNER}:
            time.sleep(LOOK)


@contextlib.contextmanager
def unless_busy() -> Iterator[None]:
    """An API server opens the storage of a new kind late, and says so with a 429."""
    try:
        yield
    except Refused as refused:
        if refused.status != 429:
            raise


@dataclass
class Stories:
    """Tales of several Workflows, told at the same time: most of one is waiting. `of` gives a tale's end, or raises."""

    _pool: ThreadPoolExecutor
    _told: dict[str, Any] = field(default_factory=dict)

    def tell(self, name: str, story: Callable[..., Any], *given: Any) -> None:
        self._told[name] = self._pool.submit(story, *given)

    def of(self, name: str) -> Any:
        return self._told[name].result()


def dag(run: ir.Run) -> dict[str, frozenset[str]]:
    """Step → the steps that it comes after, as aifctl means it."""
    return {step.name: frozenset(step.after) for step in run.steps}


def _inner_kind(plural: str) -> Object:
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": anything}}
    if plural != "workflowtaskresults":
        version["subresources"] = {"status": {}}
    kind = INNER[plural]
    names = {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.argoproj.io"},
        "spec": {"group": "argoproj.io", "scope": "Namespaced", "names": names, "versions": [version]},
    }


def _uids(pods: Mapping[str, Object]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods.values()}


def _step(pod: Object) -> str:
    return str(pod["metadata"]["labels"][STEP])


def _lay_out(root: Path, environment: str) -> None:
    """The examples; who trains does so here, in one tenant's namespace, with pods that wait for the test."""
    platform = repository.lay_out(root) / "platform.yaml"
    head, tail = platform.read_text("utf-8").split("    - name: lab ", 1)
    held = f'pod_defaults: {{annotations: {{{OUTCOME}: "ready"}}}}'
    pattern = f'namespace: "{{tenant}}-{environment}"\n      {held}'
    tail = tail.replace('namespace: "{tenant}"', pattern, 1)
    platform.write_text(f"{head}    - name: {environment} {tail}", "utf-8")
    for model in root.glob("*/model.yaml"):
        model.write_text(model.read_text("utf-8").replace("tenant: tabular", "tenant: vision"), "utf-8")
