"""Reads a rendered tree back into manifests: the base a plan compares with. Pure: the caller reads disk or Git.

The tree is `<environment>/<namespace>/<model>/<part>/<kind>-<name>.yaml`, one object a file. `_gitops/` (what hands the
tree to Argo CD or Flux) is an environment of its own. Files are read by YAML 1.2's core rules.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml
import yaml12

from aifctl.diagnostics import Diagnostic, Severity, Where
from aifctl.manifest import Identity, Manifest
from aifctl.plan.quoting import printable

LARGEST = 8 << 20
"""Bytes. An object of the API server's is at most 1.5 MiB of JSON."""
SUFFIX = ".yaml"
MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "aifctl"
_MAYBE_ALIAS = re.compile(r"(?:^|[\s\[{,:?-])\*[^\s*]", re.MULTILINE)
HINT = "write the tree again with `aifctl render`"


@dataclass(frozen=True, slots=True)
class Baseline:
    environments: Mapping[str, tuple[Manifest, ...]]
    """Environment → its objects, both in the order of their names."""
    paths: Mapping[tuple[str, Identity], str]
    """Where each object lies, relative to the tree."""
    diagnostics: tuple[Diagnostic, ...] = ()


def parse_tree(files: Mapping[str, bytes], root: str = "rendered") -> Baseline:
    """The objects of a tree given as {posix path below it: bytes}; what can't be read becomes a diagnostic.

    `root` is put before the paths in diagnostics. AIF602 is a warning, AIF601, AIF603 and AIF604 are errors: a plan
    without that file would miss a change.
    """
    environments: dict[str, list[Manifest]] = {}
    paths: dict[tuple[str, Identity], str] = {}
    found: list[Diagnostic] = []
    for path in sorted(files):
        read = _read(path, files[path], f"{root}/{path}" if root else path)
        if isinstance(read, Diagnostic):
            found.append(read)
            continue
        environment = path.split("/", 1)[0]
        first = paths.setdefault((environment, read.identity), path)
        if first != path:
            message = f"{printable(str(read.identity))} is in `{printable(first)}` too"
            found.append(_diagnostic("AIF604", message, f"{root}/{path}" if root else path))
            continue
        environments.setdefault(environment, []).append(read)
    return Baseline({name: tuple(manifests) for name, manifests in environments.items()}, paths, tuple(found))


def _read(path: str, data: bytes, shown: str) -> Manifest | Diagnostic:
    if not path.endswith(SUFFIX) or "/" not in path:
        return _foreign("not a file that aifctl writes", shown)
    if len(data) > LARGEST:
        return _diagnostic("AIF601", f"the file is larger than {LARGEST >> 20} MiB", shown)
    try:
        documents = _documents(data)
    except ValueError as error:
        return _diagnostic("AIF601", f"not readable YAML: {printable(str(error))}", shown)
    if len(documents) != 1:
        return _diagnostic("AIF603", f"holds {len(documents)} documents, not one", shown)
    if not isinstance(documents[0], dict):
        return _diagnostic("AIF603", "is no mapping", shown)
    if odd := _oddity(documents[0]):
        return _diagnostic("AIF603", odd, shown)
    return _manifest(documents[0], shown)


def _manifest(found: dict[str, Any], shown: str) -> Manifest | Diagnostic:
    try:
        manifest = Manifest(found)
    except ValueError as error:
        return _diagnostic("AIF603", str(error), shown)
    for field in ("labels", "annotations"):
        if not isinstance(manifest.metadata.get(field, {}), dict):
            return _diagnostic("AIF603", f"metadata.{field} is no mapping", shown)
    if not isinstance(manifest.metadata.get("namespace", ""), str):
        return _diagnostic("AIF603", "metadata.namespace is no text", shown)
    if manifest.labels.get(MANAGED_BY) != MANAGER:
        return _foreign(f"the object has no label `{MANAGED_BY}: {MANAGER}`", shown)
    return manifest


def _documents(data: bytes) -> list[Any]:
    """Raises ValueError (UnicodeDecodeError is one) for bytes that are no YAML, or that hold aliases."""
    text = data.decode("utf-8")
    if "\0" in text:
        raise ValueError("it holds a NUL character")
    # The canonical writer makes none; nested ones can stand for gigabytes.
    if "*" in text and _MAYBE_ALIAS.search(text) and _has_alias(text):
        raise ValueError("it holds an alias (`*name`)")
    documents: list[Any] = yaml12.parse_yaml(text, multi=True)
    return documents


def _has_alias(text: str) -> bool:
    """Looks at the events only, so that no alias is followed. Raises ValueError for what PyYAML can't read."""
    try:
        return any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.CSafeLoader))
    except yaml.YAMLError as error:
        raise ValueError(getattr(error, "problem", None) or "bad syntax") from error


def _oddity(document: dict[str, Any]) -> str | None:
    """What JSON has no place for: tags, keys that are no text, infinities."""
    left: list[Any] = [document]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            for key in value:
                if type(key) is not str:
                    return f"has a key that is no text: {printable(repr(key))[:60]}"
            left += [item for item in value.values() if type(item) is not str]
        elif isinstance(value, list):
            left += [item for item in value if type(item) is not str]
        elif isinstance(value, float) and not math.isfinite(value):
            return f"holds {value}, which JSON does not have"
        elif isinstance(value, yaml12.Yaml):
            return f"holds the tag `{printable(str(value.tag))[:60]}`"
    return None


def _foreign(message: str, shown: str) -> Diagnostic:
    hint = "keep own files outside the rendered tree"
    return Diagnostic("AIF602", message, hint, Where(printable(shown)), severity=Severity.WARNING)


def _diagnostic(code: str, message: str, shown: str) -> Diagnostic:
    return Diagnostic(code, message, HINT, Where(printable(shown)))
