"""A handle on a running control plane: where it is, who may enter, and a small client for setting up and looking.

It is plain data, so any process of a test run can have one. The client is the tests' own on purpose: what aifctl's
client does is checked by means of another one.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import ssl
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import yaml

from tests.controlplane import certificates
from tests.controlplane.binaries import locked

Object = dict[str, Any]
Objects = list[Object]

SERVER_SIDE_APPLY = "application/apply-patch+yaml"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MERGE = "application/merge-patch+json"
CLUSTER_SCOPED = {
    "Namespace", "Node", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "PriorityClass",
    "StorageClass", "PersistentVolume", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration",
    "ClusterQueue", "ResourceFlavor", "Cohort", "Topology", "AdmissionCheck", "WorkloadPriorityClass",
    "ClusterTrainingRuntime", "ClusterServingRuntime", "ClusterWorkflowTemplate", "ClusterAnalysisTemplate",
    "ClusterIssuer",
}  # fmt: skip


class Refused(Exception):
    """The API server answered with an error; `status` is its HTTP status, `body` its Status object."""

    def __init__(self, status: int, body: Object) -> None:
        super().__init__(f"{status}: {body.get('message', body)}")
        self.status = status
        self.body = body


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A control plane that answers at `url`; `folder` holds its state, kubeconfigs and logs."""

    folder: Path
    url: str

    @property
    def ca(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def token(self) -> str:
        """The token of `admin`, who is in system:masters."""
        return self.tokens["admin"]

    @cached_property
    def tokens(self) -> dict[str, str]:
        """user -> token: `admin`, and `nobody` who may do nothing but ask what it may do."""
        rows = (self.folder / "tokens.csv").read_text().splitlines()
        return {user: token for token, user in (row.split(",")[:2] for row in rows)}

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.kubeconfig_of("admin")

    def kubeconfig_of(self, user: str) -> Path:
        """The kubeconfig of `admin` or `nobody`."""
        return self.write_kubeconfig(user, {"token": self.tokens[user]})

    def kubeconfig_as(self, user: str, *groups: str) -> Path:
        """A kubeconfig in which `admin` impersonates any user."""
        return self.write_kubeconfig(f"as-{user}", {"token": self.token, "as": user, "as-groups": list(groups)})

    def write_kubeconfig(self, name: str, user: Object, *, server: str | None = None, namespace: str = "") -> Path:
        """A kubeconfig with this `user` entry, at this server or the API server itself."""
        path = self.folder / "kubeconfigs" / f"{quote(name, safe='')}-{uuid.uuid4().hex[:6]}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(kubeconfig(server or self.url, self.ca.read_bytes(), user, namespace)))
        path.chmod(0o600)
        return path

    def server_certificate(self, name: str) -> certificates.Pair:
        """A certificate for another server on this machine, of the authority that the kubeconfigs trust."""
        return certificates.server(certificates.Pair(self.ca, self.folder / "ca.key"), self.folder, name)

    def account(self, namespace: str, name: str, *rules: Object, cluster_rules: Iterable[Object] = ()) -> str:
        """Make a ServiceAccount with these RBAC rules, in its namespace and cluster-wide; its token."""
        self.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _named(name, namespace)})
        subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
        if rules:
            self._grant("Role", name, namespace, list(rules), subject)
        if cluster_rules:
            self._grant("ClusterRole", f"{namespace}-{name}", None, list(cluster_rules), subject)
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        wanted = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        return str(self.request("POST", path, wanted)["status"]["token"])

    def _grant(self, kind: str, name: str, namespace: str | None, rules: list[Object], subject: Object) -> None:
        group = "rbac.authorization.k8s.io"
        metadata = _named(name, namespace)
        self.create({"apiVersion": f"{group}/v1", "kind": kind, "metadata": metadata, "rules": rules})
        reference = {"apiGroup": group, "kind": kind, "name": name}
        binding = {"metadata": metadata, "roleRef": reference, "subjects": [subject]}
        self.create({"apiVersion": f"{group}/v1", "kind": f"{kind}Binding", **binding})

    @cached_property
    def client(self) -> httpx.Client:
        """The administrator's HTTP client; threads may share it."""
        context = ssl.create_default_context(cafile=str(self.ca))
        headers = {"Authorization": f"Bearer {self.token}"}
        limits = httpx.Limits(max_connections=16, max_keepalive_connections=16, keepalive_expiry=5)
        return httpx.Client(
            base_url=self.url, verify=context, headers=headers, timeout=60, limits=limits, trust_env=False
        )

    def request(self, method: str, path: str, body: object = None, *, kind: str = "application/json") -> Object:
        """One request as the administrator; raises Refused on any error answer."""
        content = None if body is None else json.dumps(body)
        answer = self.client.request(method, path, content=content, headers={"Content-Type": kind})
        decoded = answer.json() if answer.headers.get("Content-Type", "").startswith("application/json") else {}
        if answer.is_error:
            raise Refused(answer.status_code, decoded or {"message": answer.text})
        return decoded

    def answers(self, path: str) -> bool:
        """Whether a GET of this path succeeds."""
        try:
            self.request("GET", path)
        except (Refused, httpx.TransportError):
            return False
        return True

    def create(self, wanted: Object) -> Object:
        return self.request("POST", path_of(wanted, collection=True), wanted)

    def apply(self, wanted: Object, *, manager: str = "test", force: bool = False, dry_run: bool = False) -> Object:
        """Server-side apply as another field manager than aifctl."""
        query = f"?fieldManager={quote(manager)}&force={str(force).lower()}" + ("&dryRun=All" if dry_run else "")
        return self.request("PATCH", path_of(wanted) + query, wanted, kind=SERVER_SIDE_APPLY)

    def patch(self, wanted: Object, change: Object, *, manager: str = "test", subresource: str = "") -> Object:
        """Merge-patch the object that `wanted` names, as `kubectl patch` would."""
        path = f"{path_of(wanted)}{'/' if subresource else ''}{subresource}?fieldManager={quote(manager)}"
        return self.request("PATCH", path, change, kind=MERGE)

    def get(self, wanted: Object) -> Object | None:
        """The live object of the same kind, namespace and name; None where there is none."""
        try:
            return self.request("GET", path_of(wanted))
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def delete(self, wanted: Object, *, propagation: str = "Background") -> None:
        """Delete it; fine where it is gone already."""
        try:
            self.request("DELETE", path_of(wanted), {"propagationPolicy": propagation})
        except Refused as refused:
            if refused.status != 404:
                raise

    def wait(self, wanted: Object, until: Callable[[Object], object] = bool, *, seconds: float = 60) -> Object:
        """Look until the object is there and `until` of it is true; fails with what it last was."""
        return self._look(wanted, lambda live: live is not None and until(live), seconds) or {}

    def wait_gone(self, wanted: Object, *, seconds: float = 60) -> None:
        """Look until the object is there no more; fails with what it last was."""
        self._look(wanted, lambda live: live is None, seconds)

    def _look(self, wanted: Object, until: Callable[[Object | None], object], seconds: float) -> Object | None:
        end = time.monotonic() + seconds
        while True:
            live = self.get(wanted)
            if until(live):
                return live
            if time.monotonic() > end:
                raise AssertionError(f"{path_of(wanted)} is not as expected after {seconds} s: {json.dumps(live)}")
            time.sleep(0.05)

    def create_namespace(self, prefix: str = "test", **labels: str) -> str:
        """A fresh namespace in which pods can be created (its default ServiceAccount exists)."""
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _named("default", name)}
        self.wait(account) if self.has_controllers else self.create(account)
        return name

    @property
    def has_controllers(self) -> bool:
        """Whether a controller manager runs here; without one nothing is collected and no Deployment makes pods."""
        return (self.folder / "kube-controller-manager.log").exists()

    def install_crds(self, folder: Path, names: Iterable[str] | None = None) -> list[str]:
        """Create the CRDs under `folder` at once and wait until they serve; returns their names.

        `names` are names of CRDs (`workflows.argoproj.io`) or of their folders (`argo-workflows`); None is all, which
        keeps two processors busy for 20 s. What is installed already costs a look at the discovery document.
        """
        wanted = _crds(folder, None if names is None else frozenset(names))
        with locked(self.folder / "crds.lock"):
            served = self.discovered()
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(self._install, (text for name, text in wanted.items() if name not in served)))
            self._await_served(set(wanted))
        return list(wanted)

    def discovered(self) -> set[str]:
        """`<plural>.<group>` of every kind that the API server serves, core ones excepted."""
        accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        groups = self.client.get("/apis", headers={"Accept": accept}).raise_for_status().json()["items"]
        return {
            f"{resource['resource']}.{group['metadata']['name']}"
            for group in groups
            for version in group["versions"]
            for resource in version.get("resources", [])
        }

    def _install(self, text: str) -> None:
        kind = "application/json" if text.startswith("{") else "application/yaml"
        answer = self.client.post(CRDS, content=text, headers={"Content-Type": kind})
        if answer.is_error and answer.status_code != httpx.codes.CONFLICT:
            raise Refused(answer.status_code, {"message": answer.text})

    def _await_served(self, names: set[str], seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while missing := names - self.discovered():
            if time.monotonic() > end:
                raise AssertionError(f"not served after {seconds} s: {', '.join(sorted(missing))}")
            time.sleep(0.2)

    def list(self, api_version: str, kind: str, namespace: str | None = None, **query: str) -> Objects:
        """The objects of a kind, each with its version and kind: a list of the API leaves them out of its items."""
        wanted = {"apiVersion": api_version, "kind": kind, "metadata": {"namespace": namespace}}
        path = path_of(wanted, collection=True)
        found: Objects = self.request("GET", f"{path}?{httpx.QueryParams(query)}")["items"]
        return [{"apiVersion": api_version, "kind": kind, **each} for each in found]


def kubeconfig(server: str, ca: bytes, user: Object, namespace: str = "") -> Object:
    context = {"cluster": "test", "user": "user"} | ({"namespace": namespace} if namespace else {})
    data = base64.b64encode(ca).decode()
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority-data": data}}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "test", "context": context}],
        "current-context": "test",
    }


