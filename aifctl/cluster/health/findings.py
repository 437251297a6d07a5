"""Verdicts that end a wait, as diagnostics: each names the object and the phase it is stuck in."""

from __future__ import annotations

from dataclasses import dataclass

from aifctl.cluster.health.model import Health
from aifctl.cluster.health.pods import Trouble
from aifctl.cluster.health.reading import fold, one_line, span
from aifctl.diagnostics.model import Diagnostic


@dataclass(frozen=True, slots=True)
class Subject:
    """The object that was waited for."""

    kind: str
    name: str
    namespace: str = ""

    def __str__(self) -> str:
        place = f"{self.namespace}/" if self.namespace else ""
        return one_line(f"{self.kind} {place}{self.name}")


def timed_out(subject: Subject, health: Health, seconds: float, trouble: Trouble | None = None) -> Diagnostic:
    """AIF750: it did not settle in the time that it may take."""
    return _finding("AIF750", f"{subject} is not healthy after {span(seconds)}, stuck in", health, trouble)


def failed(subject: Subject, health: Health, trouble: Trouble | None = None) -> Diagnostic:
    """AIF751: it says itself that it failed."""
    return _finding("AIF751", f"{subject} failed:", health, trouble)


def given_up(subject: Subject, health: Health, seconds: float, trouble: Trouble | None = None) -> Diagnostic:
    """AIF751: its pods have been in what they hardly come out of for so long."""
    return _finding(
        "AIF751", f"{subject} failed: nothing has got better for {span(seconds)}, stuck in", health, trouble
    )


def ended_badly(subject: Subject, health: Health, trouble: Trouble | None = None) -> Diagnostic:
    """AIF752: a run ended without success."""
    return _finding("AIF752", f"{subject} ended in failure:", health, trouble)


def vanished(subject: Subject) -> Diagnostic:
    """AIF753: it was there, and was deleted while it was waited for."""
    hint = "look for who deletes it: another tool's prune, a TTL, an owner that went away"
    return Diagnostic("AIF753", f"{subject} was deleted while it was waited for", hint=hint)


def never_deleted(subject: Subject, health: Health, seconds: float) -> Diagnostic:
    """AIF754: it was to be deleted, and is still there; its finalizers are in the message."""
    hint = (
        "find out why the controller of its finalizers does not answer; remove a finalizer by hand only if it is gone"
    )
    return Diagnostic("AIF754", f"{subject} is still there after {span(seconds)}: {health.message}", hint=hint)


def _finding(code: str, said: str, health: Health, trouble: Trouble | None) -> Diagnostic:
    phase = trouble.phase if trouble else health.phase
    message = f"{said} {phase or health.state}" + (f" ({health.message})" if health.message else "")
    notes = (str(trouble),) if trouble and str(trouble) not in health.message else ()
    return Diagnostic(code, fold(message), hint=_hint(phase, health.phase), notes=notes)


def _hint(*phases: str) -> str | None:
    return next((HINTS[phase] for phase in phases if phase in HINTS), None)


_IMAGE = "check that the image exists for the nodes' platform, and that the pods' account may pull it"
_CRASH = "read the container's last output: `kubectl logs --previous`"
_DEADLINE = "look at its pods; raise its progress deadline if loading only takes long"

HINTS = {
    **dict.fromkeys(("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"), _IMAGE),
    **dict.fromkeys(("CrashLoopBackOff", "Error", "StartError", "RunContainerError", "Completed"), _CRASH),
    **dict.fromkeys(("ProgressDeadlineExceeded", "BackoffLimitExceeded"), _DEADLINE),
    "CreateContainerConfigError": "a Secret or ConfigMap that the container reads is missing, or lacks a key",
    "OOMKilled": "give the container more memory, or load less: a smaller batch, a quantised export",
    "Unschedulable": "no node has room: compare the pods' requests, node selector and tolerations with the nodes",
    "Evicted": "the node ran short of memory or disk: set requests to what the pod really uses",
    "NotReady": "the readiness probe does not pass: read the server's output, and ask its health address",
    "Starting": "the model is still loading: give the startup probe more time, or the pod more CPU",
    "Initializing": "an init container still runs, most often one that downloads the model: read its output",
    "FailedCreate": "a quota or an admission rule refuses the pods: the message says which",
    "Inadmissible": "create the LocalQueue and ClusterQueue that the queue label names",
    "NoStatus": "the controller of this kind is not installed, not running, or does not watch this namespace",
    "NotBound": "no volume fits the claim: check its storage class, size and access mode",
}
"""What to do, by phase."""
