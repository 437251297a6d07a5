"""The examples as a repository of their own, with releases made by hand, and what is compiled from them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from aifctl import pipeline
from aifctl.pipeline import Compiled
from aifctl.render.tree import tree
from aifctl.spec import load

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples/specs"
ENVIRONMENTS = ("lab", "prod")
PLAIN = """
    - name: plain                     # a cluster that trains and has nothing but Kubernetes
      roles: [train]
      cluster: {context: plain}
      namespace: "{tenant}-plain"
      store: {uri: "file:///models"}
      pod_security: baseline
      pod_defaults:
        volumes: [{name: models, nfs: {server: nas.example, path: /models}}]
        volume_mounts: [{name: models, mountPath: /models}]
        env: {HTTPS_PROXY: "http://proxy.example:3128"}
        image_pull_secrets: [registry]
"""
"""Of the tests alone: with a second environment that trains, users of the examples would have to say which one."""
IGNORED = shutil.ignore_patterns("__pycache__", ".aif", "rendered", "releases", "*.lock.yaml")


def lay_out(folder: Path) -> Path:
    """Writes the examples and their releases below a new folder."""
    shutil.copytree(EXAMPLES, folder, ignore=IGNORED)
    shutil.copytree(HERE / "releases", folder / "releases")
    return folder


def lay_out_plain(folder: Path) -> Path:
    """The same with the environment `plain` beside the others."""
    platform = lay_out(folder) / "platform.yaml"
    head, tail = platform.read_text("utf-8").split("\n    - name: prod", 1)
    platform.write_text(f"{head}{PLAIN.rstrip()}\n    - name: prod{tail}", "utf-8")
    return folder


def compiled(folder: Path, environment: str) -> Compiled:
    repository = load.load([folder])
    return pipeline.compile_environment(repository, repository.environment(environment))


def rendered(folder: Path, environments: Iterable[str] = ENVIRONMENTS) -> dict[str, bytes]:
    """Relative path → bytes, of these environments; the examples have no findings at all."""
    files: dict[str, bytes] = {}
    for environment in environments:
        found = compiled(folder, environment)
        assert [d.message for d in found.diagnostics] == []
        files |= tree(found.manifests, environment)
    return files
