"""`aifctl reconcile` as a Deployment of one environment's cluster, with the accounts and rights that it needs.

It holds reading for itself, and writing in its own namespace alone: models' objects are written as the account of
their tenant's namespace, the platform's as `aifctl-admin`, by impersonation
(https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation). The API server asks for
the right to impersonate a ServiceAccount by its namespace and name, so it is given by name.

Its pods get the environment's `pod_defaults`. What these name is looked for in the reconciler's own namespace; a Secret
of variables that is not there is done without.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from aifctl import ir
from aifctl.render import kinds, ownership, pods
from aifctl.render.backends.tenancy import KEPT, RBAC

ADMIN = "aifctl-admin"
PROBES = 8081
METRICS = 8080
WORK = "/aif/work"
CREDENTIALS = "/aif/git"
API_SERVER = (443, 6443)
"""Ports of API servers: of the Service `kubernetes`, and of what is behind it, which a policy sees."""
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
PAST_PROXY = "$(KUBERNETES_SERVICE_HOST)"
"""The API server as pods reach it, put in by the kubelet: no proxy leads there."""
SCHEMES = {"https": 443, "http": 80, "ssh": 22, "git": 9418}
HOME = {"HOME": WORK, "TMPDIR": "/tmp", "PYTHONUNBUFFERED": "1"}
"""The root file system is read-only, and the user has no entry in /etc/passwd."""
GRACE = 60
"""Seconds to finish what is being applied, and to give the lease back."""
PASSWORD = (
    f'!f() {{ echo "username=$(cat {CREDENTIALS}/username)"; echo "password=$(cat {CREDENTIALS}/password)"; }}; f'
)
"""A helper of Git's own form; the Secret is of type kubernetes.io/basic-auth."""
KEY = f"ssh -i {CREDENTIALS}/ssh-privatekey -o IdentitiesOnly=yes -o UserKnownHostsFile={CREDENTIALS}/known_hosts"
"""The Secret is of type kubernetes.io/ssh-auth, with the host's keys in `known_hosts` beside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciler:
    """`account` is that of tenants' namespaces; `git_secret` names a Secret with credentials for the repository;
    `pod_security` is the level that its namespace enforces, as strict as the volumes of `pods` allow."""

    environment: str
    repository: str
    image: str
    account: str
    ref: str = "main"
    namespace: str = ir.SYSTEM_NAMESPACE
    interval: str = "60s"
    replicas: int = 2
    admin: bool = False
    git_secret: str | None = None
    pods: ir.PodDefaults = field(default_factory=ir.PodDefaults)
    pod_security: str = "restricted"

    @property
    def name(self) -> str:
        """Of what is one environment's alone: two of them may share a cluster."""
        return f"aifctl-reconciler-{self.environment}"


def objects(reconciler: Reconciler) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Template names and what they are filled with."""
    labels = {"app.kubernetes.io/managed-by": ownership.MANAGER, "app.kubernetes.io/part-of": "aifctl"}
    own = {"name": reconciler.name, "namespace": reconciler.namespace, "labels": labels}
    yield (
        "reconciler/namespace.yaml.j2",
        {**own, "name": reconciler.namespace, "annotations": KEPT, "level": reconciler.pod_security},
    )
    yield from _account({**own, "token": True}, _inside(reconciler), _everywhere(reconciler))
    if reconciler.admin:
        yield from _account({**own, "name": ADMIN, "token": False}, None, _of_admin())
    pod = {"app.kubernetes.io/name": reconciler.name}
    yield "reconciler/networkpolicy.yaml.j2", {**own, "selector": pod, **_network(reconciler)}
    yield "reconciler/deployment.yaml.j2", {**own, "selector": pod, **_pod(reconciler)}


def _account(
    own: Mapping[str, Any], inside: list[kinds.Rule] | None, everywhere: list[kinds.Rule]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A ServiceAccount, what it may do in its namespace, and what it may do in all of them."""
    subjects = [{"kind": "ServiceAccount", "name": own["name"], "namespace": own["namespace"]}]
    yield "reconciler/serviceaccount.yaml.j2", own
    yield "reconciler/clusterrole.yaml.j2", {**own, "rules": everywhere}
    yield "reconciler/clusterrolebinding.yaml.j2", {**own, "subjects": subjects}
    if inside is not None:
        yield "reconciler/role.yaml.j2", {**own, "rules": inside}
        yield "reconciler/rolebinding.yaml.j2", {**own, "subjects": subjects}


def _inside(reconciler: Reconciler) -> list[kinds.Rule]:
    """Inventories, the lease of the leader, and events; the admin account, where it may be used."""
    rules = [
        _rule("", "configmaps", kinds.WRITE),
        _rule("", "events", ("create", "patch")),
        _rule("coordination.k8s.io", "leases", kinds.WRITE),
    ]
    return [*rules, _impersonation(ADMIN)] if reconciler.admin else rules


def _everywhere(reconciler: Reconciler) -> list[kinds.Rule]:
    # Secrets are read as the account of their namespace: reading all of a cluster's is as good as owning it.
    seen = {each for each in (*kinds.MODELS, *kinds.PLATFORM, *kinds.LOOKED_AT) if each.kind != "Secret"}
    return [*kinds.rules(seen, kinds.READ), _impersonation(reconciler.account)]


