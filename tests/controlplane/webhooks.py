"""Admission webhooks of a test: an HTTPS server that denies or changes what the API server asks it about.

    with Webhooks(control_plane, namespace) as webhooks:
        webhooks.deny("DELETE", kind="ConfigMap", name="keep-.*", message="not this one")
        webhooks.mutate(kind="Deployment", change=[{"op": "add", "path": "/metadata/labels/team", "value": "x"}])

Registered for one namespace, so that tests which share the control plane do not meet each other's, or without one for
all cluster-scoped objects (better on `bare_control_plane`); removed at the end. `failing()` answers with
errors, as a webhook whose pods are gone.
"""

from __future__ import annotations

import base64
import dataclasses
import http.server
import json
import re
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from tests.controlplane.cluster import Cluster, Object, path_of

OPERATIONS = ("CREATE", "UPDATE", "DELETE")
_RULES = [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": list(OPERATIONS), "resources": ["*"], "scope": "*"}]


@dataclasses.dataclass(frozen=True, slots=True)
class Denial:
    """Refuse these operations on these kinds and names (patterns for the whole of each)."""

    operations: frozenset[str]
    kind: str
    name: str
    user: str
    message: str


@dataclasses.dataclass(frozen=True, slots=True)
class Mutation:
    """Change created and updated objects by JSON patch; an `add` and an annotation that are there already stay."""

    kind: str
    name: str
    change: tuple[Object, ...] = ()
    annotations: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Webhooks:
    """A context manager; `reviews` are the requests it was asked about, the newest last."""

    def __init__(self, cluster: Cluster, namespace: str = "") -> None:
        self._cluster, self._namespace = cluster, namespace
        self._id = f"test-{uuid.uuid4().hex[:8]}.aif.dev"
        self._denials: list[Denial] = []
        self._mutations: list[Mutation] = []
        self._failing = False
        self._asked: set[str] = set()
        self.reviews: list[Object] = []

    def __enter__(self) -> Webhooks:
        self._server = _Server(("127.0.0.1", 0), self._answer)
        self._server.socket = self._tls().wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="webhooks", daemon=True).start()
        try:
            for kind in ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"):
                self._cluster.create(self._configuration(kind))
            self._await_asked()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def deny(
        self, *operations: str, kind: str = ".*", name: str = ".*", user: str = ".*", message: str = "denied"
    ) -> None:
        """Deny `CREATE`, `UPDATE` (patches and applies of what exists too) or `DELETE`, to whom `user` matches: 403."""
        unknown = set(operations) - set(OPERATIONS)
        if unknown or not operations:
            raise ValueError(f"operations are {', '.join(OPERATIONS)}, not {sorted(unknown)}")
        self._denials.append(Denial(frozenset(operations), kind, name, user, message))

    def mutate(self, *, kind: str = ".*", name: str = ".*", change: list[Object]) -> None:
        """Apply a JSON patch to every created or updated object of this kind and name."""
        self._mutations.append(Mutation(kind, name, tuple(change)))

    def annotate(self, kind: str, name: str, annotations: dict[str, str]) -> None:
        """Add annotations: with `simulate(…)` of ./stages.py and kind `Pod`, what becomes of rendered pods."""
        self._mutations.append(Mutation(kind, name, annotations=annotations))

    def failing(self, failing: bool = True) -> None:
        """Answer with 500: every operation in the namespace then fails, as failurePolicy is Fail."""
        self._failing = failing

    def clear(self) -> None:
        self._denials, self._mutations, self._failing, self.reviews = [], [], False, []

    def _answer(self, path: str, review: Object) -> Object | None:
        request = review["request"]
        self._asked.add(path)
        self.reviews.append(request)
        if self._failing:
            return None
        response: Object = {"uid": request["uid"], "allowed": True}
        if path == "/mutate":
            patch = [step for each in self._mutations if _concerns(each, request) for step in _steps(each, request)]
            if patch:
                response |= {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}
            return response
        for denial in self._denials:
            if request["operation"] in denial.operations and _concerns(denial, request) and _by(denial, request):
                return response | {"allowed": False, "status": {"code": 403, "message": denial.message}}
        return response

    def _await_asked(self) -> None:
        """The API server reads webhook configurations from a cache: try until it asks for both of ours."""
        metadata = {"name": self._id.replace(".", "-"), "namespace": self._namespace or None}
        probe = {"apiVersion": "v1", "kind": "ConfigMap" if self._namespace else "Namespace", "metadata": metadata}
        end = time.monotonic() + 10
        while self._asked != {"/mutate", "/validate"}:
            if time.monotonic() > end:
                raise AssertionError(f"the API server asks the webhooks for {sorted(self._asked)} only")
            self._cluster.request("POST", f"{path_of(probe, collection=True)}?dryRun=All", probe)
            time.sleep(0.02)
        self.clear()

    def _configuration(self, kind: str) -> Object:
        mutating = kind.startswith("Mutating")
        url = f"https://127.0.0.1:{self._server.server_address[1]}/{'mutate' if mutating else 'validate'}"
        ca = base64.b64encode(self._cluster.ca.read_bytes()).decode()
        scope = {"matchLabels": {"kubernetes.io/metadata.name": self._namespace}} if self._namespace else {}
        webhook: dict[str, Any] = {
            "name": self._id,
            "clientConfig": {"url": url, "caBundle": ca},
            "rules": [{**rule, "scope": "Namespaced" if self._namespace else "Cluster"} for rule in _RULES],
            "namespaceSelector": scope,
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "timeoutSeconds": 5,
        }
        return {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": self._id},
            "webhooks": [webhook],
        }

    def _tls(self) -> ssl.SSLContext:
        pair = self._cluster.server_certificate(self._id)
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(pair.certificate, pair.key)
        return tls

    def _end(self) -> None:
        self.clear()
        for kind in ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"):
            self._cluster.delete(self._configuration(kind))
        self._server.shutdown()
        self._server.server_close()


def _concerns(rule: Denial | Mutation, request: Object) -> bool:
    # An object made with generateName has no name yet.
    name = request.get("name") or ((request.get("object") or {}).get("metadata") or {}).get("generateName", "")
    return bool(re.fullmatch(rule.kind, request["kind"]["kind"]) and re.fullmatch(rule.name, name))


def _by(denial: Denial, request: Object) -> bool:
    return re.fullmatch(denial.user, request["userInfo"]["username"]) is not None


def _steps(mutation: Mutation, request: Object) -> list[Object]:
    target = request.get("object") or {}
    if request["operation"] == "DELETE":
        return []
    there = target.get("metadata", {}).get("annotations") or {}
    merged = {**mutation.annotations, **there}
    annotate = [] if merged == there else [{"op": "add", "path": "/metadata/annotations", "value": merged}]
    return annotate + [step for step in mutation.change if step["op"] != "add" or not _present(target, step["path"])]


def _present(target: Any, pointer: str) -> bool:
    for part in pointer.strip("/").split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(target, list):
            if not key.isdigit() or int(key) >= len(target):
                return False
            target = target[int(key)]
        elif isinstance(target, dict) and key in target:
            target = target[key]
        else:
            return False
    return True


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], answer: Any) -> None:
        self.answer = answer
        super().__init__(address, _Handler)

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        """The API server drops idle connections without a word; nothing to report."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        response = self.server.answer(self.path.partition("?")[0], review)
        body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        data = json.dumps(body).encode()
        self.send_response(500 if response is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the tests' output."""
