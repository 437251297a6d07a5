"""Steps as Kubernetes Jobs: a `Launcher` for a driver that runs in the cluster itself.

A step's Job has a name made of run, step and attempt, so a driver that is started again finds what its predecessor
left: a Job that runs is taken over, one that has failed is counted again by the executor's own rules. Jobs are the
driver's property (ownerReferences): they go when it is deleted. A driver that is told to stop leaves them running.
"""

from __future__ import annotations

import copy
import json
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from aifctl import contract, digest
from aifctl.contract import RUN, Site, StepSpec
from aifctl.ir import Step
from aifctl.runtime import job_status
from aifctl.runtime.job import STANDARD_OUTPUT
from aifctl.runtime.job_watch import JobWatch
from aifctl.runtime.kube import Api, Exists, Missing, Object, Refused, Unavailable
from aifctl.runtime.launcher import Ended, Handle, Verdict

STEP = job_status.STEP
DIGEST = "aif.dev/step-digest"
"""Label: the first digits of the step's digest, by which runs see that they work on the same thing."""
LABEL_DIGITS = 40
MESSAGE = "/dev/termination-log"
NAME_LIMIT = 63
PODS_PERIOD = 5.0
"""Seconds between two looks at the pods of a Job that goes on."""
LOG_PERIOD = 10.0
LOG_LINES = 500
STUCK_LIMIT = 300.0
"""Seconds that a pod may be unable to start (an image that can't be pulled, say) before its step is given up."""
CLAIM_PERIOD = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """Who owns the Jobs: the Job of the driver's own pod. `uid` is that of its object."""

    run: str
    uid: str

    @property
    def attempt(self) -> str:
        """How attempts of its steps begin: another driver of this run, made later, has others."""
        return self.uid.replace("-", "")[:8]

    def numbers(self, jobs: Collection[Object]) -> Mapping[str, Sequence[int]]:
        """Step → the numbers of its attempts among these Jobs, in order; other drivers' are left out."""
        found: dict[str, list[int]] = {}
        for job in filter(lambda job: _is_of(self, job), jobs):
            args = job["spec"]["template"]["spec"]["containers"][0].get("args") or ()
            told = [each.removeprefix(f"--attempt={self.attempt}-") for each in args]
            step = str((job["metadata"].get("labels") or {}).get(STEP))
            found.setdefault(step, []).extend(int(each) for each in told if each.isdecimal())
        return {step: sorted(numbers) for step, numbers in found.items()}

    @property
    def reference(self) -> dict[str, str]:
        return {"apiVersion": "batch/v1", "kind": "Job", "name": self.run, "uid": self.uid}


@dataclass(slots=True)
class _Started:
    step: str
    digest: str | None
    name: str
    body: Object
    created: bool = False
    uid: str | None = None
    """Of its Job; None before it is created."""
    again_at: float = 0.0
    """The API server is not to be asked again before this time.monotonic()."""
    looked_at: float = 0.0
    log_read_at: float = 0.0
    log_time: float = 0.0
    """Time of the last event that was passed on, seconds since 1970."""
    stuck_since: float | None = None
    notes: list[str] = field(default_factory=list)
    told: str = ""
    stopped: bool = False
    grace: int | None = None
    """Seconds that its pod may take to end, once it is stopped; None: as it says itself."""
    deleted: bool = False
    left: bool = False
    ended: Ended | None = None