def _of_admin() -> list[kinds.Rule]:
    """To make tenants' namespaces and all in them. It holds what it hands on, so it need not escalate; what deletes a
    namespace is left to people."""
    namespaces = [each for each in kinds.PLATFORM if each.kind == "Namespace"]
    others = [each for each in kinds.PLATFORM if each.kind != "Namespace"]
    return [
        *kinds.rules(namespaces, [verb for verb in kinds.WRITE if verb != "delete"]),
        *kinds.rules({*others, *kinds.MODELS}, kinds.WRITE),
        *kinds.HANDED_ON,
        *kinds.rules(kinds.LOOKED_AT, kinds.READ),
        {**_rule(RBAC, "clusterroles", ("bind",)), "resourceNames": ["edit", "view"]},
    ]


def _rule(group: str, resource: str, verbs: tuple[str, ...]) -> kinds.Rule:
    return {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}


def _impersonation(account: str) -> kinds.Rule:
    return {**_rule("", "serviceaccounts", ("impersonate",)), "resourceNames": [account]}


def _network(reconciler: Reconciler) -> dict[str, Any]:
    git = git_port(reconciler.repository)
    ports = {*API_SERVER, *_proxy_ports(reconciler.pods), *([git] if git is not None else [])}
    return {"metrics": METRICS, "egress_ports": sorted(ports)}


def git_port(repository: str) -> int | None:
    """TCP port of a Git URL, `user@host:path` included; None for a path."""
    url = re.match(r"([a-z][a-z0-9+]*)://(?:[^/@]*@)?[^/:]*(?::(\d{1,5}))?", repository)
    if url is not None:
        return int(url[2]) if url[2] else SCHEMES.get(url[1].removeprefix("git+"))
    return SCHEMES["ssh"] if re.match(r"[^/@]+@[^/:]+:", repository) else None


def _proxy_ports(defaults: ir.PodDefaults) -> Iterator[int]:
    for each in defaults.variables:
        if each.name.lower() in PROXIES:
            url = urlsplit(each.value if "://" in each.value else f"http://{each.value}")
            try:
                yield url.port or SCHEMES.get(url.scheme, SCHEMES["http"])
            except ValueError:  # no port, and then no proxy either
                continue


def _pod(reconciler: Reconciler) -> dict[str, Any]:
    defaults = reconciler.pods
    return {
        "replicas": reconciler.replicas,
        "image": reconciler.image,
        "arguments": [pods.literal(each) for each in _arguments(reconciler)],
        "variables": _variables(reconciler),
        "environment_sources": [{"secretRef": {"name": name, "optional": True}} for name in defaults.secrets],
        "pull_policy": defaults.pull_policy,
        "pull_secrets": [{"name": name} for name in defaults.pull_secrets],
        "pod_annotations": dict(defaults.annotations),
        "node_selector": dict(sorted(defaults.node_selector.items())),
        "tolerations": [dict(each) for each in defaults.tolerations],
        "default_volumes": [dict(each) for each in defaults.volumes],
        "default_mounts": [dict(each) for each in defaults.mounts],
        "probes": PROBES,
        "metrics": METRICS,
        "work": WORK,
        "grace": GRACE,
        "credentials": CREDENTIALS,
        "git_secret": reconciler.git_secret,
    }


def _arguments(reconciler: Reconciler) -> list[str]:
    flags = {
        "repo": reconciler.repository,
        "ref": reconciler.ref,
        "env": reconciler.environment,
        "interval": reconciler.interval,
        "listen": f":{PROBES}",
        "metrics": f":{METRICS}",
        "namespace": reconciler.namespace,
        "state": WORK,
    }
    admin = ["--admin"] if reconciler.admin else []
    return ["reconcile", *(f"--{name}={value}" for name, value in flags.items()), *admin]


def _variables(reconciler: Reconciler) -> list[pods.Variable]:
    """The environment's first: where the home is, and how Git logs in, is not for it to say."""
    given = {each.name: pods.literal(each.value) for each in reconciler.pods.variables}
    if any(name.lower() in PROXIES for name in given):
        names = [name for name in given if name.lower() == "no_proxy"] or ["NO_PROXY"]
        given |= {name: ",".join(filter(None, (given.get(name), PAST_PROXY))) for name in names}
    known = {each["name"]: each["value"] for each in _git(reconciler)}
    return [{"name": name, "value": value} for name, value in {**given, **HOME, **known}.items()]


def _git(reconciler: Reconciler) -> list[pods.Variable]:
    """Git's settings by variables: the home is empty."""
    if reconciler.git_secret is None:
        return []
    is_key = git_port(reconciler.repository) is not None and not reconciler.repository.startswith("http")
    key, value = ("core.sshCommand", KEY) if is_key else ("credential.helper", PASSWORD)
    found = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": key, "GIT_CONFIG_VALUE_0": pods.literal(value)}
    return [{"name": name, "value": text} for name, text in found.items()]
