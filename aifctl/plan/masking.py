"""Keeps secret values out of plans: objects are masked before they are compared, so no view can show one.

Masked are: all of `data` and `stringData` of a Secret; whatever else equals or holds such a value, anywhere in the
plan; and the literal value of an environment variable that comes from a secret on the other side or in another object
(a password moved out of a manifest is still that password).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aifctl.manifest import Manifest
from aifctl.plan.change import Masked

SECRET_FIELDS = ("data", "stringData", "binaryData")
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""kubectl's copy of the whole object."""
FOUND_FROM = 5
"""Shorter values are masked in their Secret only: as text they occur everywhere."""
DIGITS = 10


@dataclass(frozen=True, slots=True)
class Masking:
    salt: bytes
    known: tuple[str, ...] = ()
    """Secret values, as they are and in base64."""
    variables: frozenset[str] = frozenset()
    """Names of environment variables that come from a secret somewhere."""

    def of(self, manifest: Manifest) -> Mapping[str, Any]:
        """The object with its secret values masked; the object itself where it has none."""
        if is_secret(manifest):
            return {key: self._secret_field(key, value) for key, value in manifest.object.items()}
        if not self.known and not self.variables:
            return manifest.object
        masked: Mapping[str, Any] = self._walk(dict(manifest.object))
        return masked

    def _secret_field(self, key: str, value: Any) -> Any:
        if key in SECRET_FIELDS:
            return (
                {name: self.mask(item) for name, item in value.items()} if isinstance(value, dict) else self.mask(value)
            )
        if key == "metadata" and LAST_APPLIED in (value.get("annotations") or {}):
            hidden = {LAST_APPLIED: self.mask(value["annotations"][LAST_APPLIED])}
            value = {**value, "annotations": {**value["annotations"], **hidden}}
        return self._walk(value)

    def _walk(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.mask(value) if any(secret in value for secret in self.known) else value
        if isinstance(value, list | tuple):
            return [self._walk(item) for item in value]
        if not isinstance(value, dict):
            return value
        hide = "value" in value and isinstance(value.get("name"), str) and value["name"] in self.variables
        return {key: self.mask(item) if hide and key == "value" else self._walk(item) for key, item in value.items()}

    def mask(self, value: Any) -> Masked:
        text = json.dumps(value, sort_keys=True, default=str)
        return Masked(hmac.new(self.salt, text.encode(), hashlib.sha256).hexdigest()[:DIGITS])


def masking(manifests: Iterable[Manifest], changed: Iterable[Manifest], salt: bytes) -> Masking:
    """What is secret: values of every Secret in `manifests`, variables from secrets in the `changed` ones."""
    values = {text for manifest in manifests if is_secret(manifest) for text in _secret_values(manifest.object)}
    variables = frozenset(name for manifest in changed for name in _from_secrets(dict(manifest.object)))
    return Masking(salt, tuple(sorted(values)), variables)


def is_secret(manifest: Manifest) -> bool:
    """A Secret of the core group. An ExternalSecret or SealedSecret holds no plain value."""
    return manifest.object["kind"] == "Secret" and manifest.group == ""


def _secret_values(found: Mapping[str, Any]) -> Iterator[str]:
    for field in SECRET_FIELDS:
        for text in _texts(found.get(field)):
            yield from _forms(text, encoded=field != "stringData")


def _forms(text: str, *, encoded: bool) -> Iterator[str]:
    """A value as text and as base64, and its lines: a key file may be quoted one line at a time."""
    other = _decoded(text) if encoded else base64.b64encode(text.encode("utf-8", "surrogatepass")).decode("ascii")
    for form in (text, other):
        for part in {form, form.strip(), *form.splitlines()}:
            if len(part.strip()) >= FOUND_FROM:
                yield part


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode("utf-8", "ignore")
    except (binascii.Error, ValueError):
        return ""


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _from_secrets(found: dict[str, Any]) -> Iterator[str]:
    """Names in `{name: X, valueFrom: {secretKeyRef: …}}`, at any depth."""
    left: list[Any] = [found]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            source = value.get("valueFrom")
            if isinstance(source, dict) and "secretKeyRef" in source and isinstance(value.get("name"), str):
                yield value["name"]
            left += [item for item in value.values() if type(item) is not str]
        elif isinstance(value, list | tuple):
            left += [item for item in value if type(item) is not str]
