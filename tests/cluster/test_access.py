"""How a cluster is reached: kubeconfigs as people have them, a pod's own account, a login plug-in run for real."""

from __future__ import annotations

import base64
import os
import ssl
from pathlib import Path
from typing import Any

import pytest
import yaml

from aifctl.cluster import access
from aifctl.diagnostics import Report
from tests.controlplane import certificates

SERVER = "https://10.0.0.1:6443"


def written(path: Path, **parts: Any) -> Path:
    """A kubeconfig with one cluster, user and context, all named `one`, and what `parts` put in their places."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "one", "cluster": {"server": SERVER, **parts.get("cluster", {})}}],
        "users": [{"name": "one", "user": parts.get("user", {"token": "secret"})}],
        "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one", **parts.get("context", {})}}],
        "current-context": "one",
        **{key: value for key, value in parts.items() if key not in ("cluster", "user", "context")},
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(document))
    return path


def refused(context: str | None, kubeconfig: Path) -> tuple[str, str]:
    def used() -> None:
        found = access.find(context, str(kubeconfig))
        found.headers()
        found.tls()

    with pytest.raises(Report) as caught:
        used()
    (finding,) = caught.value.diagnostics
    return finding.code, finding.message


def test_a_plain_kubeconfig(tmp_path: Path) -> None:
    found = access.find(kubeconfig=str(written(tmp_path / "config", context={"namespace": "vision"})))
    assert (found.server, found.context, found.namespace) == (SERVER, "one", "vision")
    assert found.headers() == {"Authorization": "Bearer secret"}
    assert access.find(kubeconfig=str(written(tmp_path / "c", cluster={"server": SERVER + "/"}))).server == SERVER


def test_files_are_merged_and_the_first_of_a_name_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = written(tmp_path / "first", user={"token": "first"}, contexts=[], **{"current-context": ""})
    second = written(tmp_path / "second", user={"token": "second"}, cluster={"server": "https://other"})
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join([str(tmp_path / "absent"), str(first), "", str(second)]))
    found = access.find()
    assert (found.context, found.server, found.token) == ("one", SERVER, "first")


def test_a_context_is_chosen_by_name(tmp_path: Path) -> None:
    more = [{"name": name, "context": {"cluster": "one", "user": "one", "namespace": name}} for name in ("lab", "prod")]
    config = written(tmp_path / "config", contexts=more, **{"current-context": "lab"})
    assert access.find(kubeconfig=str(config)).namespace == "lab"
    assert access.find("prod", str(config)).namespace == "prod"
    code, message = refused("stage", config)
    assert code == "AIF701"
    assert "`stage`" in message
    config = written(tmp_path / "config", contexts=more, **{"current-context": ""})
    assert "no current context" in refused(None, config)[1]


def test_files_are_named_from_where_the_kubeconfig_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    authority = certificates.authority(home)
    pair = certificates.server(authority, home, "client")
    (home / "token").write_text("from-a-file\n")
    config = written(
        home / "config",
        cluster={"certificate-authority": "ca.crt"},
        user={"tokenFile": "token", "client-certificate": "client.crt", "client-key": "client.key"},
    )
    monkeypatch.chdir(tmp_path)
    found = access.find(kubeconfig=str(config.relative_to(tmp_path)))
    assert found.ca == authority.pem.decode()
    assert found.certificate == (pair.pem.decode(), pair.key.read_text())
    assert found.headers() == {"Authorization": "Bearer from-a-file"}
    (home / "token").write_text("rotated")
    assert found.headers() == {"Authorization": "Bearer rotated"}
    tls = found.tls()
    assert isinstance(tls, ssl.SSLContext)
    assert tls.verify_mode is ssl.CERT_REQUIRED
    (home / "token").unlink()
    with pytest.raises(Report, match="AIF702"):
        found.headers()


def test_what_is_inline_goes_before_files_and_insecure_is_only_what_says_so(tmp_path: Path) -> None:
    authority = certificates.authority(tmp_path)
    data = base64.b64encode(authority.pem).decode()
    cluster = {"certificate-authority-data": data, "certificate-authority": "absent", "tls-server-name": "kubernetes"}
    found = access.find(kubeconfig=str(written(tmp_path / "config", cluster=cluster)))
    assert found.ca == authority.pem.decode()
    assert found.server_name == "kubernetes"
    insecure = access.find(kubeconfig=str(written(tmp_path / "config", cluster={"insecure-skip-tls-verify": True})))
    tls = insecure.tls()
    assert isinstance(tls, ssl.SSLContext)
    assert tls.verify_mode is ssl.CERT_NONE


def test_a_kubeconfig_that_acts_as_somebody_else(tmp_path: Path) -> None:
    user = {"username": "ann", "password": "pa:ss", "as": "deployer", "as-groups": ["vision", "robots"]}
    found = access.find(kubeconfig=str(written(tmp_path / "config", user=user)))
    assert found.headers() == {"Authorization": "Basic " + base64.b64encode(b"ann:pa:ss").decode()}
    assert (found.user, found.groups) == ("deployer", ("vision", "robots"))


BAD = {
    "a-list": ("- a\n- b\n", "no kubeconfig"),
    "no-yaml": ("a: [1\nb: }", "no YAML"),
    "bytes": (b"\xff\xfe\x00a", "no YAML|codec|can't decode"),
    "tag": ("!!python/object:os.system {}", "no kubeconfig"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_is_no_kubeconfig(tmp_path: Path, case: str) -> None:
    text, said = BAD[case]
    config = tmp_path / "config"
    config.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(Report, match=said) as caught:
        access.find(kubeconfig=str(config))
    assert [found.code for found in caught.value.diagnostics] == ["AIF702"]


@pytest.mark.parametrize(
    "parts",
    [
        {"cluster": {"certificate-authority-data": "no base64!"}},
        {"cluster": {"certificate-authority-data": 7}},
        {"cluster": {"certificate-authority-data": base64.b64encode(b"\xff\xfe").decode()}},
        {"cluster": {"certificate-authority-data": base64.b64encode(b"no certificate").decode()}},
        {"cluster": {"certificate-authority-data": base64.b64encode("käse".encode()).decode()}},
        {"cluster": {"certificate-authority": "absent.crt"}},
        {"cluster": {"server": None}},
        {"cluster": {"server": "10.0.0.1:6443"}},
        {"cluster": {"server": ["https://a"]}},
        {"cluster": {"proxy-url": "socks5://localhost:1080"}},
        {"context": {"cluster": "other"}},
        {"context": {"cluster": ["one"]}},
        {"user": {"token": "two\nlines"}},
        {"user": {"token": "schlüssel"}},
        {"user": {"tokenFile": "absent"}},
        {"user": {"client-certificate-data": "x", "client-key-data": "y"}},
        {"user": {"exec": {"command": "no-such-plug-in", "apiVersion": "client.authentication.k8s.io/v1"}}},
        {"user": {"exec": "nonsense"}},
    ],
    ids=str,
)  # fmt: skip
def test_credentials_that_cannot_be_used(tmp_path: Path, parts: dict[str, Any]) -> None:
    assert refused(None, written(tmp_path / "config", **parts))[0] == "AIF702"


def test_nothing_to_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    for kubeconfig in (None, str(tmp_path / "gone")):
        with pytest.raises(Report, match="AIF700"):
            access.find(kubeconfig=kubeconfig)
    empty = tmp_path / "empty"
    empty.write_text("")
    assert refused(None, empty)[0] == "AIF701"


def test_the_account_of_a_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    authority = certificates.authority(tmp_path)
    (tmp_path / "token").write_text("mine")
    with pytest.raises(Report, match="AIF702"):
        access.find()
    (tmp_path / "namespace").write_text("aif-system\n")
    found = access.find()
    assert (found.server, found.namespace, found.ca) == ("https://[fd00::1]:6443", "aif-system", authority.pem.decode())
    assert found.headers() == {"Authorization": "Bearer mine"}


PLUG_IN = """#!/bin/sh
[ "$MODE" = broken ] && {{ echo "log in first" >&2; exit 1; }}
[ "$MODE" = strange ] && {{ echo "<html>"; exit 0; }}
echo '{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"token":"of-'"$MODE"'"}}}}'
"""


def plugged_in(folder: Path, mode: str) -> Path:
    script = folder / "login"
    script.write_text(PLUG_IN.format())
    script.chmod(0o755)
    run = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": str(script),
        "interactiveMode": "Never",
        "env": [{"name": "MODE", "value": mode}],
    }
    return written(folder / "config", user={"exec": run}, context={"namespace": "vision"})


def test_a_login_plug_in_is_run(tmp_path: Path) -> None:
    found = access.find(kubeconfig=str(plugged_in(tmp_path, "ann")))
    assert found.headers() == {"Authorization": "Bearer of-ann"}
    assert (found.server, found.namespace) == (SERVER, "vision")


@pytest.mark.parametrize(("mode", "said"), [("broken", "log in first"), ("strange", "failed to decode")])
def test_a_login_plug_in_that_gives_nothing(tmp_path: Path, mode: str, said: str) -> None:
    code, message = refused(None, plugged_in(tmp_path, mode))
    assert code == "AIF702"
    assert said in message
