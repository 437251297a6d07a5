"""How to reach a cluster and as whom: kubeconfig files, or the account of the pod we run in.

Tokens, certificates and passwords are read here. A login plug-in (`exec`) or an old auth provider is left to the
`kubernetes` package, which takes 0.4 s to import: only who has one pays for it.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aifctl.diagnostics import Diagnostic, Report

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its own account: https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/"""
PLUG_INS = ("exec", "auth-provider")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One cluster and one identity. `token_file` is read anew when a token is refused: accounts' tokens rotate."""

    server: str
    context: str = ""
    ca: str = ""
    """PEM; empty for the machine's own authorities."""
    insecure: bool = False
    server_name: str | None = None
    certificate: tuple[str, str] | None = None
    """PEM of the client's certificate and key."""
    token: str = ""
    token_file: str = ""
    basic: tuple[str, str] | None = None
    user: str = ""
    """Whom to impersonate (`as` of a kubeconfig), with `groups`."""
    groups: tuple[str, ...] = ()
    proxy: str | None = None
    namespace: str = "default"

    def headers(self) -> dict[str, str]:
        """Raises Report (AIF702) when the token's file can't be read."""
        if token := (_read(Path(self.token_file)) if self.token_file else self.token).strip():
            if not token.isprintable() or not token.isascii():
                raise _unusable(self.token_file or self.context or self.server, "what it has for a token is none")
            return {"Authorization": f"Bearer {token}"}
        if self.basic is not None:
            return {"Authorization": "Basic " + base64.b64encode(":".join(self.basic).encode()).decode()}
        return {}

    def tls(self) -> ssl.SSLContext | bool:
        """For an https server. Raises Report (AIF702) for a certificate that is none."""
        if not self.server.startswith("https:"):
            return True
        try:
            context = ssl.create_default_context(cadata=self.ca or None)
            if self.insecure:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if self.certificate is not None:
                _load_certificate(context, *self.certificate)
        except (ssl.SSLError, ValueError, TypeError) as error:
            raise _unusable(self.context or self.server, f"a certificate can't be read: {error}") from None
        return context


def find(context: str | None = None, kubeconfig: str | None = None) -> Access:
    """Access by kubeconfig (`kubeconfig`, else $KUBECONFIG, else ~/.kube/config), else by the pod's own account.

    Raises Report: AIF700 (nothing found), AIF701 (no such context), AIF702 (credentials that can't be used).
    """
    given = kubeconfig or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    paths = [Path(path) for path in given.split(os.pathsep) if path]
    there = [path for path in paths if path.is_file()]
    if kubeconfig is not None and not there:
        raise Report(Diagnostic("AIF700", f"no such kubeconfig: {kubeconfig}"))
    if there:
        return _of_files(there, context)
    if os.environ.get("KUBERNETES_SERVICE_HOST") and (ACCOUNT / "token").is_file():
        return in_cluster()
    hint = "set KUBECONFIG or `--kubeconfig` to the file that your cluster's provider gave you"
    raise Report(Diagnostic("AIF700", f"no kubeconfig: {', '.join(map(str, paths))} is not there", hint))


