"""Cluster environments that have what their role takes, and that do not get into each other's way."""

from __future__ import annotations

from collections.abc import Iterator

from aifctl import ir
from aifctl.checks.subject import Subject, listed
from aifctl.diagnostics import Diagnostic, Severity

TRACKED = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")
"""Kinds of URL that MLflow tracks to, without their drivers (`postgresql+psycopg2`).

Source: mlflow.store.db.db_types and `FileStore` of MLflow 3.17, which refuses folders ("in maintenance mode").
"""
TOOLS = {"argocd": "Argo CD's Application", "flux": "Flux's Kustomization"}


def check(subject: Subject) -> Iterator[Diagnostic]:
    environment = subject.environment
    if environment.local:
        return
    if subject.trains and environment.deliverer == "flux":
        message = "not built yet: runs delivered by Flux, which would prune them when the spec changes"
        yield Diagnostic("AIF390", message, "use `argocd` or `aifctl`", subject.at_environment("deliverer"))
    if subject.trains and environment.store is None:
        message = f"`{environment.name}` trains on a cluster without an artifact store"
        hint = "add one that its pods reach: `store: {uri: s3://…, credentials: …}`"
        yield Diagnostic("AIF371", message, hint, subject.at_environment("name"))
    yield from _tracking(subject)
    yield from _system_namespaces(subject)
    yield from _shared_namespaces(subject)
    yield from _other_appliers(subject)


def _tracking(subject: Subject) -> Iterator[Diagnostic]:
    uri = subject.platform.spec.tracking.mlflow if subject.platform is not None else None
    if not subject.trains or uri is None:
        return
    scheme, found, _ = uri.partition("://")
    if not found or scheme.partition("+")[0] not in TRACKED:
        message = f"MLflow writes no tracking data to `{uri}`"
        hint = "give the URL of an MLflow server, or of a database: `http://mlflow.aif-system:5000`"
        where = subject.at_platform("tracking", "mlflow")
        yield Diagnostic("AIF381", message, hint, where, severity=Severity.WARNING)


def _system_namespaces(subject: Subject) -> Iterator[Diagnostic]:
    """A tenant there could forge what aifctl has on record, or take over what runs the cluster."""
    namespace = subject.environment.namespace_of(subject.unit.model.metadata.tenant)
    if ir.is_system(namespace):
        hint = "choose another name for the tenant, or another pattern: `namespace: ml-{tenant}`"
        where = subject.unit.at("metadata", "tenant")
        yield Diagnostic("AIF380", f"namespace `{namespace}` belongs to no tenant", hint, where)


def _shared_namespaces(subject: Subject) -> Iterator[Diagnostic]:
    """A namespace is made once, by the first environment that has it: what the next one wants must be the same."""
    environment, tenant = subject.environment, subject.unit.model.metadata.tenant
    namespace = environment.namespace_of(tenant)
    for other in subject.platform.spec.neighbours(environment) if subject.platform is not None else ():
        if other.namespace_of(tenant) != namespace:
            continue
        if (environment.pod_security, environment.apply.account) != (other.pod_security, other.apply.account):
            message = f"`{environment.name}` and `{other.name}` want namespace `{namespace}` in two ways"
            hint = "give them the same `pod_security` and `apply.account`, or namespaces of their own"
            yield Diagnostic("AIF378", message, hint, subject.at_environment("name"))


def _other_appliers(subject: Subject) -> Iterator[Diagnostic]:
    environment = subject.environment
    given = sorted(environment.apply.model_fields_set - {"account"})
    if environment.deliverer != "aifctl" and given:
        message = (
            f"{listed(given)} of `apply` {'says' if len(given) == 1 else 'say'} nothing to {environment.deliverer}"
        )
        hint = f"set it in {TOOLS[environment.deliverer]}, or have `{environment.name}` delivered by `aifctl`"
        where = subject.at_environment("apply", given[0], on_key=True)
        yield Diagnostic("AIF379", message, hint, where, severity=Severity.WARNING)
