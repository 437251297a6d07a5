"""An API server in memory for tests of the Kubernetes launcher, and a kubelet that runs pods as processes.

It keeps what the launcher uses of the real one: names that are taken, versions, watches that end and expire, owners,
deletion in the foreground, `$(NAME)` in arguments, termination messages. Faults are put into `faults` by method.
"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import tempfile
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from aifctl.runtime.kube import Exists, Expired, Missing, Object
from tests.runtime.fake_runs import HERE, ROOT

Kubelet = Callable[["FakeCluster", Object], None]


class FakeCluster:
    def __init__(self, kubelet: Kubelet | None = None) -> None:
        self.kubelet = kubelet
        self.jobs: dict[str, Object] = {}
        self.pods: dict[str, list[Object]] = {}
        self.logs: dict[str, str] = {}
        self.faults: dict[str, list[Exception]] = defaultdict(list)
        self.calls: list[tuple[str, str]] = []
        self.graces: list[int | None] = []
        self.oldest = 0
        """Watches from before this version have expired."""
        self._version = 0
        self._events: list[tuple[int, str, Object]] = []
        self._news = threading.Condition(threading.RLock())

    # The API

    def create_job(self, body: Mapping[str, Any]) -> Object:
        name = body["metadata"]["name"]
        self._called("create_job", name)
        with self._news:
            if name in self.jobs:
                raise Exists(name)
            job = copy.deepcopy(dict(body))
            job["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": f"2030-01-01T00:00:{self._version:02}Z"}
            job["status"] = {}
            self._store("ADDED", job)
        if self.kubelet is not None:
            self.kubelet(self, job)
        return copy.deepcopy(self.jobs.get(name, job))

    def get_job(self, name: str) -> Object:
        self._called("get_job", name)
        with self._news:
            if name not in self.jobs:
                raise Missing(name)
            return copy.deepcopy(self.jobs[name])

    def delete_job(self, name: str, grace: int | None) -> None:
        self._called("delete_job", name)
        with self._news:
            if name not in self.jobs:
                raise Missing(name)
            self.graces.append(grace)
            self.forget(name)

    def list_jobs(self, selector: str) -> tuple[list[Object], str]:
        self._called("list_jobs", selector)
        with self._news:
            found = [copy.deepcopy(job) for job in self.jobs.values() if _has(job, selector)]
            return found, str(self._version)

    def watch_jobs(self, selector: str, version: str, seconds: int) -> Iterator[tuple[str, Object]]:
        self._called("watch_jobs", version)
        if int(version) < self.oldest:
            raise Expired(version)
        with self._news:
            if not self._since(int(version)):
                self._news.wait(0.05)
            found = self._since(int(version))
        for number, kind, job in found:
            if _has(job, selector):
                yield kind, copy.deepcopy(job)
            else:
                yield "BOOKMARK", {"metadata": {"resourceVersion": str(number)}}

    def pods_of(self, job: str) -> list[Object]:
        self._called("pods_of", job)
        return copy.deepcopy(self.pods.get(job, []))

    def log(self, pod: str, lines: int, since: int | None = None) -> str:
        self._called("log", pod)
        if pod not in self.logs:
            raise Missing(pod)
        return "\n".join(self.logs[pod].splitlines()[-lines:])

    # What happens in the cluster

    def pod(self, job: str, **status: Any) -> Object:
        """A pod of the Job, after those that are there."""
        with self._news:
            listed = self.pods.setdefault(job, [])
            name = f"{job}-{len(listed)}"
            template = self.jobs[job]["spec"]["template"]
            metadata = {"name": name, "labels": template["metadata"]["labels"]}
            metadata["creationTimestamp"] = f"2030-01-01T00:01:{len(listed):02}Z"
            uid = self.jobs[job]["metadata"]["uid"]
            metadata["ownerReferences"] = [{"kind": "Job", "name": job, "uid": uid, "controller": True}]
            listed.append({"metadata": metadata, "spec": template["spec"], "status": {"phase": "Running", **status}})
            return listed[-1]

    def end(self, job: str, code: int, message: str = "", reason: str | None = None, **status: Any) -> None:
        """Its last pod (a new one, where there is none) ends, and the Job with it."""
        with self._news:
            if job not in self.jobs:
                return
            pod = self.pods[job][-1] if self.pods.get(job) else self.pod(job)
            ended = {"exitCode": code, "reason": reason or ("Completed" if code == 0 else "Error"), "message": message}
            pod["status"] |= {"phase": "Failed" if code else "Succeeded", **status}
            pod["status"]["containerStatuses"] = [{"state": {"terminated": ended}}]
            self.conclude(job, "Failed" if code else "Complete")

    def conclude(self, job: str, outcome: str) -> None:
        with self._news:
            found = self.jobs[job]
            found["status"]["conditions"] = [{"type": outcome, "status": "True"}]
            self._store("MODIFIED", found)

    def forget(self, job: str, *, at_once: bool = True) -> None:
        """Deletes it, as its owner's deletion or its TTL does; where not `at_once`, its pods take a while to go."""
        with self._news:
            self._store("DELETED", self.jobs.pop(job))
            if at_once:
                self.pods.pop(job, None)

    def named(self, call: str) -> list[str]:
        return [what for name, what in self.calls if name == call]

    def _called(self, call: str, what: str) -> None:
        self.calls.append((call, what))
        if self.faults[call]:
            raise self.faults[call].pop(0)

    def _store(self, kind: str, job: Object) -> None:
        self._version += 1
        job["metadata"]["resourceVersion"] = str(self._version)
        if kind != "DELETED":
            self.jobs[job["metadata"]["name"]] = job
        self._events.append((self._version, kind, copy.deepcopy(job)))
        self._news.notify_all()

    def _since(self, version: int) -> list[tuple[int, str, Object]]:
        return [event for event in self._events if event[0] > version]