def in_cluster() -> Access:
    """The account of the pod we run in. Raises Report (AIF702)."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    return Access(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        context="in-cluster",
        ca=_read(ACCOUNT / "ca.crt"),
        token_file=str(ACCOUNT / "token"),
        namespace=_read(ACCOUNT / "namespace").strip(),
    )


def _of_files(paths: list[Path], context: str | None) -> Access:
    merged = _merged(paths)
    contexts = merged["contexts"]
    name = context or merged["current"]
    if name not in contexts:
        known = ", ".join(sorted(contexts)) or "none"
        asked = f"no context `{name}`" if name else "no current context"
        hint = f"known are {known}; `--context` chooses one, and so does `cluster: {{context: …}}` of the environment"
        raise Report(Diagnostic("AIF701", f"{asked} in {', '.join(map(str, paths))}", hint))
    chosen, _ = contexts[name]
    cluster, cluster_from = merged["clusters"].get(str(chosen.get("cluster")), ({}, paths[0]))
    user, user_from = merged["users"].get(str(chosen.get("user")), ({}, paths[0]))
    for key, needed in (("server", True), ("proxy-url", False)):
        value = cluster.get(key)
        if (value or needed) and not str(value).startswith(("https://", "http://")):
            raise _unusable(name, f"`{key}` of its cluster `{chosen.get('cluster')}` is no http address: {value}")
    access = Access(
        server=cluster["server"].rstrip("/"),
        context=name,
        ca=_pem(cluster, "certificate-authority", cluster_from, name) or "",
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        server_name=cluster.get("tls-server-name"),
        proxy=cluster.get("proxy-url"),
        user=str(user.get("as") or ""),
        groups=tuple(map(str, user.get("as-groups") or ())),
        namespace=str(chosen.get("namespace") or "default"),
    )
    if any(user.get(key) for key in PLUG_INS):
        return _by_plug_in(access, paths, name)
    return replace(access, **_credentials(user, user_from, name))


def _merged(paths: list[Path]) -> dict[str, Any]:
    """Named clusters, users and contexts of all files, the first of a name counts, each with the file it is from."""
    import yaml12  # as kubectl reads it; PyYAML takes 10 ms longer to import

    found: dict[str, Any] = {"clusters": {}, "users": {}, "contexts": {}, "current": ""}
    for path in paths:
        try:
            document = yaml12.parse_yaml(_read(path))
        except ValueError as error:
            raise _unusable(str(path), f"it is no YAML: {str(error).splitlines()[0]}") from None
        if document is None:
            continue
        if not isinstance(document, dict):
            raise _unusable(str(path), "it is no kubeconfig")
        found["current"] = found["current"] or document.get("current-context") or ""
        for kind in ("clusters", "users", "contexts"):
            for name, value in _named(document.get(kind), kind.removesuffix("s")):
                found[kind].setdefault(name, (value, path))
    return found


def _named(entries: Any, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("name"), str) and isinstance(entry.get(key), dict):
            yield entry["name"], entry[key]


def _credentials(user: Mapping[str, Any], source: Path, name: str) -> dict[str, Any]:
    certificate, key = (_pem(user, part, source, name) for part in ("client-certificate", "client-key"))
    token_file = user.get("tokenFile")
    return {
        "certificate": (certificate, key) if certificate and key else None,
        "token": str(user.get("token") or ""),
        "token_file": str(source.parent / str(token_file)) if token_file else "",
        "basic": (str(user["username"]), str(user.get("password", ""))) if user.get("username") else None,
    }


def _pem(section: Mapping[str, Any], key: str, source: Path, name: str) -> str | None:
    """Inline and in base64, or a file beside the kubeconfig."""
    if (data := section.get(f"{key}-data")) is not None:
        try:
            return base64.b64decode(data, validate=True).decode()
        except (binascii.Error, ValueError, TypeError):
            raise _unusable(name, f"`{key}-data` is no base64 text") from None
    path = section.get(key)
    return _read(source.parent / path) if isinstance(path, str) and path else None


def _by_plug_in(access: Access, paths: list[Path], context: str) -> Access:
    """Runs the login plug-in, by the `kubernetes` package."""
    from kubernetes import client, config

    settings = client.Configuration()
    try:
        with _logged() as said:
            config.load_kube_config(  # type: ignore[no-untyped-call]
                os.pathsep.join(map(str, paths)), context, settings, persist_config=False
            )
    except (config.ConfigException, OSError) as error:
        raise _unusable(context, f"its login plug-in failed: {error}") from None
    token = settings.get_api_key_with_prefix("BearerToken", alias="authorization") or ""
    files = settings.cert_file, settings.key_file
    certificate = (_read(Path(files[0])), _read(Path(files[1]))) if files[0] and files[1] else None
    if not token and certificate is None:
        told = f": {'; '.join(said)}" if said else ""
        raise _unusable(context, f"its login plug-in gave neither a token nor a certificate{told}")
    return replace(access, token=token.removeprefix("Bearer "), certificate=certificate)


@contextmanager
def _logged() -> Iterator[list[str]]:
    """What the `kubernetes` package has to say about a plug-in goes to the root logger, and nowhere else."""
    import logging

    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield said
    finally:
        root.removeHandler(handler)


def _load_certificate(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Python reads these from files only."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:  # readable by its owner only
        file.write(certificate.rstrip("\n") + "\n" + key)
        file.flush()
        context.load_cert_chain(file.name)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(str(path), getattr(error, "strerror", None) or str(error)) from None


def _unusable(what: str, why: str) -> Report:
    return Report(Diagnostic("AIF702", f"{what}: {why}"))