def path_of(wanted: Mapping[str, Any], *, collection: bool = False) -> str:
    """The object's path on the API server, or its collection's."""
    version, kind, metadata = wanted["apiVersion"], wanted["kind"], wanted["metadata"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    namespace = None if kind in CLUSTER_SCOPED else metadata.get("namespace")
    path = f"{root}/namespaces/{namespace}/{_plural(kind)}" if namespace else f"{root}/{_plural(kind)}"
    return path if collection else f"{path}/{metadata['name']}"


def _plural(kind: str) -> str:
    word = kind.lower()
    if word.endswith("y") and not word.endswith(("ay", "ey")):
        return f"{word[:-1]}ies"
    return word + ("es" if word.endswith(("s", "x")) else "s")


def _named(name: str, namespace: str | None) -> Object:
    return {"name": name, "namespace": namespace} if namespace else {"name": name}


def _crds(folder: Path, names: frozenset[str] | None) -> dict[str, str]:
    """The wanted CRDs' names and texts; their YAML is left to the API server to read."""
    texts = {path: path.read_text() for path in sorted(folder.glob("*/*.yaml"))}
    if names is None:
        return {_name(text): text for text in texts.values()}
    chosen = {_name(text): (path.parent.name, text) for path, text in texts.items()}
    missing = names - chosen.keys() - {group for group, _ in chosen.values()}
    if missing:
        raise LookupError(f"no CRD {', '.join(sorted(missing))} under {folder}")
    return {name: text for name, (group, text) in chosen.items() if name in names or group in names}


def _name(text: str) -> str:
    if text.startswith("{"):
        return str(json.loads(text)["metadata"]["name"])
    found = re.search(r"^metadata:\n(?:  .*\n)*?  name: (\S+)$", text, re.MULTILINE)
    if found is None:
        raise LookupError("a CRD without a name")
    return found[1]
