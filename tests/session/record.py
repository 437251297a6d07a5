"""Records docs/session.md: a life of two models in a cluster, every command of it really run.

`python -m tests.session.record` writes it anew with a control plane of its own. What belongs to a machine and a moment
(host, ids of processes) is written neutrally; `comparable` takes out what differs from one recording to the next.
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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from textwrap import fill

from tests.controlplane.binaries import binaries
from tests.controlplane.nodes import simulated_nodes, start_nodes
from tests.controlplane.plane import ControlPlane
from tests.delivery import garden
from tests.delivery.garden import Garden

DOCUMENT = Path(__file__).parents[2] / "docs/session.md"
HEAD = """\
# A session on a cluster

Two models, `iris` and `rose`, are released; their environment `prod` is a cluster that aifctl applies itself. What
follows was recorded by `python -m tests.session.record` (the tests run it again and compare) on a real control plane
whose nodes are simulated: no container runs, and an image whose name contains `bad-image` can't be pulled.
"""


@dataclass(frozen=True, slots=True)
class Step:
    """`commands` are run by a shell in the repository; PROD stands for the environment's name."""

    title: str
    text: str
    commands: tuple[str, ...]


STEPS = (
    Step(
        "Plan",
        "What would an apply do? The API server itself says it, by dry-run; nothing is written. Exit code 2: changes.",
        ("aifctl plan --against cluster --env PROD",),
    ),
    Step(
        "Apply",
        "Each model by itself, in stages; `--wait` until its objects are healthy. A second time nothing is written.",
        ("aifctl apply --env PROD --wait", "aifctl apply --env PROD", "aifctl status --env PROD"),
    ),
    Step(
        "Drift",
        "Somebody changes a server by hand. The plan says which field, and what it would be again.",
        (
            "kubectl -n garden-PROD set image deployment/iris server=registry.example/hotfix:1",
            "aifctl plan --against cluster --env PROD",
            "aifctl status --env PROD",
        ),
    ),
    Step(
        "Reconcile",
        "`aifctl reconcile` runs in the cluster and repairs within seconds; here one round of it. First it only looks.",
        (
            "aifctl reconcile --repo . --env PROD --once --detect-only",
            "aifctl reconcile --repo . --env PROD --once",
            "aifctl plan --against cluster --env PROD",
        ),
    ),
    Step(
        "A bad release",
        "A release whose image can't be pulled. The old server goes on serving; the bad revision is taken back, and "
        "held: the next apply does not try it again.",
        (
            "sed -i s#/serve@#/bad-image@# releases/PROD/iris.yaml",
            "git commit --quiet --all --message 'Release a new server of iris'",
            "aifctl apply --env PROD --rollback-on-failure --timeout 10s",
            "aifctl apply --env PROD",
        ),
    ),
    Step("History", "What became of each revision, and why.", ("aifctl history iris --env PROD",)),
    Step(
        "Roll back",
        "The release is mended, with a larger batch besides; that one turns out to be slow, and goes back by hand. Git "
        "is not touched: revert the commit there too.",
        (
            "sed -i s#/bad-image@#/serve@# releases/PROD/iris.yaml",
            "sed -i 's/max: 32/max: 64/' models/iris/model.yaml",
            "git commit --quiet --all --message 'Mend the release of iris, and serve larger batches'",
            "aifctl apply --env PROD --wait",
            "aifctl rollback iris --env PROD --wait",
            "aifctl history iris --env PROD",
        ),
    ),
    Step("Status", "How all of it stands now.", ("aifctl status --env PROD",)),
)


def record(found: Garden) -> str:
    """The document, of a session in this repository, whose environment's name has as many letters as `prod`."""
    parts = [HEAD]
    for step in STEPS:
        lines = [
            line for command in step.commands for line in _typed(found, command.replace("PROD", found.environment))
        ]
        parts.append(f"## {step.title}\n\n{fill(step.text, 120)}\n\n```console\n{_neutral(lines, found)}\n```\n")
    return "\n".join(parts)


def comparable(document: str) -> str:
    """Without times, digests, names of pods and the order in which objects happened to be written."""
    lines = [_told(line) for line in document.splitlines() if " event=standby " not in line]
    kinds = groupby(lines, key=lambda line: bool(re.match(r" ?(created|changed|healthy) ", line)))
    return "\n".join(line for written, block in kinds for line in (sorted(block) if written else block))


def name() -> str:
    """Of an environment: as long as `prod`, so that tables keep their columns; no digest looks like it."""
    return f"p{uuid.uuid4().hex[:3]}"


def _typed(found: Garden, command: str) -> Iterator[str]:
    identity = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER")
                for what, value in (("NAME", "Ann"), ("EMAIL", "ann@acme.example"))}  # fmt: skip
    path = os.pathsep.join((str(Path(sys.executable).parent), str(binaries()), os.environ["PATH"]))
    environment = {
        **os.environ,
        **identity,
        "PATH": path,
        "KUBECONFIG": str(found.cluster.kubeconfig),
        "COLUMNS": "100",
    }
    done = subprocess.run(
        ["bash", "-c", command], cwd=found.root, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False, timeout=120,
    )  # fmt: skip
    yield f"$ {command}"
    yield from done.stdout.splitlines()
    if done.returncode:
        yield f"(exit code {done.returncode})"


def _neutral(lines: Iterable[str], found: Garden) -> str:
    text = "\n".join(lines).replace(found.environment, "prod")
    text = re.sub(r"identity=\S+", "identity=laptop", text)
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
        found = garden.new(Path(folder) / "acme", plane, "iris", "rose", environment=name())
        DOCUMENT.write_text(record(found), "utf-8")
    print(f"wrote {DOCUMENT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
