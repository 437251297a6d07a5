"""`pod_defaults` that the environment's Pod Security level allows, and that do not meet what aifctl puts into pods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from aifctl.checks.subject import Subject, listed
from aifctl.diagnostics import Diagnostic

RESTRICTED = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)
"""Volumes that Pod Security `restricted` allows: https://kubernetes.io/docs/concepts/security/pod-security-standards/"""
OUR_VOLUMES = frozenset({"tmp", "work", "code", "shm", "steps"})
TMP = PurePosixPath("/tmp")
"""An empty folder of each pod: a runtime mounts deeper paths later, so what has a place below it is seen there."""
OUR_PATHS = tuple(map(PurePosixPath, ("/aif", "/tmp", "/dev/shm", "/dev/termination-log", "/var/run/secrets")))
OUR_VARIABLES = "AIF_"


def check(subject: Subject) -> Iterator[Diagnostic]:
    defaults = subject.environment.pod_defaults
    if subject.environment.local:
        return
    for index, volume in enumerate(defaults.volumes):
        yield from _volume(subject, index, volume, [other.get("name") for other in defaults.volumes[:index]])
    names = {name for volume in defaults.volumes if isinstance(name := volume.get("name"), str)}
    for index, mount in enumerate(defaults.volume_mounts):
        yield from _mount(subject, index, mount, names)
    for name in defaults.env:
        if name.startswith(OUR_VARIABLES):
            hint = f"choose a name that does not start with `{OUR_VARIABLES}`"
            where = subject.at_environment("pod_defaults", "env", name, on_key=True)
            yield Diagnostic("AIF377", f"variable `{name}` is aifctl's own", hint, where)


def _volume(subject: Subject, index: int, volume: Mapping[str, Any], earlier: list[Any]) -> Iterator[Diagnostic]:
    path = ("pod_defaults", "volumes", index)
    name = volume.get("name")
    sources = [key for key in volume if key != "name"]
    if not isinstance(name, str) or len(sources) != 1:
        hint = "write it as a manifest does: `{name: ca, configMap: {name: ca}}`"
        yield Diagnostic("AIF377", "a volume has a `name` and one source", hint, subject.at_environment(*path))
        return
    if name in OUR_VOLUMES or name in earlier:
        said = "is one of aifctl's own" if name in OUR_VOLUMES else "is there twice"
        where = subject.at_environment(*path, "name")
        yield Diagnostic("AIF377", f"volume `{name}` {said}", "choose another name", where)
    yield from _forbidden(subject, path, sources[0])


def _forbidden(subject: Subject, path: tuple[str | int, ...], source: str) -> Iterator[Diagnostic]:
    level = subject.environment.pod_security
    refused = source == "hostPath" if level == "baseline" else source not in RESTRICTED
    if level != "privileged" and refused:
        hint = "use a PersistentVolumeClaim; or, where the namespace allows it, `pod_security: privileged`"
        if level == "restricted" and source != "hostPath":
            hint = f"the level allows {listed(sorted(RESTRICTED))}"
        message = f"Pod Security `{level}` does not allow volumes of kind `{source}`"
        yield Diagnostic("AIF376", message, hint, subject.at_environment(*path, source, on_key=True))


def _mount(subject: Subject, index: int, mount: Mapping[str, Any], names: set[str]) -> Iterator[Diagnostic]:
    path = ("pod_defaults", "volume_mounts", index)
    name, target = mount.get("name"), mount.get("mountPath")
    if not isinstance(name, str) or not isinstance(target, str):
        hint = "write it as a manifest does: `{name: ca, mountPath: /etc/ca}`"
        yield Diagnostic("AIF377", "a mount has a `name` and a `mountPath`", hint, subject.at_environment(*path))
        return
    if name not in names:
        hint = f"volumes are {listed(sorted(names))}" if names else "add it to `volumes`"
        yield Diagnostic("AIF377", f"there is no volume `{name}`", hint, subject.at_environment(*path, "name"))
    if reason := _bad_path(subject, index, target):
        where = subject.at_environment(*path, "mountPath")
        yield Diagnostic("AIF377", f"`{target}` {reason}", "mount it elsewhere", where)


def _bad_path(subject: Subject, index: int, target: str) -> str | None:
    path = PurePosixPath(target)
    if not path.is_absolute() or ".." in path.parts or path == PurePosixPath("/"):
        return "is no absolute path of a folder"
    below = [own for own in OUR_PATHS if path == own or (path.is_relative_to(own) and own != TMP)]
    if below or any(own.is_relative_to(path) for own in OUR_PATHS):
        return "is a place that aifctl or the kubelet mounts"
    earlier = subject.environment.pod_defaults.volume_mounts[:index]
    return "is mounted twice" if target in [other.get("mountPath") for other in earlier] else None
