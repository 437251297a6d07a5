"""Storage that pods of an environment ask for: classes, and the claims that `pod_defaults` names."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aifctl.delivery.doctor.answer import Answer, doubt, good, wrong
from aifctl.delivery.doctor.subject import Subject

CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
DEFAULT = "storageclass.kubernetes.io/is-default-class"
JSON = "application/json"


async def classes(subject: Subject) -> AsyncIterator[Answer]:
    found, _ = await subject.client.items(CLASSES)
    names = sorted(each["metadata"]["name"] for each in found)
    default = sorted(
        each["metadata"]["name"] for each in found if (each["metadata"].get("annotations") or {}).get(DEFAULT) == "true"
    )
    if not found:
        yield doubt("AIF799", "there is no storage class", "install one: claims for volumes would wait for ever")
    elif not default:
        hint = f"annotate one with `{DEFAULT}=true`: a claim that names no class would wait for ever"
        yield doubt("AIF799", f"none of the storage classes is the default: {', '.join(names)}", hint)
    elif len(default) > 1:
        hint = "keep one: the newest counts, which may change by an upgrade"
        yield doubt("AIF799", f"several storage classes are the default: {', '.join(default)}", hint)
    else:
        yield good(f"{', '.join(names)}; {default[0]} is the default")


async def claims(subject: Subject) -> AsyncIterator[Answer]:
    volumes = subject.environment.pod_defaults.volumes
    named = [volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume]
    for namespace in subject.namespaces if named else ():
        for name in sorted(named):
            path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}"
            live = await subject.found(path, JSON)
            phase = ((live or {}).get("status") or {}).get("phase")
            if live is None:
                hint = "create it: every pod of the environment mounts it by `pod_defaults`"
                yield wrong("AIF799", f"claim {name} is not in {namespace}", hint)
            elif phase == "Lost":
                yield wrong("AIF799", f"claim {name} in {namespace} has lost its volume", "restore the volume")
            else:
                yield good(f"claim {name} in {namespace} is {phase}")
