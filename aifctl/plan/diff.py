"""Difference of two sets of manifests as a `ChangeSet`. Pure: where the manifests come from is the caller's business.

Run objects (Argo Workflows, Jobs that drive a run) are created once, never patched and never pruned, and their name
holds their content's digest. So an old run that a new one takes the place of is one change, "new run", and a run that
is no longer rendered is none: it is left to finish.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aifctl.manifest import Identity, Manifest
from aifctl.plan.change import Action, Change, ChangeSet, FieldChange, Op, joined, show_path
from aifctl.plan.fields import field_changes, same
from aifctl.plan.masking import Masking, masking

MODEL_LABELS = ("aif.dev/model", "app.kubernetes.io/name")
ENVIRONMENT_LABELS = ("aif.dev/environment",)
COMPONENT_LABEL = "app.kubernetes.io/component"
SYNC_OPTIONS = "argocd.argoproj.io/sync-options"

IMMUTABLE: dict[tuple[str, str], tuple[tuple[str, ...], ...]] = {
    # https://kubernetes.io/docs/reference/kubernetes-api/: what the API server's validation refuses to update
    ("apps", "Deployment"): (("spec", "selector"),),
    ("apps", "DaemonSet"): (("spec", "selector"),),
    ("apps", "StatefulSet"): (
        ("spec", "selector"),
        ("spec", "serviceName"),
        ("spec", "podManagementPolicy"),
        ("spec", "volumeClaimTemplates"),
    ),
    ("batch", "Job"): (("spec", "selector"), ("spec", "template"), ("spec", "completionMode")),
    ("rbac.authorization.k8s.io", "RoleBinding"): (("roleRef",),),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): (("roleRef",),),
    ("", "PersistentVolumeClaim"): (("spec", "accessModes"), ("spec", "storageClassName"), ("spec", "volumeName")),
    ("storage.k8s.io", "StorageClass"): (("provisioner",), ("parameters",), ("reclaimPolicy",)),
    ("scheduling.k8s.io", "PriorityClass"): (("value",), ("preemptionPolicy",)),
}
"""(group, kind) → fields that can't be changed in place."""
FROZEN_DATA = (("data",), ("binaryData",), ("stringData",), ("immutable",))
"""Of a ConfigMap or Secret with `immutable: true`."""

LEFT = "no longer rendered; a run is never pruned, it is left to finish"
KEPT = "no longer rendered, but marked not to be pruned"
NOT_PATCHED = "a run is created once and never patched: one that exists stays as it is"


def diff(
    before: Iterable[Manifest], after: Iterable[Manifest], environment: str = "", salt: bytes | None = None
) -> ChangeSet:
    """What turns the objects of one environment into the others.

    `environment` is for objects that do not say it in a label. `salt` keys the digests of secret values; without it
    they differ from plan to plan. Raises ValueError if one side holds an object twice.
    """
    old, new = _by_identity(before), _by_identity(after)
    pairs = list(_pairs(old, new))
    changed = [pair for pair in pairs if not pair.is_same]
    masks = masking(
        (*old.values(), *new.values()),
        (manifest for pair in changed for manifest in (pair.before, pair.after) if manifest),
        secrets.token_bytes(16) if salt is None else salt,
    )
    found = [(pair, _change(pair, masks, environment)) for pair in pairs]
    found.sort(key=lambda entry: (entry[1].environment, entry[1].model, entry[0].either.order))
    return ChangeSet(tuple(change for _, change in found))


def diff_environments(
    before: Mapping[str, Iterable[Manifest]], after: Mapping[str, Iterable[Manifest]], salt: bytes | None = None
) -> ChangeSet:
    """`diff` of each environment, by its name: two of them may hold objects of one identity, in two clusters."""
    salt = secrets.token_bytes(16) if salt is None else salt
    names = sorted({*before, *after})
    return joined(diff(before.get(name, ()), after.get(name, ()), name, salt) for name in names)


def model_of(manifest: Manifest) -> str:
    """Name of the model an object belongs to, empty for none."""
    return _label(manifest, MODEL_LABELS)


def environment_of(manifest: Manifest, otherwise: str = "") -> str:
    return _label(manifest, ENVIRONMENT_LABELS) or otherwise


def is_run(manifest: Manifest) -> bool:
    """Created once under a name that holds its digest: an Argo Workflow, a Job that is labelled as a run's driver.

    A CronWorkflow or CronJob is an object like others.
    """
    if (manifest.group, manifest.kind) == ("batch", "Job"):
        return manifest.labels.get(COMPONENT_LABEL) == "run"
    return (manifest.group, manifest.kind) == ("argoproj.io", "Workflow")


