"""What a server answers when it says no, and what it is when it says nothing; both as findings too."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aifctl.diagnostics import Diagnostic

_IMMUTABLE = re.compile(r"field is immutable|is immutable|updates to \S+ spec for fields other than|may not be changed|"
                        r"may not change once set|updates may not change fields other than|"
                        r"cannot change roleRef|Forbidden: (?:may not change|updates? )", re.IGNORECASE)  # fmt: skip
_MALFORMED = re.compile(r"^failed to create typed ")
"""A 500 for ever: the object does not fit its schema (structured-merge-diff says it as a plain error)."""
_NAMESPACE = re.compile(r'^namespaces "')
_POLICY = re.compile(r'admission webhook "[^"]*" denied|denied request: |violates PodSecurity|exceeded quota')
_MANAGER = re.compile(r'conflict with "(?P<manager>[^"]*)"(?: with subresource "(?P<subresource>[^"]*)")?')


@dataclass(frozen=True, slots=True)
class Conflict:
    """A field that somebody else owns. `field` is written as the server does: `.spec.replicas`."""

    field: str
    manager: str
    subresource: str = ""


class Unreachable(Exception):
    """No answer: refused, cut, too late."""

    def __init__(self, server: str, why: str) -> None:
        super().__init__(f"{server}: {why}")
        self.server, self.why = server, why

    def finding(self) -> Diagnostic:
        hint = "is the cluster up, and is this its address? `kubectl --context … version` asks the same server"
        return Diagnostic("AIF703", f"the API server at {self.server} does not answer: {self.why}", hint)


class Untrusted(Unreachable):
    """Its certificate is none that we trust: asking again does not help."""

    def finding(self) -> Diagnostic:
        hint = "`certificate-authority-data` of the kubeconfig must be this server's; is a proxy in between?"
        return Diagnostic("AIF707", f"the API server at {self.server} is not trusted: {self.why}", hint)


class ApiError(Exception):
    """A `Status` of the API server: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/"""

    def __init__(
        self, status: int, reason: str, message: str, details: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message
        self.details = details or {}
        self.retry_after = retry_after

    @classmethod
    def of(cls, status: int, body: bytes, headers: Mapping[str, str]) -> ApiError:
        try:
            found = json.loads(body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            found = {"message": body[:500].decode("utf-8", "replace").strip()}
        details = found.get("details")
        return cls(
            status,
            str(found.get("reason") or ""),
            str(found.get("message") or f"HTTP {status}"),
            details if isinstance(details, dict) else {},
            _seconds(headers.get("Retry-After")),
        )

    @property
    def causes(self) -> list[Mapping[str, Any]]:
        causes = self.details.get("causes")
        return [cause for cause in causes if isinstance(cause, dict)] if isinstance(causes, list) else []

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed later. A webhook that is down or broken may come back as well."""
        return not _MALFORMED.match(self.message)

    @property
    def absent(self) -> bool:
        """Whether there is nothing of this name. (A webhook may deny with any status.)"""
        return self.status == 404 and not _POLICY.search(self.message)

    @property
    def another(self) -> bool:
        """Whether a delete was refused because the object of this name has another uid, or was written since.

        A webhook may deny with 409 too.
        """
        return self.status == 409 and "precondition" in self.message.lower()

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """Fields of other managers, of a server-side apply that was refused."""
        found = []
        for cause in self.causes:
            if cause.get("reason") == "FieldManagerConflict":
                match = _MANAGER.search(str(cause.get("message")))
                manager, subresource = (match["manager"], match["subresource"] or "") if match else ("unknown", "")
                found.append(Conflict(str(cause.get("field", "")), manager, subresource))
        return tuple(found)

    @property
    def immutable(self) -> tuple[str, ...]:
        """Paths that the server says can't be changed in place, each named by a cause of its own; () for another fault.

        A cause is asked for, not just a word in the message: else a plain invalid spec could delete a live object.
        """
        if self.status != 422:
            return ()
        causes = [(str(c.get("field") or ""), str(c.get("message") or "")) for c in self.causes]
        fixed = [field for field, message in causes if field and _IMMUTABLE.search(message)]
        return tuple(dict.fromkeys(fixed)) if fixed and len(fixed) == len(causes) else ()

    def finding(self, what: str) -> Diagnostic:
        """`what` names the request's object: `Deployment vision/digits`."""
        code, hint = _FINDINGS.get(self.status, ("AIF721", ""))
        if _POLICY.search(self.message):  # a webhook denies with whatever status it likes
            code, hint = "AIF722", "the cluster's policy refuses it: change the spec, or ask who owns the policy"
        elif self.status in (403, 409) and "being terminated" in self.message:
            code, hint = "AIF725", "wait until it is gone, or find what holds it: its finalizers and contents"
        elif self.status == 500 and "failed calling webhook" in self.message:
            code, hint = "AIF722", "a webhook that must be asked does not answer: it is down, or its policy too strict"
        elif self.status == 404 and not _NAMESPACE.search(self.message):
            code, hint = "AIF724", "install the operator that brings the kind, and wait until its definition is served"
        return Diagnostic(code, f"{what}: {self.message}", hint or None)


_FINDINGS = {
    400: ("AIF721", "the API server does not take the object as it is; see the field that it names"),
    401: ("AIF704", "the credentials are refused; log in again"),
    404: ("AIF723", "create the namespace, or let `aifctl apply` of the whole repository create it"),
    403: ("AIF705", "ask for the right in that namespace, or use an identity that has it"),
    422: ("AIF721", "the API server does not take the object as it is; see the field that it names"),
    **dict.fromkeys((429, 502, 503, 504), ("AIF703", "it is overloaded, starting or away; the next apply goes on")),
}
"""Status → code and hint."""


def _seconds(header: str | None) -> float | None:
    try:
        return min(30.0, max(0.0, float(header))) if header is not None else None
    except ValueError:
        return None
