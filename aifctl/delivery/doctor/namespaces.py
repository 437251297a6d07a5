"""Namespaces of an environment: tenants' own, the secrets that must be in them, and aifctl's records."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from aifctl import ir
from aifctl.cluster.records import Record, is_held
from aifctl.delivery.doctor.answer import Answer, doubt, good, told, wrong
from aifctl.delivery.doctor.subject import Subject, places

LEVELS = ("privileged", "baseline", "restricted")
"""From lax to strict: https://kubernetes.io/docs/concepts/security/pod-security-standards/"""
ENFORCE = "pod-security.kubernetes.io/enforce"
JSON = "application/json"


async def tenants(subject: Subject) -> AsyncIterator[Answer]:
    made = {manifest.name for manifest in subject.compiled.ground if manifest.kind == "Namespace"}
    for name in subject.namespaces:
        live = await subject.found(f"/api/v1/namespaces/{name}", JSON)
        if live is None:
            yield _absent(name, made, subject.environment.name)
        elif live["metadata"].get("deletionTimestamp"):
            yield wrong("AIF798", f"{name} is being deleted", "wait until it is gone, then apply")
        else:
            yield _level(name, live, subject.environment.pod_security, ours=name in made)


async def secrets(subject: Subject) -> AsyncIterator[Answer]:
    """That they are there, by name: nothing of their content is asked for."""
    for namespace, names in sorted(_secrets(subject).items()):
        for name, asked in sorted(names.items()):
            live = await subject.found(f"/api/v1/namespaces/{namespace}/secrets/{name}")
            if live is None:
                hint = f"create it: `kubectl -n {namespace} create secret generic {name} --from-literal=…`"
                yield wrong("AIF799", f"secret {name} is not in {namespace}; {asked}", hint)
            else:
                yield good(f"secret {name} is in {namespace}; {asked}")


async def records(subject: Subject) -> AsyncIterator[Answer]:
    """Inventories: what was applied here, as far as it can be read."""
    found, damaged = await subject.records.all()
    for diagnostic in damaged:
        yield told(diagnostic)
    for record in found.values():
        for answer in _of_record(record, subject):
            yield answer
    system = await subject.found(f"/api/v1/namespaces/{ir.SYSTEM_NAMESPACE}")
    if system is None:
        yield good(f"{ir.SYSTEM_NAMESPACE} is not there yet: the first apply makes it")
    else:
        yield good(f"{len(found)} inventories of this environment in {ir.SYSTEM_NAMESPACE}")


def _of_record(record: Record, subject: Subject) -> Iterator[Answer]:
    inventory = record.inventory
    platform = subject.platform.metadata.name if subject.platform is not None else ""
    if inventory.platform and inventory.platform != platform:
        hint = "two repositories can't share an environment's name in one cluster; rename one environment"
        yield wrong("AIF729", f"{inventory.unit} was applied by platform `{inventory.platform}`", hint)
    if is_held(record):
        yield good(f"{inventory.unit} is being applied by {record.holder}")
    if inventory.suspended:
        yield good(f"{inventory.unit} is suspended: {inventory.suspended}")
    if inventory.held:
        hint = "commit a change of this model, or `aifctl apply --release-hold`"
        yield doubt("AIF760", f"{inventory.unit}: the tree {inventory.held[:10]} failed and is held", hint)


def _absent(name: str, made: set[str], environment: str) -> Answer:
    if name in made:
        hint = f"`aifctl apply --env {environment}` of the whole repository, by an administrator, makes it"
        return doubt("AIF798", f"{name} is not there yet", hint)
    hint = "list its tenant in the platform file, so that aifctl makes it, or create it"
    return wrong("AIF798", f"{name} is not there, and nothing here makes it", hint)


def _level(name: str, live: Mapping[str, Any], wanted: str, *, ours: bool) -> Answer:
    found = (live["metadata"].get("labels") or {}).get(ENFORCE)
    if found == wanted:
        return good(f"{name} enforces the Pod Security level {wanted}")
    if found is None:
        by_hand = f"`kubectl label ns {name} {ENFORCE}={wanted}`"
        hint = f"`aifctl apply` of the whole repository labels it; by hand: {by_hand}" if ours else by_hand
        return doubt("AIF798", f"{name} enforces no Pod Security level, the platform file says {wanted}", hint)
    message = f"{name} enforces the Pod Security level {found}, the platform file says {wanted}"
    if found in LEVELS and LEVELS.index(found) > LEVELS.index(wanted):
        return wrong("AIF798", f"{message}: pods that are allowed here are refused there", f"label it {wanted}")
    return doubt("AIF798", message, f"label it {wanted}, or say {found} in the platform file")


def _secrets(subject: Subject) -> dict[str, dict[str, str]]:
    """Namespace → name → who asks for it."""
    environment = subject.environment
    pods = environment.pod_defaults
    everywhere = dict.fromkeys(pods.env_from_secrets, "`pod_defaults.env_from_secrets` names it")
    everywhere |= dict.fromkeys(pods.image_pull_secrets, "`pod_defaults.image_pull_secrets` names it")
    if environment.store is not None and environment.store.credentials is not None:
        everywhere[environment.store.credentials] = "`store.credentials` names it"
    found = {namespace: dict(everywhere) for namespace in subject.namespaces}
    for model in subject.compiled.models:
        for place in places(model.bundle):
            for secret in place.secrets:
                found[model.bundle.target.namespace].setdefault(secret.secret, f"model {model.bundle.model} names it")
    return found
