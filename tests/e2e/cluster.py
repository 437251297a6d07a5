"""The cluster that the end-to-end tests run on, by kubectl: what a person would look with, and not aifctl's own eyes.

It is that of KUBECONFIG. Its pods get Python and aifctl in one of two ways:

- `AIFCTL_E2E_IMAGES='{"pytorch": "aif-pytorch:test", …}'`: from images that its nodes have, named by `IMAGES` below;
- `AIFCTL_E2E_BASE=IMAGE`: an image that is almost empty, into which this machine's /usr, interpreter, virtual
  environment and checkout are mounted; the node is this machine then.

Either way `AIFCTL_E2E_STORE` (/srv/aifctl-e2e) is a folder that this machine and the nodes share.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
CHECKOUT = Path(__file__).parents[2]
IMAGES = ("pytorch", "tensorflow", "custom", "serve", "reconciler")
PATIENCE = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    kubeconfig: Path
    context: str
    store: Path
    images: Mapping[str, str]
    base: str | None

    def kubectl(self, *arguments: str, text: str | None = None, check: bool = True, timeout: float = PATIENCE) -> str:
        """What it prints; with check=False its errors too."""
        done = subprocess.run(
            ["kubectl", "--kubeconfig", str(self.kubeconfig), *arguments],
            input=text, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}{done.stdout[-2000:]}")
        return done.stdout if check else done.stdout + done.stderr

    def get(self, namespace: str, *what: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("--namespace", namespace, "get", *what, "--output", "json"))
        return found

    def items(self, namespace: str, kind: str, selector: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(namespace, kind, "--selector", selector)["items"]
        return found

    def apply(self, *objects: Mapping[str, Any]) -> None:
        body = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "--server-side", "--force-conflicts", "--filename", "-", text=json.dumps(body))

    def python(self, pod: tuple[str, str], script: str, *arguments: str, timeout: float = PATIENCE) -> str:
        """Runs a script in a pod, given by namespace and name."""
        namespace, name = pod
        return self.kubectl(
            "--namespace", namespace, "exec", "--stdin", name, "--", "python", "-", *arguments,
            text=script, timeout=timeout,
        )  # fmt: skip

    @property
    def volumes(self) -> list[dict[str, Any]]:
        """As `pod_defaults` has them. The store is where this machine has it too."""
        store = {"name": "e2e-store", "hostPath": {"path": str(self.store), "type": "Directory"}}
        return [
            store,
            *(
                {"name": f"e2e-{number}", "hostPath": {"path": path, "type": "Directory"}}
                for number, path in enumerate(self._mounted())
            ),
        ]

    @property
    def mounts(self) -> list[dict[str, Any]]:
        read_only = (
            {"name": f"e2e-{n}", "mountPath": path, "readOnly": True} for n, path in enumerate(self._mounted())
        )
        return [{"name": "e2e-store", "mountPath": str(self.store)}, *read_only]

    @property
    def env(self) -> dict[str, str]:
        """What a pod needs to find Python, where it is mounted."""
        if self.base is None:
            return {}
        return {"PATH": f"{sys.prefix}/bin:/usr/bin:/bin", "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}

    def _mounted(self) -> list[str]:
        ours = [str(CHECKOUT / name) for name in ("aifctl", "templates", "schemas")]
        return ["/usr", sys.base_prefix, sys.prefix, *ours] if self.base is not None else []


def pod_spec(cluster: Cluster, image: str, command: Sequence[str], **container: Any) -> dict[str, Any]:
    """A pod of the tests' own, with one container: `main`."""
    main = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(command),
        "env": [{"name": name, "value": value} for name, value in {"HOME": "/tmp", **cluster.env}.items()],
        "volumeMounts": [*cluster.mounts, {"name": "tmp", "mountPath": "/tmp"}],
        **container,
    }
    return {
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsUser": 65532, "runAsGroup": 65532},
        "containers": [main],
        "volumes": [*cluster.volumes, {"name": "tmp", "emptyDir": {}}],
    }


def until(ask: Callable[[], T], what: str, patience: float = PATIENCE, every: float = 0.5) -> T:
    """The first answer that is true."""
    end = time.monotonic() + patience
    while True:
        found = ask()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {patience:.0f} s: {what}; the last answer is {found!r}")
        time.sleep(every)


def find() -> Cluster | str:
    """The cluster, or why there is none."""
    kubeconfig = os.environ.get("KUBECONFIG", "")
    if not kubeconfig or not Path(kubeconfig).is_file():
        return "no cluster: KUBECONFIG names none (`make e2e` boots one where it can)"
    base, images = os.environ.get("AIFCTL_E2E_BASE"), json.loads(os.environ.get("AIFCTL_E2E_IMAGES", "{}"))
    if base is None and not images:
        return "no images: AIFCTL_E2E_IMAGES and AIFCTL_E2E_BASE are unset"
    store = Path(os.environ.get("AIFCTL_E2E_STORE", "/srv/aifctl-e2e"))
    config = Path(kubeconfig)
    view = ["kubectl", "--kubeconfig", kubeconfig]
    try:
        context = subprocess.run([*view, "config", "current-context"], capture_output=True, text=True, check=True)
        subprocess.run([*view, "get", "--raw", "/readyz"], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        return f"no cluster: {getattr(error, 'stderr', None) or error}"
    known = {name: images.get(name, base or next(iter(images.values()))) for name in IMAGES}
    return Cluster(kubeconfig=config, context=context.stdout.strip(), store=store, images=known, base=base)
