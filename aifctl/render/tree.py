"""Where a manifest lies in the repository: `rendered/<env>/<namespace>/<model>/{setup,run,serve}/<kind>-<name>.yaml`.

One object a file, kinds in lower case, the group in the name where two kinds would meet. Objects of no model (those of
tenants and of the whole cluster) are below `rendered/<env>/_cluster/`. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

from aifctl.diagnostics import Diagnostic, Report
from aifctl.manifest import Manifest
from aifctl.render.ownership import COMPONENT, MODEL

ROOT = "rendered"
COMPONENTS = ("setup", "run", "serve")
CLUSTER = "_cluster"
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def tree(manifests: Iterable[Manifest], environment: str) -> dict[str, bytes]:
    """File contents by path relative to the repository, posix form.

    Raises Report: AIF501 (two manifests, one object), AIF506 (a value that YAML for Kubernetes has no place for),
    AIF512 (a name that is no file name).
    """
    found = list(manifests)
    findings: list[Diagnostic] = []
    for identity, count in Counter(manifest.identity for manifest in found).items():
        if count > 1:
            findings.append(Diagnostic("AIF501", f"{identity} is rendered {count} times"))
    places = [_parts(manifest, environment, "") for manifest in found]
    meeting = Counter(places)
    files: dict[str, bytes] = {}
    for manifest, place in zip(found, places, strict=True):
        parts = place if meeting[place] == 1 else _parts(manifest, environment, manifest.group)
        findings += _unfit(parts, manifest)
        try:
            files["/".join(parts)] = manifest.to_yaml().encode()
        except ValueError as error:
            findings.append(Diagnostic("AIF506", f"{manifest.identity} can't be written as YAML: {error}"))
    if findings:
        raise Report(*dict.fromkeys(findings))
    return files


def model_folder(environment: str, namespace: str, model: str) -> str:
    return f"{ROOT}/{environment}/{namespace}/{model}"


def _parts(manifest: Manifest, environment: str, group: str) -> tuple[str, ...]:
    kind = manifest.kind.lower()
    name = f"{kind}.{group}-{manifest.name}.yaml" if group else f"{kind}-{manifest.name}.yaml"
    labels, namespace = manifest.labels, manifest.namespace
    if namespace and MODEL in labels and COMPONENT in labels:
        return (ROOT, environment, namespace, labels[MODEL], labels[COMPONENT], name)
    return (ROOT, environment, CLUSTER, *([namespace] if namespace else []), name)


def _unfit(parts: tuple[str, ...], manifest: Manifest) -> list[Diagnostic]:
    bad = [part for part in parts if part != CLUSTER and not is_segment(part)]
    return [
        Diagnostic("AIF512", f"`{part}` can't be the name of a file or folder ({manifest.identity})") for part in bad
    ]


@lru_cache(maxsize=1 << 14)
def is_segment(text: str) -> bool:
    return len(text) <= 255 and _SEGMENT.fullmatch(text) is not None
