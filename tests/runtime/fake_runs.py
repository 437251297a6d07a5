"""Runs of fake steps for tests of the executor; as a program (`python fake_runs.py FILE`) an executor of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aifctl import contract, digest
from aifctl.contract import Kind, StepSpec
from aifctl.diagnostics import Report
from aifctl.ir import Resources, Run, Step
from aifctl.runtime import local, progress
from aifctl.runtime.runs import About

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PATIENCE = 60.0

Do = list[list[Any]]


@dataclass
class Fake:
    """One fake step: what it does, and the names of the steps it reads."""

    name: str
    do: Do = field(default_factory=list)
    after: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    kind: Kind = Kind.CUSTOM
    unpinned: bool = False
    options: dict[str, Any] = field(default_factory=dict)


def make_run(*fakes: Fake, name: str = "digits-0123456789") -> Run:
    """Digests are chained as lowering does it; what a step does is no part of them."""
    digests: dict[str, str | None] = {}
    steps = []
    for fake in fakes:
        inputs: dict[str, str | None] = {after: digests[after] for after in fake.after}
        if not fake.after:
            inputs["data:rows"] = None if fake.unpinned else "sha256:00"
        own = digest.of_text(fake.name)
        digests[fake.name] = contract.step_digest(fake.kind, own, inputs)
        spec = StepSpec(
            name=fake.name,
            kind=fake.kind,
            model="digits",
            tenant="vision",
            own=own,
            inputs=inputs,
            needs={need: digests[need] for need in fake.needs},
            digest=digests[fake.name],
            config={"do": fake.do},
        )
        steps.append(Step(spec=spec, parts={}, image=None, resources=Resources(cpu=1, memory=1), **fake.options))
    return Run(name=name, digest=digest.of_text(name), attempt=1, steps=tuple(steps))


@dataclass
class Place:
    """A folder with a store, a trace file and pid files."""

    folder: Path

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def site(self, **changes: Any) -> local.LocalSite:
        variables = {"PYTHONPATH": f"{HERE}{os.pathsep}{ROOT}", "AIF_TEST_TRACE": self.path("trace")}
        return local.LocalSite(**{"store": self.store, "variables": variables, "parallel": 4, "grace": 2.0, **changes})

    def trace(self) -> list[dict[str, Any]]:
        trace = Path(self.path("trace"))
        return [json.loads(line) for line in trace.read_text().splitlines()] if trace.exists() else []

    def ran(self) -> list[str]:
        return [line["step"] for line in self.trace()]

    def interval(self, step: str) -> tuple[float, float]:
        found = [line for line in self.trace() if line["step"] == step]
        assert len(found) == 1, f"{step} ran {len(found)} times"
        return found[0]["start"], found[0]["end"]


def execute(place: Place, run: Run, *, site: Mapping[str, Any] | None = None, **options: Any) -> local.RunOutcome:
    """In this process, with the fake entry."""
    chosen = local.Options(**{"entry": "fake_entry", "pause": lambda _: 0.0, **options})
    return local.execute(run, place.site(**(site or {})), About(model="digits", command=("aifctl", "run")), chosen)


def states(outcome: local.RunOutcome) -> dict[str, str]:
    return {step.name: step.state for step in outcome.steps}


def start_executor(place: Place, *fakes: Fake, grace: float = 2.0, **popen: Any) -> subprocess.Popen[bytes]:
    """The same as a process of its own; it prints the outcome's states, or the codes of its Report, as JSON."""
    job = {"folder": str(place.folder), "grace": grace, "fakes": [vars(fake) for fake in fakes]}
    file = place.folder / "job.json"
    file.write_text(json.dumps(job))
    environment = {**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{ROOT}"}
    return subprocess.Popen([sys.executable, str(HERE / "fake_runs.py"), str(file)], env=environment, **popen)


def wait_until(what: Callable[[], Any], why: str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := what()):
        assert time.monotonic() < deadline, f"{why} did not happen"
        time.sleep(0.02)
    return found


def read_pid(path: str) -> int:
    return int(wait_until(lambda: Path(path).exists() and Path(path).read_text(), f"{path} being written"))


def is_alive(pid: int) -> bool:
    """Whether the process runs: one that has ended and waits for its parent to look does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in ("Z", "X")


def main(file: str) -> int:
    job = json.loads(Path(file).read_text())
    place = Place(Path(job["folder"]))
    fakes = [Fake(**{**fake, "after": tuple(fake["after"]), "needs": tuple(fake["needs"])}) for fake in job["fakes"]]
    try:
        outcome = execute(place, make_run(*fakes), site={"grace": job["grace"]}, view=progress.view())
    except Report as report:
        print(json.dumps([finding.code for finding in report.diagnostics]))
        return 1
    print(json.dumps({"state": outcome.state, "steps": states(outcome)}))
    return outcome.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
