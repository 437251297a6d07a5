"""A small world for tests of the apply engine: units of a few objects, applied to a real API server as a user would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aifctl.cluster import access, apply, planning
from aifctl.cluster import wanted as units
from aifctl.cluster.client import Client
from aifctl.cluster.ground import Choices
from aifctl.cluster.inventory import OF_ENVIRONMENT, Inventory, Unit
from aifctl.cluster.outcome import Options, Outcome
from aifctl.cluster.planning import Plan, Request
from aifctl.cluster.policy import Policy
from aifctl.cluster.records import Record, Records
from aifctl.cluster.wait import Waiter
from aifctl.cluster.wanted import Wanted
from aifctl.cluster.watch import Observer
from aifctl.manifest import Manifest
from aifctl.plan.change import Action
from aifctl.render.ownership import ENVIRONMENT, MODEL, TENANT

Object = dict[str, Any]


@dataclass
class World:
    """One environment in one namespace of a cluster. Its environment's name is the namespace, so worlds never meet."""

    kubeconfig: Path
    namespace: str
    policy: Policy = field(default_factory=Policy)
    platform: str = "acme"
    patience: float = 20.0

    @property
    def environment(self) -> str:
        return self.namespace

    def unit(self, model: str) -> Unit:
        return Unit(self.environment, "vision", model)

    def wanted(self, model: str, *objects: Object) -> Wanted:
        labels = {ENVIRONMENT: self.environment, TENANT: "vision", MODEL: model, "app.kubernetes.io/name": model}
        found = [_with(each, self.namespace, labels) for each in objects]
        manifests = tuple(sorted((Manifest(each) for each in found), key=lambda each: each.order))
        return units.wanted(self.unit(model), manifests)

    def request(self, *wanted: Wanted, **changes: Any) -> Request:
        names = ("force_conflicts", "confirm_replace", "dry_run")
        choices = {name: changes.pop(name) for name in names if name in changes}
        whole = Request(
            environment=self.environment,
            platform=self.platform,
            wanted=wanted,
            complete=True,
            policy=self.policy,
            choices=Choices(**choices),
        )
        return replace(whole, **changes)

    def plan(self, *wanted: Wanted, **changes: Any) -> Plan:
        async def act(client: Client, records: Records) -> Plan:
            return await planning.plan(client, records, self.request(*wanted, dry_run=True, **changes))

        return self.with_client(act)

    def apply(self, *wanted: Wanted, options: Options | None = None, tell: Any = None, **changes: Any) -> list[Outcome]:
        async def act(client: Client, records: Records) -> list[Outcome]:
            found = await planning.plan(client, records, self.request(*wanted, **changes))
            async with Observer(client, f"{ENVIRONMENT}={self.environment}") as observer:
                waiter = Waiter(client, observer)
                return await apply.apply(found, records, waiter, options or Options(), tell or (lambda event: None))

        return self.with_client(act)

    def inventory(self, model: str) -> Inventory:
        return self.record(model).inventory

    def record(self, model: str) -> Record:
        return self.with_client(lambda client, records: records.one(self.unit(model)))

    def inventories(self) -> dict[Unit, Record]:
        return self.with_client(lambda client, records: records.all())[0]

    def with_client(self, act: Callable[[Client, Records], Any]) -> Any:
        async def run() -> Any:
            async with Client(access.find(kubeconfig=str(self.kubeconfig)), patience=self.patience) as client:
                return await act(client, Records(client, self.environment))

        return asyncio.run(run())


def actions(plan: Plan) -> dict[str, Action]:
    """`Kind/name` → what would happen."""
    return {f"{change.identity.kind}/{change.identity.name}": change.action for change in plan.changes}


def codes(found: Any) -> list[str]:
    """Codes of a plan's or of outcomes' findings."""
    if isinstance(found, Plan):
        return [each.code for each in found.findings]
    return [each.code for outcome in found for each in outcome.findings]


def config(name: str, data: Mapping[str, str] | None = None, **annotations: str) -> Object:
    metadata: Object = {"name": name}
    if annotations:
        metadata["annotations"] = {key.replace("__", "/"): value for key, value in annotations.items()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(data or {"a": "1"})}


def deployment(name: str, replicas: int | None = 1, image: str = "server:1", **container: Any) -> Object:
    ports = [{"containerPort": 8080, "protocol": "TCP"}]
    spec: Object = {
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "server", "image": image, "ports": ports, **container}]},
        },
    }
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def job(name: str, command: str = "true") -> Object:
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "train:1", "command": [command]}]}
    spec = {"template": {"spec": pod}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


def service(name: str) -> Object:
    spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def claim(name: str) -> Object:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


INVENTORY_LABEL = OF_ENVIRONMENT


def _with(found: Object, namespace: str, labels: Mapping[str, str]) -> Object:
    metadata = found["metadata"]
    own = {**labels, **metadata.get("labels", {})}
    where = {} if found["kind"] in ("Namespace", "CustomResourceDefinition") else {"namespace": namespace}
    return {**found, "metadata": {**metadata, **where, "labels": own}}
