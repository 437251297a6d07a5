"""docs/operations.md: every command of it, in its order, on a real API server; and what it says comes of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aifctl.reconcile.book import State
from aifctl.reconcile.telemetry import Metrics
from tests.controlplane.binaries import binaries
from tests.controlplane.cluster import Cluster
from tests.delivery import garden as gardens
from tests.delivery.garden import Garden

TEXT = (Path(__file__).resolve().parents[2] / "docs/operations.md").read_text("utf-8")
MODEL = "digits"
COMMITTER = {f"GIT_{who}_{what}": "a@b.example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def blocks() -> list[tuple[str, str]]:
    """(heading, commands) of each `sh` block, in order."""
    found = []
    for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]:
        heading = part.splitlines()[0]
        found += [(heading, block) for block in re.findall(r"^```sh\n(.*?)^```", part, re.MULTILINE | re.DOTALL)]
    return found


class Shift:
    """The repository, the cluster and what the page's reader would do by hand before and look at after a block."""

    def __init__(self, garden: Garden) -> None:
        self.garden = garden
        self.namespace = f"garden-{garden.environment}"
        self.uid = ""

    def run(self, commands: str) -> str:
        text = re.sub(r"\bprod\b", self.garden.environment, commands)
        text = re.sub(r"\bvision\b", "garden", text)
        programs = [str(Path(sys.executable).parent), str(binaries()), os.environ["PATH"]]
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text], cwd=self.garden.root, capture_output=True, text=True, timeout=180,
            env={**os.environ, **COMMITTER, "PATH": os.pathsep.join(programs),
                 "KUBECONFIG": str(self.garden.cluster.kubeconfig)},
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    @property
    def inventories(self) -> list[str]:
        label = f"aif.dev/inventory-environment={self.garden.environment}"
        found = self.garden.cluster.list("v1", "ConfigMap", "aif-system", labelSelector=label)
        return sorted(each["metadata"]["name"] for each in found)

    def lose_inventories(self) -> None:
        for name in self.inventories:
            self.garden.cluster.delete(
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "aif-system"}}
            )

    # Before a block

    def before_lost(self) -> None:
        self.before_versions = self.garden.versions()
        self.lose_inventories()

    def before_cluster(self) -> None:
        self.uid = self.garden.deployment(MODEL)["metadata"]["uid"]
        self.lose_inventories()
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        self.garden.cluster.delete(space)
        self.garden.cluster.wait_gone(space)

    def before_prune(self) -> None:
        """Two of three models leave Git."""
        self.garden.git("rm", "-rq", "models/rose", "models/lily")
        self.garden.commit("fewer models")
        refused = subprocess.run(
            [sys.executable, "-m", "aifctl", "apply", "--env", self.garden.environment], cwd=self.garden.root,
            capture_output=True, text=True, env={**os.environ, "KUBECONFIG": str(self.garden.cluster.kubeconfig)},
        )  # fmt: skip
        assert refused.returncode == 1
        assert "AIF741" in refused.stderr
        assert self.garden.deployment("rose") is not None

    def before_rollback(self) -> None:
        self.garden.release(MODEL, run=f"{MODEL}-fedcba9876").commit("another release")
        self.run("aifctl apply --env prod")

    # After a block

    def after_first(self, said: str) -> None:
        assert self.garden.deployment(MODEL) is not None
        assert len(self.inventories) == 4, "three models and the platform"

    def after_reconciler(self, said: str) -> None:
        assert "problem" not in said.splitlines()[-1]

    def after_lost(self, said: str) -> None:
        assert len(self.inventories) == 4
        before = {name: version for name, version in self.before_versions.items() if not name.startswith("inventory/")}
        after = {name: version for name, version in self.garden.versions().items() if not name.startswith("inventory/")}
        assert after == before, "no object is written"

    def after_cluster(self, said: str) -> None:
        assert self.garden.deployment(MODEL)["metadata"]["uid"] != self.uid

    def after_prune(self, said: str) -> None:
        assert self.garden.deployment("rose") is None
        assert self.garden.deployment(MODEL) is not None

    def after_suspend(self, said: str) -> None:
        assert "incident 42" in said
        assert "is reconciled again" in said

    def after_rollback(self, said: str) -> None:
        assert "the one left is held" in said

    def after_lease(self, said: str) -> None:
        assert "aif.dev/holder" not in said, "given back"

    def after_rotate(self, said: str) -> None:
        template = self.garden.deployment(MODEL)["spec"]["template"]
        assert "kubectl.kubernetes.io/restartedAt" in template["metadata"]["annotations"]

    def after_destroy(self, said: str) -> None:
        assert self.garden.deployment(MODEL) is None


BEFORE: dict[str, Callable[[Shift], None]] = {
    "Inventory lost": Shift.before_lost,
    "Cluster lost": Shift.before_cluster,
    "Prune limits": Shift.before_prune,
    "Rollback and holds": Shift.before_rollback,
}
"""Heading → what happens before its first block."""
AFTER: dict[str, Callable[[Shift, str], None]] = {
    "First apply": Shift.after_first,
    "Install the reconciler": Shift.after_reconciler,
    "Inventory lost": Shift.after_lost,
    "Cluster lost": Shift.after_cluster,
    "Prune limits": Shift.after_prune,
    "Suspend and resume": Shift.after_suspend,
    "Rotate credentials": Shift.after_rotate,
    "Take a model, or an environment, away": Shift.after_destroy,
}
"""Heading → what must be true after its blocks, of all that they said."""


@pytest.fixture
def shift(control_plane: Cluster, nodes: Cluster, tmp_path: Path) -> Iterator[Shift]:
    garden = gardens.new(tmp_path / "garden", control_plane, MODEL, "rose", "lily")
    yield Shift(garden)
    garden.fell()


def test_every_command_of_the_page(shift: Shift) -> None:
    done: dict[str, list[str]] = {}
    for heading, commands in blocks():
        if heading not in done and heading in BEFORE:
            BEFORE[heading](shift)
        elif heading == "Inventory lost" and commands.startswith("aifctl apply"):
            shift.lose_inventories()  # this time without a backup
        done.setdefault(heading, []).append(shift.run(commands))
        if heading == "Rollback and holds" and "rollback" in commands:
            shift.after_rollback(done[heading][-1])
        if heading in AFTER and len(done[heading]) == sum(each == heading for each, _ in blocks()):
            AFTER[heading](shift, "\n".join(done[heading]))
    assert set(BEFORE) | set(AFTER) <= set(done)


def test_metrics_and_states_of_the_page_are_the_reconcilers() -> None:
    metrics = Metrics()
    for state in State:
        metrics.units.labels(str(state))
    page = metrics.page().decode()
    named = set(re.findall(r"aifctl_reconcile_\w+", TEXT))
    assert len(named) >= 5
    assert {name for name in named if not re.search(rf"^{name}[ {{]", page, re.MULTILINE)} == set()
    assert set(re.findall(r'state="(\w+)"', TEXT)) <= set(State)


def test_codes_of_the_page_have_pages() -> None:
    pages = re.findall(r"\((\.\./aifctl/diagnostics/pages/AIF\d+\.md)\)", TEXT)
    assert pages
    assert [each for each in pages if not (Path(__file__).resolve().parents[2] / "docs" / each).is_file()] == []