class JobLauncher:
    """`templates` has each step's Job by the step's name. `leaving` says whether the driver goes and its Jobs stay."""

    def __init__(
        self, api: Api, driver: Driver, templates: Mapping[str, Object], *, leaving: Callable[[], bool] = lambda: False
    ) -> None:
        self._api, self._driver, self._templates, self._leaving = api, driver, templates, leaving
        self._started: dict[str, _Started] = {}
        self._watch = JobWatch(api, f"{RUN}={driver.run}")

    def start(self, step: Step, site: Site) -> Handle:
        name = job_name(site.run, step.name, site.attempt)
        started = _Started(step.name, step.spec.digest, name, self._body(name, step.spec, site))
        self._started[name] = started
        self._create(started)
        return Handle(step.name, name, f"kubectl logs --namespace {started.body['metadata']['namespace']} job/{name}")

    def wait(self, handles: Collection[Handle], timeout: float) -> None:
        self._watch.wait(timeout)

    def poll(self, handle: Handle) -> Ended | None:
        started = self._started[handle.key]
        if started.ended is None and started.left:
            started.ended = Ended(verdict=Verdict.STOPPED, how="left to the next driver of this run")
        if started.ended is None and time.monotonic() >= started.again_at:
            with self._patience(started):
                started.ended = self._look_at(started)
        return started.ended

    def events(self, handle: Handle) -> Sequence[Mapping[str, Any]]:
        started = self._started[handle.key]
        told: list[Mapping[str, Any]] = [
            {"step": started.step, "event": "note", "text": text} for text in started.notes
        ]
        started.notes.clear()
        if time.monotonic() >= started.again_at:
            with self._patience(started):
                told += self._progress(started)
        return told

    def logs(self, handle: Handle, lines: int) -> Sequence[str]:
        try:
            for pod in reversed(_by_age(self._pods(self._started[handle.key]))):
                text = self._api.log(pod["metadata"]["name"], LOG_LINES).splitlines()
                return [line for line in text if _event(line) is None][-lines:]
        except (Unavailable, Refused, Missing):
            pass  # the pod may be gone by now: how it ended is told without its last lines
        return []

    def stop(self, handle: Handle, *, now: bool = False) -> None:
        started = self._started[handle.key]
        if self._leaving():
            started.left = True
            return
        started.stopped, started.deleted, started.grace = True, False, 0 if now else None

    def close(self) -> None:
        """Jobs that go on are left to the next driver: what ends this one early is no fault of theirs."""
        self._watch.close()

    # Creating

    def _body(self, name: str, spec: StepSpec, site: Site) -> Object:
        body = copy.deepcopy(self._templates[spec.name])
        told = {RUN: site.run} | ({} if spec.digest is None else {DIGEST: spec.digest[:LABEL_DIGITS]})
        metadata, pod = body["metadata"], body["spec"]["template"]
        metadata["name"], metadata["ownerReferences"] = name, [self._driver.reference]
        for labelled in (metadata, pod["metadata"]):
            labelled["labels"] = {**(labelled.get("labels") or {}), **told}
        container = pod["spec"]["containers"][0]
        flags = {"run": site.run, "attempt": site.attempt, "events": STANDARD_OUTPUT, "message": MESSAGE}
        own = [f"--step={contract.encode(spec)}", *(f"--{flag}={value}" for flag, value in flags.items())]
        # The kubelet reads `$(NAME)` in arguments, and `$$` as one `$`.
        container["args"] = [*(each.replace("$", "$$") for each in own), *(container.get("args") or ())]
        return body

    def _create(self, started: _Started) -> None:
        with self._patience(started):
            try:
                found = self._api.create_job(started.body)
            except Exists:
                found = self._existing(started.name)
                if job_status.is_leaving(found):  # of a driver before this one, on its way out
                    raise Unavailable(f"an earlier Job {started.name} is being deleted") from None
                if not _is_of(self._driver, found):
                    raise Refused(f"there is a Job {started.name} that is not this run's") from None
                self._note(started, "goes on from an earlier driver")
            started.created, started.uid = True, found["metadata"].get("uid")
            self._watch.know(found)

    def _existing(self, name: str) -> Object:
        try:
            return self._api.get_job(name)
        except Missing as error:
            raise Unavailable(f"the Job {name} was deleted just now") from error

    # Watching

    def _look_at(self, started: _Started) -> Ended | None:
        if not started.created:
            if started.stopped:
                return Ended(verdict=Verdict.STOPPED, how="not started")
            self._create(started)
            return started.ended
        if started.stopped and not started.deleted:
            self._delete(started, started.grace)
        job = self._watch.get(started.name)
        if job is None or started.uid not in (None, job["metadata"].get("uid")):
            return self._gone(started)
        if job_status.outcome(job) is not None:
            return self._conclude(started, job)
        if time.monotonic() - started.looked_at >= PODS_PERIOD:
            started.looked_at = time.monotonic()
            return self._consider(started, job)
        return None

    def _gone(self, started: _Started) -> Ended:
        if started.stopped:
            return Ended(verdict=Verdict.STOPPED, how="its Job was deleted, as asked")
        return Ended(verdict=Verdict.KILLED, how="its Job was deleted", hint=job_status.TAKEN_HINT)

    def _conclude(self, started: _Started, job: Object) -> Ended | None:
        found = job_status.ended(job, self._pods(started))
        if found.verdict is Verdict.DONE and found.result is None:
            return self._silent(started, found)
        return replace(found, verdict=Verdict.STOPPED) if started.stopped and found.verdict in TAKEN else found

    def _silent(self, started: _Started, found: Ended) -> Ended:
        """It ended well and its message is lost: the store knows the rest, where the digest is known."""
        if started.digest is None:
            return replace(found, verdict=Verdict.RETRY, how="its message was lost")
        return replace(found, result={"digest": started.digest})

    def _consider(self, started: _Started, job: Object) -> Ended | None:
        waiting = job_status.waiting(job, self._pods(started))
        self._note(started, "" if waiting is None else waiting.text)
        if waiting is None or not waiting.stuck or started.stopped:
            started.stuck_since = None
            return None
        if started.stuck_since is None:
            started.stuck_since = time.monotonic()
        if time.monotonic() - started.stuck_since < STUCK_LIMIT:
            return None
        self._delete(started, 0)
        message = f"the pod of step `{started.step}` can't start: {waiting.text}"
        hint = "check the image, the secrets and the volumes that the step names"
        return _failed(waiting.text, "AIF868", message, hint)

    def _progress(self, started: _Started) -> Iterator[Mapping[str, Any]]:
        """Events that the step has printed since the last look."""
        recent = time.monotonic() - started.log_read_at < LOG_PERIOD
        if started.ended is not None or not started.created or started.told or recent:
            return iter(())
        since = None if started.log_read_at == 0.0 else round(2 * LOG_PERIOD)
        started.log_read_at = time.monotonic()
        pods = [pod for pod in _by_age(self._pods(started)) if pod["status"].get("phase") == "Running"]
        try:
            text = self._api.log(pods[-1]["metadata"]["name"], LOG_LINES, since) if pods else ""
        except Missing:
            return iter(())
        found = [event for event in _events(text) if event["time"] > started.log_time]
        started.log_time = max((event["time"] for event in found), default=started.log_time)
        return iter(found)

    def _pods(self, started: _Started) -> list[Object]:
        """Its own: pods of a Job of the same name that was deleted may take a while to go."""
        return [pod for pod in self._api.pods_of(started.name) if started.uid in (None, _owner(pod))]

    # Trouble

    def _delete(self, started: _Started, grace: int | None) -> None:
        with suppress(Missing):
            self._api.delete_job(started.name, grace)
        started.deleted = True

    def _note(self, started: _Started, text: str) -> None:
        if text != started.told:
            started.told = text
            started.notes.append(text)

    @contextmanager
    def _patience(self, started: _Started) -> Iterator[None]:
        """An API server that is away is waited for; one that refuses ends the step."""
        try:
            yield
        except Unavailable as error:
            started.again_at = time.monotonic() + PODS_PERIOD
            self._note(started, f"waits for the API server: {error}")
        except Refused as error:
            hint = "see what the driver's Role allows, and what admission policies ask for"
            message = f"the API server refuses the Job of step `{started.step}`: {error}"
            started.ended = _failed(str(error), "AIF869", message, hint)


