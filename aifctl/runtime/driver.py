"""`python -m aifctl.runtime.driver`: a run on plain Kubernetes, driven from a pod of its own Job.

The executor of `aifctl run` with Jobs for processes: steps come as arguments, the Job of each lies as YAML in the
folder `--jobs`. A driver that starts again skips what the store has and takes over the Jobs that go on.

Exit codes: 0 done, 1 failed (do not start again), 75 told to stop or a fault of its surroundings (start again).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from aifctl.contract import EXIT_FAILED, EXIT_RETRY, RUN, Site, StepSpec, decode
from aifctl.diagnostics.format import text
from aifctl.diagnostics.model import Diagnostic, Report
from aifctl.ir import Resources, Run, Step
from aifctl.runtime.execution import Execution, Options, Surroundings
from aifctl.runtime.interrupts import Interrupts
from aifctl.runtime.jobs import Driver, JobClaims, JobLauncher
from aifctl.runtime.kube import Api, Kube, Object, Refused, Unavailable
from aifctl.runtime.outcome import RunOutcome
from aifctl.runtime.progress import PlainView, View
from aifctl.runtime.runs import About
from aifctl.runtime.store import Fault, Store

RETRIES = "aif.dev/retries"
"""Annotation of a step's Job: how often a fault of its surroundings is tried again."""
KILL_RETRIES = 3
"""A pod that is deleted costs little: training goes on from its last checkpoint."""
LOOKS = (1.0, 2.0, 5.0, 10.0, 10.0)
"""Seconds between two tries to see what earlier drivers have left."""
PAUSE, LONGEST = 30.0, 600.0
"""Seconds before the first retry; each takes twice as long as the one before, up to the longest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the driver is told: `jobs` has each step's Job by the step's name."""

    model: str
    store: str
    namespace: str
    driver: Driver
    steps: tuple[StepSpec, ...]
    jobs: dict[str, Object]


def main(argv: Sequence[str] | None = None) -> int:
    try:
        order = _read(sys.argv[1:] if argv is None else argv)
        outcome = drive(order, Kube(order.namespace), PlainView(sys.stdout))
    except Report as report:
        print(text(report.diagnostics, {}), file=sys.stderr)
        return EXIT_RETRY if isinstance(report, Fault) else EXIT_FAILED
    except OSError as error:
        print(f"the run can't go on now: {error}", file=sys.stderr)
        return EXIT_RETRY
    except Refused as error:
        finding = Diagnostic(
            "AIF867", f"there is no cluster to drive the run in: {error}", "start it as a rendered Job"
        )
        print(text([finding], {}), file=sys.stderr)
        return EXIT_FAILED
    if outcome.diagnostics:
        print(text(outcome.diagnostics, {}), file=sys.stderr)
    return EXIT_RETRY if outcome.state == "interrupted" else outcome.exit_code


def drive(
    order: Order, api: Api, view: View, pause: Callable[[int], float] = lambda n: min(PAUSE * 2 ** (n - 1), LONGEST)
) -> RunOutcome:
    """Takes the run to its end. Raises Report where the store is at fault; SIGTERM ends it and leaves its Jobs."""
    options = Options(view=view, kill_retries=KILL_RETRIES, pause=pause)
    with view, Interrupts() as interrupts:
        launcher = JobLauncher(api, order.driver, order.jobs, leaving=lambda: interrupts.count > 0)
        around = _surroundings(order, api, _earlier(order.driver, api, interrupts))
        execution = Execution(_run(order), around, options, launcher, interrupts)
        return execution.go(About(model=order.model))


def _earlier(driver: Driver, api: Api, interrupts: Interrupts) -> Mapping[str, Sequence[int]]:
    """What drivers before this one have left of each step. Raises Unavailable where nobody answers for a while."""
    for pause in LOOKS:
        try:
            return driver.numbers(api.list_jobs(f"{RUN}={driver.run}")[0])
        except Unavailable:
            if interrupts.count:
                raise
            time.sleep(pause)
    return driver.numbers(api.list_jobs(f"{RUN}={driver.run}")[0])


def _surroundings(order: Order, api: Api, earlier: Mapping[str, Sequence[int]]) -> Surroundings:
    return Surroundings(
        name=order.driver.run,
        store=Store(order.store),
        attempt=order.driver.attempt,
        claims=JobClaims(api, order.driver),
        site=lambda attempt: Site(store=order.store, run=order.driver.run, attempt=attempt),
        parallel=len(order.steps),  # the cluster says what runs side by side
        earlier=lambda step: earlier.get(step, ()),
    )


def _run(order: Order) -> Run:
    """Where steps run, and for how long, is in their Jobs; nothing here counts it again."""
    nothing = Resources(cpu=0, memory=0)
    steps = tuple(
        Step(spec=spec, parts={}, image=None, resources=nothing, retries=_retries(order.jobs[spec.name]))
        for spec in order.steps
    )
    return Run(name=order.driver.run, digest="", attempt=1, steps=steps)


def _retries(job: Object) -> int:
    return int((job["metadata"].get("annotations") or {}).get(RETRIES, 0))


# What it is told


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Report(_unreadable(f"the arguments can't be read: {message}"))


def _read(argv: Sequence[str]) -> Order:
    """Raises Report (AIF867)."""
    parser = _Parser(prog="python -m aifctl.runtime.driver", description="Drives a run.", allow_abbrev=False)
    for name in ("store", "model", "jobs", "run", "uid", "namespace"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--step", action="append", required=True, help="a step as JSON; in the run's order")
    given = parser.parse_args(list(argv))
    try:
        steps = tuple(decode(each) for each in given.step)
    except ValueError as error:
        raise Report(_unreadable(f"a step can't be read: {error}")) from error
    return Order(
        model=given.model,
        store=given.store,
        namespace=given.namespace,
        driver=Driver(run=given.run, uid=given.uid),
        steps=steps,
        jobs={spec.name: _job(Path(given.jobs, f"{spec.name}.yaml")) for spec in steps},
    )


def _job(path: Path) -> Object:
    try:
        found: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        container = found["spec"]["template"]["spec"]["containers"][0]
        if not isinstance(container, dict) or not isinstance(found["metadata"], dict):
            raise TypeError("not a Job")
        int((found["metadata"].get("annotations") or {}).get(RETRIES, 0))
    except (OSError, yaml.YAMLError, TypeError, KeyError, ValueError, LookupError) as error:
        raise Report(_unreadable(f"{path} is no Job of a step: {error}")) from error
    job: Object = found
    return job


def _unreadable(message: str) -> Diagnostic:
    return Diagnostic("AIF867", message, "render and apply the run again, by the aifctl that its image has")


if __name__ == "__main__":
    sys.exit(main())
