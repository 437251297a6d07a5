"""May this identity do what it is here for? Asked by SelfSubjectAccessReview; the rights come from where they are
granted: `render.kinds`, and the reconciler's own Roles.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator

from aifctl import ir
from aifctl.cluster import reviews
from aifctl.cluster.reviews import Right
from aifctl.delivery.doctor.answer import Answer, good, wrong
from aifctl.delivery.doctor.purpose import Purpose
from aifctl.delivery.doctor.subject import Subject
from aifctl.render import kinds
from aifctl.render.backends.reconciler import Reconciler
from aifctl.render.bundles import render_reconciler

READ = ("get", "list")
ARGO = "argoproj.io"
RBAC = "rbac.authorization.k8s.io"
EVERYWHERE = ""
PLACES = {EVERYWHERE: "in the cluster as a whole"}
HINTS = {
    Purpose.PLAN: "ask for Kubernetes' role `view` there",
    Purpose.APPLY: "use an identity that may; who only plans asks with `--for plan`",
    Purpose.RECONCILE: "apply what `aifctl init --reconciler` has written",
}


async def granted(subject: Subject) -> AsyncIterator[Answer]:
    """An answer a namespace."""
    needed = dict.fromkeys(_NEEDED[subject.purpose](subject))
    lacking = set(await reviews.lacking(subject.client, needed))
    for place in sorted({right.namespace for right in needed}):
        asked = [right for right in needed if right.namespace == place]
        missing = [right for right in asked if right in lacking]
        where = PLACES.get(place, f"in {place}")
        if missing:
            yield wrong("AIF795", f"{subject.purpose} lacks {where}: {_listed(missing)}", HINTS[subject.purpose])
        else:
            yield good(f"{subject.purpose} may all it needs {where} ({len(asked)} rights)")


def _of_plan(subject: Subject) -> Iterator[Right]:
    for place in subject.namespaces:
        yield from _rights(place, kinds.rules(_models(subject), READ))
        yield from _rights(place, kinds.rules(_inside(subject), READ))
    yield from _rights(ir.SYSTEM_NAMESPACE, [_rule("", "configmaps", READ)])
    if subject.compiled.ground:
        yield from _rights(EVERYWHERE, [_rule("", "namespaces", READ)])


def _of_apply(subject: Subject) -> Iterator[Right]:
    handed = kinds.HANDED_ON if _has_argo(subject) else ()
    for place in subject.namespaces:
        yield from _rights(place, kinds.rules(_models(subject), kinds.WRITE))
        yield from _rights(place, kinds.rules(_inside(subject), kinds.WRITE))
        yield from _rights(place, [*handed, *kinds.rules(kinds.LOOKED_AT, kinds.READ)])
    yield from _rights(ir.SYSTEM_NAMESPACE, [_rule("", "configmaps", kinds.WRITE)])
    if subject.compiled.ground:
        verbs = tuple(verb for verb in kinds.WRITE if verb != "delete")
        yield from _rights(EVERYWHERE, [_rule("", "namespaces", verbs)])


def _of_reconcile(subject: Subject) -> Iterator[Right]:
    """As its own manifests grant it."""
    environment = subject.environment
    account = environment.apply.account
    made = Reconciler(environment=environment.name, repository="https://git.example/r", image="x", account=account)
    for manifest in render_reconciler(made):
        if manifest.kind in ("Role", "ClusterRole"):
            place = manifest.namespace if manifest.kind == "Role" else EVERYWHERE
            rules = [rule for rule in manifest.object["rules"] if _has_argo(subject) or rule["apiGroups"] != [ARGO]]
            yield from _rights(place or EVERYWHERE, rules)


def _models(subject: Subject) -> list[kinds.Kind]:
    return [each for each in kinds.MODELS if each.group != ARGO or _has_argo(subject)]


def _inside(subject: Subject) -> list[kinds.Kind]:
    """Of the platform, in tenants' namespaces: where this environment makes them."""
    return [each for each in kinds.PLATFORM if each.kind != "Namespace"] if subject.compiled.ground else []


def _has_argo(subject: Subject) -> bool:
    return "argo-workflows" in subject.environment.capabilities


def _rule(group: str, resource: str, verbs: Iterable[str]) -> kinds.Rule:
    return {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}


def _rights(place: str, rules: Iterable[kinds.Rule]) -> Iterator[Right]:
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    for name in rule.get("resourceNames") or [""]:
                        yield Right(place, group, resource, verb, name)


def _listed(missing: list[Right]) -> str:
    """`create, patch deployments.apps; get pods/log`."""
    verbs: dict[str, list[str]] = {}
    for right in missing:
        verbs.setdefault(right.kind, []).append(right.verb)
    by_verbs: dict[str, list[str]] = {}
    for kind, named in verbs.items():
        by_verbs.setdefault(", ".join(named), []).append(kind)
    return "; ".join(f"{named} {', '.join(found)}" for named, found in by_verbs.items())


_NEEDED = {Purpose.PLAN: _of_plan, Purpose.APPLY: _of_apply, Purpose.RECONCILE: _of_reconcile}