@dataclass(frozen=True, slots=True)
class _Pair:
    before: Manifest | None
    after: Manifest | None
    is_same: bool

    @property
    def either(self) -> Manifest:
        found = self.after or self.before
        assert found is not None
        return found


def _by_identity(manifests: Iterable[Manifest]) -> dict[Identity, Manifest]:
    found: dict[Identity, Manifest] = {}
    for manifest in manifests:
        if found.setdefault(manifest.identity, manifest) is not manifest:
            raise ValueError(f"{manifest.identity} is there twice")
    return found


def _pairs(old: Mapping[Identity, Manifest], new: Mapping[Identity, Manifest]) -> Iterator[_Pair]:
    """Old and new of each identity; an old run and the new one of its model are a pair under two names."""
    successors = _successors(old, new)
    taken = set(successors.values())
    for identity, before in old.items():
        after = new.get(identity)
        if after is not None:
            yield _Pair(before, after, same(dict(before.object), dict(after.object)))
        elif identity in successors:
            yield _Pair(before, new[successors[identity]], is_same=False)
        else:
            yield _Pair(before, None, is_same=False)
    for identity, after in new.items():
        if identity not in old and identity not in taken:
            yield _Pair(None, after, is_same=False)


def _successors(old: Mapping[Identity, Manifest], new: Mapping[Identity, Manifest]) -> dict[Identity, Identity]:
    """Old run → new run of the same model, in the order of their names where a model has several."""
    gone = _runs_by_model(manifest for identity, manifest in old.items() if identity not in new)
    come = _runs_by_model(manifest for identity, manifest in new.items() if identity not in old)
    return {
        before: after
        for key in gone.keys() & come.keys()
        for before, after in zip(sorted(gone[key]), sorted(come[key]), strict=False)
    }


def _runs_by_model(manifests: Iterable[Manifest]) -> dict[tuple[str, str, str], list[Identity]]:
    found: dict[tuple[str, str, str], list[Identity]] = {}
    for manifest in manifests:
        if is_run(manifest) and model_of(manifest):
            key = (environment_of(manifest), manifest.namespace, model_of(manifest))
            found.setdefault(key, []).append(manifest.identity)
    return found


def _change(pair: _Pair, masks: Masking, environment: str) -> Change:
    found = pair.either
    action, fields, reason = _what(pair, masks)
    moved = pair.before and pair.after and pair.before.name != pair.after.name
    return Change(
        action=action,
        identity=found.identity,
        model=model_of(found),
        environment=environment_of(found, environment),
        fields=fields,
        reason=reason,
        replaces=pair.before.name if moved and pair.before else "",
    )


def _what(pair: _Pair, masks: Masking) -> tuple[Action, tuple[FieldChange, ...], str]:
    before, after = pair.before, pair.after
    if pair.is_same:
        return Action.UNCHANGED, (), ""
    if after is None:
        assert before is not None
        return _gone(before, masks)
    if before is None:
        reason = "new run" if is_run(after) else "new"
        return Action.CREATE, (FieldChange((), Op.ADD, None, masks.of(after)),), reason
    if before.name != after.name:
        reason = f"new run, replaces {before.name}, which is left to finish"
        return Action.CREATE, (FieldChange((), Op.ADD, None, masks.of(after)),), reason
    fields = tuple(field_changes(dict(masks.of(before)), dict(masks.of(after))))
    if not fields:
        return Action.UNCHANGED, (), ""
    if is_run(after):
        return Action.CHANGE, fields, NOT_PATCHED
    if fixed := _immutable(before, fields):
        verb = "can't be changed in place"
        return Action.REPLACE, fields, f"{', '.join(fixed)} {verb}"
    return Action.CHANGE, fields, ""


def _gone(before: Manifest, masks: Masking) -> tuple[Action, tuple[FieldChange, ...], str]:
    if is_run(before):
        return Action.UNCHANGED, (), LEFT
    if "Prune=false" in str(before.annotations.get(SYNC_OPTIONS, "")).replace(" ", "").split(","):
        return Action.UNCHANGED, (), KEPT
    return Action.DELETE, (FieldChange((), Op.REMOVE, masks.of(before), None),), "no longer rendered"


def _immutable(before: Manifest, fields: Iterable[FieldChange]) -> list[str]:
    fixed = IMMUTABLE.get((before.group, before.kind), ())
    if before.kind in ("ConfigMap", "Secret") and before.object.get("immutable") is True:
        fixed = FROZEN_DATA
    return [show_path(prefix) for prefix in fixed if any(change.path[: len(prefix)] == prefix for change in fields)]


def _label(manifest: Manifest, names: tuple[str, ...]) -> str:
    labels: Any = manifest.labels
    if not isinstance(labels, Mapping):
        return ""
    return next((str(labels[name]) for name in names if labels.get(name)), "")
