"""Where a manifest lies in the repository: `rendered/<env>/<namespace>/<model>/{setup,run,serve}/<kind>-<name>.yaml`.

One object a file, kinds in lower case, the group in the name where two kinds would meet. Objects of no model (those of
tenants and of the whole cluster) are below `rendered/<env>/_cluster/`. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

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
    meeting = Counter(_path(manifest, environment, "") for manifest in found)
    files: dict[str, bytes] = {}
    for manifest in found:
        group = manifest.group if meeting[_path(manifest, environment, "")] > 1 else ""
        path = _path(manifest, environment, group)
        findings += _unfit(path, manifest)
        try:
            files[path] = manifest.to_yaml().encode()
        except ValueError as error:
            findings.append(Diagnostic("AIF506", f"{manifest.identity} can't be written as YAML: {error}"))
    if findings:
        raise Report(*dict.fromkeys(findings))
    return files


def model_folder(environment: str, namespace: str, model: str) -> str:
    return f"{ROOT}/{environment}/{namespace}/{model}"


def _path(manifest: Manifest, environment: str, group: str) -> str:
    kind = manifest.kind.lower()
    name = f"{kind}.{group}-{manifest.name}.yaml" if group else f"{kind}-{manifest.name}.yaml"
    labels, namespace = manifest.labels, manifest.namespace
    if namespace and MODEL in labels and COMPONENT in labels:
        return f"{model_folder(environment, namespace, labels[MODEL])}/{labels[COMPONENT]}/{name}"
    return f"{ROOT}/{environment}/{CLUSTER}/{namespace + '/' if namespace else ''}{name}"


def _unfit(path: str, manifest: Manifest) -> list[Diagnostic]:
    bad = [part for part in path.split("/") if part != CLUSTER and (len(part) > 255 or not _SEGMENT.fullmatch(part))]
    return [
        Diagnostic("AIF512", f"`{part}` can't be the name of a file or folder ({manifest.identity})") for part in bad
    ]
