"""A small repository on disk, changed a little by each test, and the findings of its checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from aifctl import checks
from aifctl.diagnostics import Diagnostic
from aifctl.spec import load

SHA = "@sha256:" + "ab" * 32
IMAGES = {
    "pytorch": {"cpu": f"r.example/torch{SHA}", "nvidia": f"r.example/torch-cuda{SHA}"},
    "tensorflow": {"cpu": f"r.example/tf{SHA}"},
    "custom": {"cpu": f"r.example/sklearn{SHA}"},
    "serve": f"r.example/serve{SHA}",
}
LAB = {
    "name": "lab",
    "roles": ["train"],
    "cluster": {"context": "lab"},
    "capabilities": {"argo-workflows": "4.1"},
    "store": {"uri": "s3://m"},
}
PROD = {"name": "prod", "roles": ["serve"], "cluster": {"context": "prod"}, "capabilities": {"metrics-server": "0.8"}}


def spec() -> dict[str, Any]:
    return {
        "task": "classification",
        "datasets": [
            {
                "name": "iris",
                "source": {"path": "iris.csv"},
                "features": {"x": {"type": "tensor", "columns": ["a", "b"]}},
                "label": {"column": "species"},
            }
        ],
        "code": {"path": "src"},
        "training": {"model": "net:build"},
        "export": [{"name": "onnx", "format": "onnx"}],
        "serving": {"export": "onnx"},
    }


@dataclass
class Setting:
    """`spec` and `platform` are what stands below `spec:`; `lock` and `release` documents without their header."""

    folder: Path
    spec: dict[str, Any] = field(default_factory=spec)
    metadata: dict[str, Any] = field(default_factory=lambda: {"name": "iris"})
    platform: dict[str, Any] | None = None
    lock: dict[str, Any] | None = None
    release: dict[str, Any] | None = None

    def findings(self, environment: str = "local") -> list[Diagnostic]:
        self._write("model.yaml", {"kind": "Model", "metadata": self.metadata, "spec": self.spec})
        if self.platform is not None:
            self._write("platform.yaml", {"kind": "Platform", "metadata": {"name": "p"}, "spec": self.platform})
        if self.lock is not None:
            self._write("iris.lock.yaml", {"kind": "Lock", "metadata": {"name": "iris"}, **self.lock})
        if self.release is not None:
            metadata = {"name": "iris", "environment": environment}
            self._write(f"releases/{environment}/iris.yaml", {"kind": "Release", "metadata": metadata, **self.release})
        repository = load.load([self.folder / "model.yaml"])
        units, found = load.units(repository, repository.environment(environment))
        assert (found, list(repository.diagnostics)) == ([], [])
        return checks.check(checks.Subject(units[0], repository.platform, repository.platform_file))

    def codes(self, environment: str = "local") -> list[str]:
        return [found.code for found in self.findings(environment)]

    def on_clusters(self, **more: Any) -> Setting:
        self.platform = {"environments": [LAB, PROD], "images": IMAGES, **more}
        return self

    def _write(self, name: str, value: dict[str, Any]) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump({"apiVersion": "aif.dev/v1alpha1", **value}, sort_keys=False))


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    (tmp_path / "src/net").mkdir(parents=True)
    (tmp_path / "src/net/__init__.py").write_text("")
    (tmp_path / "iris.csv").write_text("a,b,species\n1,2,x\n")
    monkeypatch.chdir(tmp_path)
    return Setting(tmp_path)