TAKEN = frozenset({Verdict.KILLED, Verdict.RETRY, Verdict.CRASHED})
"""Ends that a step which was asked to stop may come to."""


class JobClaims:
    """No step is computed twice at one time: whose Job for a digest is older goes on, others wait for its result."""

    def __init__(self, api: Api, driver: Driver) -> None:
        self._api, self._driver = api, driver
        self._refused: dict[str, float] = {}

    @contextmanager
    def looking_up(self) -> Iterator[None]:
        yield  # a cluster's store is not collected while runs go on in it

    def claim(self, digest: str) -> bool:
        """Raises nothing: where the API server does not answer, the step waits."""
        if time.monotonic() - self._refused.get(digest, -CLAIM_PERIOD) < CLAIM_PERIOD:
            return False
        try:
            jobs, _ = self._api.list_jobs(f"{DIGEST}={digest[:LABEL_DIGITS]}")
        except (Unavailable, Refused):
            self._refused[digest] = time.monotonic()
            return False
        others = [job for job in jobs if job_status.outcome(job) is None and not _is_of(self._driver, job)]
        if others:
            self._refused[digest] = time.monotonic()
        return not others

    def release(self, digest: str) -> None:
        self._refused.pop(digest, None)


def job_name(run: str, step: str, attempt: str) -> str:
    """A DNS label; names that had to be changed or cut get a piece of their hash, so that no two meet."""
    whole = f"{run}-{step}-{attempt}"
    plain = re.sub(r"[^a-z0-9-]", "-", whole.lower()).strip("-")
    if plain == whole and len(whole) <= NAME_LIMIT:
        return whole
    mark = digest.of_text(whole)[:8]
    return f"{plain[: NAME_LIMIT - len(mark) - 1].strip('-')}-{mark}"


def _is_of(driver: Driver, job: Object) -> bool:
    return any(owner.get("uid") == driver.uid for owner in job["metadata"].get("ownerReferences") or ())


def _owner(pod: Object) -> str | None:
    """The uid of the Job whose pod it is."""
    owners = pod["metadata"].get("ownerReferences") or ()
    return next((str(owner["uid"]) for owner in owners if owner.get("controller")), None)


def _failed(how: str, code: str, message: str, hint: str) -> Ended:
    finding = {"code": code, "message": message, "hint": hint}
    return Ended(verdict=Verdict.FAILED, how=how, result={"diagnostics": [finding]})


def _by_age(pods: Sequence[Object]) -> list[Object]:
    return sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))


def _events(text: str) -> Iterator[Mapping[str, Any]]:
    """Events among the lines of a log; user code may print whatever it likes."""
    return filter(None, map(_event, text.splitlines()))


def _event(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line) if line.startswith("{") else None
    except ValueError:
        return None
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return None
    return event if isinstance(event.get("time"), int | float) else None