def _has(job: Object, selector: str) -> bool:
    key, _, value = selector.partition("=")
    return bool(job["metadata"].get("labels", {}).get(key) == value)


class Processes:
    """A kubelet: each pod is a process of `entry` on this machine, whose end is the Job's. `hold` names steps that no
    pod is made for."""

    def __init__(self, folder: Path, entry: str = "fake_entry") -> None:
        self.folder, self.entry, self.hold = folder, entry, set[str]()
        self.threads: list[threading.Thread] = []

    def __call__(self, cluster: FakeCluster, job: Object) -> None:
        if job["metadata"]["labels"]["aif.dev/step"] not in self.hold:
            cluster.pod(job["metadata"]["name"])
            thread = threading.Thread(target=self._run, args=(cluster, job), daemon=True)
            self.threads.append(thread)
            thread.start()

    def join(self) -> None:
        for thread in self.threads:
            thread.join(60)

    def _run(self, cluster: FakeCluster, job: Object) -> None:
        name = job["metadata"]["name"]
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            message = Path(folder, "message")
            message.touch()
            given = [each.replace("$$", "$") for each in job["spec"]["template"]["spec"]["containers"][0]["args"]]
            done = subprocess.run(
                [sys.executable, "-P", "-m", self.entry, *(_placed(each, message) for each in given)],
                env={
                    **os.environ,
                    "PYTHONPATH": f"{HERE}{os.pathsep}{ROOT}",
                    "AIF_TEST_TRACE": str(self.folder / "trace"),
                },
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
            pod = cluster.pods.get(name, [{"metadata": {"name": name}}])[-1]["metadata"]["name"]
            cluster.logs[pod] = done.stdout + done.stderr
            code = done.returncode if done.returncode >= 0 else 128 - done.returncode
            cluster.end(name, code, message.read_text()[-4096:])


def _placed(argument: str, message: Path) -> str:
    return f"--message={message}" if argument.startswith("--message=") else argument
