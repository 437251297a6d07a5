from __future__ import annotations

from typing import Any

import pytest

from tests.checks.conftest import IMAGES, LAB, Setting

HOST = {"volumes": [{"name": "nfs", "hostPath": {"path": "/mnt/nfs"}}]}
NFS = {"volumes": [{"name": "nfs", "nfs": {"server": "nas", "path": "/"}}]}
CLAIM = {"volumes": [{"name": "nfs", "persistentVolumeClaim": {"claimName": "nfs"}}]}
FITS = {**CLAIM, "volume_mounts": [{"name": "nfs", "mountPath": "/data"}], "env": {"HTTPS_PROXY": "http://proxy:1"}}


def findings(setting: Setting, level: str, defaults: dict[str, Any]) -> list[tuple[str, tuple[Any, ...]]]:
    setting.platform = {"environments": [{**LAB, "pod_security": level, "pod_defaults": defaults}], "images": IMAGES}
    found = setting.findings("lab")
    assert all(each.where is not None and each.where.file == "platform.yaml" for each in found)
    return [(each.code, each.where.path[4:]) for each in found if each.where is not None]


@pytest.mark.parametrize(
    ("level", "defaults", "refused"),
    [
        ("restricted", CLAIM, None), ("restricted", NFS, "nfs"), ("restricted", HOST, "hostPath"),
        ("baseline", NFS, None), ("baseline", HOST, "hostPath"), ("privileged", HOST, None), ("restricted", FITS, None),
    ],
)  # fmt: skip
def test_pod_security_decides_on_kinds_of_volumes(
    setting: Setting, level: str, defaults: dict[str, Any], refused: str | None
) -> None:
    expected = [] if refused is None else [("AIF376", ("volumes", 0, refused))]
    assert findings(setting, level, defaults) == expected


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"volumes": [{"name": "a"}]}, ("volumes", 0)),
        ({"volumes": [{"configMap": {"name": "a"}}]}, ("volumes", 0)),
        ({"volumes": [{"name": "a", "configMap": {}, "secret": {}}]}, ("volumes", 0)),
        ({"volumes": [{"name": "work", "emptyDir": {}}]}, ("volumes", 0, "name")),
        ({"volumes": [{"name": "a", "emptyDir": {}}] * 2}, ("volumes", 1, "name")),
        ({"volume_mounts": [{"name": "nfs", "mountPath": "/x"}]}, ("volume_mounts", 0, "name")),
        ({**CLAIM, "volume_mounts": [{"name": "nfs"}]}, ("volume_mounts", 0)),
        ({**CLAIM, "volume_mounts": [{"name": "nfs", "mountPath": "data"}]}, ("volume_mounts", 0, "mountPath")),
        ({**CLAIM, "volume_mounts": [{"name": "nfs", "mountPath": "/aif/code"}]}, ("volume_mounts", 0, "mountPath")),
        ({**CLAIM, "volume_mounts": [{"name": "nfs", "mountPath": "/dev"}]}, ("volume_mounts", 0, "mountPath")),
        ({**CLAIM, "volume_mounts": [{"name": "nfs", "mountPath": "/tmp"}]}, ("volume_mounts", 0, "mountPath")),
        ({**CLAIM, "volume_mounts": [{"name": "nfs", "mountPath": "/a"}] * 2}, ("volume_mounts", 1, "mountPath")),
        ({"env": {"AIF_RUN": "x"}}, ("env", "AIF_RUN")),
    ],
)
def test_what_would_not_fit_into_a_pod(setting: Setting, more: dict[str, Any], path: tuple[Any, ...]) -> None:
    assert findings(setting, "restricted", more) == [("AIF377", path)]


def test_a_place_below_tmp_may_be_mounted(setting: Setting) -> None:
    mount = {"name": "nfs", "mountPath": "/tmp/checkout"}
    assert findings(setting, "restricted", {**CLAIM, "volume_mounts": [mount]}) == []
