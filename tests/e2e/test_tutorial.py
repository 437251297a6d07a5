"""docs/tutorial.md, as a reader follows it: in an empty folder, one command after the other, on a real cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.cluster import CHECKOUT, Cluster
from tests.session import page

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

TUTORIAL = CHECKOUT / "docs/tutorial.md"
STORE = "/tmp/aifctl-store"
CONTEXT = "kind-kind"
PATIENCE = 660.0
NOT_RUN = {
    "pip install ": "the aifctl that is tested is this checkout's",
    "kind create cluster ": "the cluster is that of KUBECONFIG: in GitHub Actions kind's, made by the workflow",
    "docker build ": "where images can be built, the workflow has built them, from this checkout's Containerfile",
    "kind load ": "and has loaded them; elsewhere pods have this machine's interpreter, see tests/e2e/cluster.py",
    "kind delete cluster": "it is not this test's cluster",
    "sudo ": "the folder is within that of the cluster's fixture, which removes it",
}
"""Commands (by how they begin) that set up and clear the reader's machine, and why the test does not run them. All
others are run as they stand, but for the folder STORE, which is where this machine and the nodes of the cluster share
one, and for the images' names in the platform file (`grounded`). The page shows no output of those that are not run."""


class Reader:
    """Does what the page says, in `folder`."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.store = cluster, str(cluster.store / "tutorial")
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(_renamed(cluster.kubeconfig.read_text()))
        here = folder / "empty"
        here.mkdir(exist_ok=True)
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        place = {"PATH": path, "KUBECONFIG": str(kubeconfig), "OMP_NUM_THREADS": "1"}
        self.shell = page.Shell(here, {**os.environ, **place})

    def say(self, command: str) -> str:
        if not_run(command):
            return ""
        said = self.shell.say(command.replace(STORE, self.store), PATIENCE).replace(self.store, STORE)
        print(f"$ {command}\n{said}")
        return said

    def write(self, name: str, text: str) -> None:
        """The file, in the reader's folder. Names of images are the cluster's, and so is where its pods find Python."""
        if name == "platform.yaml":
            text = grounded(text, self.cluster)
        folder = self.shell.say("pwd")
        Path(folder, name).write_text(text.replace(STORE, self.store))


def grounded(platform: str, cluster: Cluster) -> str:
    """The platform file with the cluster's images; and with what pods need mounted, where these are almost empty."""
    value = yaml.safe_load(platform)
    value["spec"]["images"] = {"pytorch": {"cpu": cluster.images["pytorch"]}, "serve": cluster.images["serve"]}
    if cluster.base is not None:
        (environment,) = value["spec"]["environments"]
        defaults = environment["pod_defaults"]
        defaults["volumes"] += cluster.volumes
        defaults["volume_mounts"] += cluster.mounts
        defaults["env"] = cluster.env
    return yaml.safe_dump(value, sort_keys=False)


def not_run(command: str) -> bool:
    return command.startswith(tuple(NOT_RUN))


@pytest.fixture
def reader(cluster: Cluster, tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(cluster, tmp_path)
    yield reader
    reader.shell.end()
    # What is left where it was stopped on its way.
    last = Reader(cluster, tmp_path)
    last.say("cd flowers && aifctl destroy --all --env kind --yes --wait")
    last.shell.end()


def test_the_tutorial(reader: Reader, update_golden: bool) -> None:
    """What each command says is what the page says that it says."""
    text = TUTORIAL.read_text("utf-8")
    again = page.recorded(text, reader.say, reader.write)
    if update_golden:
        TUTORIAL.write_text(again, "utf-8")
    found = page.differences(TUTORIAL.read_text("utf-8"), again)
    assert not found, "\n".join(found)


def _renamed(kubeconfig: str) -> str:
    """The kubeconfig, with the current context under the name that kind gives it."""
    value = yaml.safe_load(kubeconfig)
    (context,) = [each for each in value["contexts"] if each["name"] == value["current-context"]]
    context["name"] = value["current-context"] = CONTEXT
    return yaml.safe_dump(value)
