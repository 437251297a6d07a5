"""Records the sessions in docs/: every command in a `console` block of these pages is really run.

`python -m tests.session.record` runs them with a control plane of its own and writes what they said into the pages; the
prose around them stays. What belongs to a machine and a moment (host, ids of processes) is written neutrally;
`comparable` takes out what differs from one recording to the next.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from tests.controlplane.binaries import binaries
from tests.controlplane.nodes import simulated_nodes, start_nodes
from tests.controlplane.plane import ControlPlane
from tests.delivery import garden
from tests.delivery.garden import Garden

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENTS = ("session.md", "clusters.md")
PROD = re.compile(r"\bprod\b")
"""In the pages' commands, the environment of the garden."""
WHO = {"AUTHOR": "Ann", "COMMITTER": "Ann"}


def recorded(document: str, found: Garden) -> str:
    """The page with what its commands say in this repository now, one after the other.

    The environment's name must have as many letters as `prod`, so that tables keep their columns: see `name`.
    """
    return re.sub(
        r"(?<=^```console\n).*?(?=^```$)", lambda block: _run(block[0], found), document, flags=re.MULTILINE | re.DOTALL
    )


def comparable(document: str) -> str:
    """Without times, digests, names of pods and the order in which objects happened to be written."""
    lines = [_told(line) for line in document.splitlines() if " event=standby " not in line]
    kinds = groupby(lines, key=lambda line: bool(re.match(r" ?(created|changed|deleted|healthy) ", line)))
    return "\n".join(line for written, block in kinds for line in (sorted(block) if written else block))


def name() -> str:
    """Of an environment: as long as `prod`; no digest looks like it."""
    return f"p{uuid.uuid4().hex[:3]}"


def _run(block: str, found: Garden) -> str:
    commands = [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]
    lines = "\n".join(line for command in commands for line in (f"$ {command}", *_said(command, found)))
    return f"{_neutral(lines, found)}\n"


def _said(command: str, found: Garden) -> Iterator[str]:
    """Both streams, as a terminal would show them, and the exit code where it is not 0."""
    identity = {f"GIT_{role}_NAME": name for role, name in WHO.items()}
    identity |= {f"GIT_{role}_EMAIL": "ann@acme.example" for role in WHO}
    path = os.pathsep.join((str(Path(sys.executable).parent), str(binaries()), os.environ["PATH"]))
    place = {"PATH": path, "KUBECONFIG": str(found.cluster.kubeconfig), "COLUMNS": "100"}
    done = subprocess.run(
        ["bash", "-c", PROD.sub(found.environment, command)],
        cwd=found.root, env={**os.environ, **identity, **place}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False, timeout=120,
    )  # fmt: skip
    yield from done.stdout.splitlines()
    if done.returncode:
        yield f"(exit code {done.returncode})"


def _neutral(text: str, found: Garden) -> str:
    text = re.sub(r"identity=\S+", "identity=laptop", text.replace(found.environment, "prod"))
    return text.replace(f"{getpass.getuser()}@{socket.gethostname()}", "ann@laptop").rstrip()


def _told(line: str) -> str:
    line = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", line)
    line = re.sub(r"\bseconds=[\d.]+", "seconds=N", line)
    line = re.sub(r"\b(iris|rose)-[0-9a-z]{6,10}-[0-9a-z]{5}\b", r"\1-POD", line)
    line = re.sub(r"\b[0-9a-f]{10,64}\b", "DIGEST", line)
    return re.sub(r" +", " ", re.sub(r" \d+[smhd]$", " AGE", line))


def main() -> int:
    with ControlPlane() as plane, tempfile.TemporaryDirectory() as folder:
        start_nodes(plane, simulated_nodes())
        for each in DOCUMENTS:
            found = garden.new(Path(folder) / each, plane, "iris", "rose", environment=name())
            page = DOCS / each
            page.write_text(recorded(page.read_text("utf-8"), found), "utf-8")
            print(f"recorded {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
