"""The executor of `aifctl run`: takes an `ir.Run` through a `Launcher` in dependency order, and records it.

A step whose marker is in the store is not started (`cached`). Independent steps run side by side. A step that fails
stops what depends on it; the others go on, unless `fail_fast`. Exit code 75 is tried again with a growing pause, up to
`Step.retries` times; a step that something killed is tried again once. Ctrl-C, SIGTERM and SIGHUP let steps save and
end (a second one ends them at once); the same run started again goes on from there.

One run is executed by one executor of a machine at a time, and a step that two runs share is computed once: `locks`.
Findings are diagnostics: in the outcome where steps are at fault, as a Report where nothing can run.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from aifctl.diagnostics.model import Diagnostic, Report
from aifctl.ir import Run
from aifctl.runtime import locks, processes
from aifctl.runtime.execution import Execution, LocalSite, Options, Surroundings, local_name, resolve, step_site
from aifctl.runtime.interrupts import Interrupts
from aifctl.runtime.launcher import Launcher
from aifctl.runtime.outcome import RunOutcome, StepOutcome
from aifctl.runtime.progress import View
from aifctl.runtime.runs import About
from aifctl.runtime.store import Store

__all__ = ["LocalSite", "Options", "RunOutcome", "StepOutcome", "execute", "local_name", "resolve", "step_site"]

TAKE_OVER_SLACK = 20.0
"""Seconds beyond the grace that the steps of a killed executor may take to be gone."""


def execute(run: Run, site: LocalSite, about: About, options: Options | None = None) -> RunOutcome:
    """Runs what is not finished yet. Raises Report where the run is going on already, or the store can't be written."""
    options = Options() if options is None else options
    site = replace(site, store=site.store.absolute())
    name = local_name(run)
    logs = site.store / "logs" / name if site.logs is None else site.logs.absolute()
    try:
        with options.view, _claimed(site, name, options.view) as claims, Interrupts() as interrupts:
            launcher = _launcher(site, logs, options, claims)
            around = _surroundings(run, site, claims)
            return Execution(run, around, options, launcher, interrupts).go(about)
    except OSError as error:
        raise Report(_store_fault(site.store, error)) from error


def _surroundings(run: Run, site: LocalSite, claims: locks.Claims) -> Surroundings:
    name = local_name(run)
    return Surroundings(
        name=name,
        store=Store(str(site.store)),
        attempt=f"a{secrets.token_hex(4)}",  # each execution has its own: a killed one may have left files
        claims=claims,
        site=lambda attempt: step_site(site, name, attempt),
        parallel=site.parallel or _usable_cpus(),
    )


def _usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _launcher(site: LocalSite, logs: Path, options: Options, claims: locks.Claims) -> Launcher:
    if options.launch is not None:
        return options.launch()
    return processes.ProcessLauncher(
        logs, site.variables, grace=site.grace, shared=claims.shared_with, entry=options.entry
    )


def _store_fault(store: Path, error: OSError) -> Diagnostic:
    place = "" if error.filename is None else f" ({error.filename})"
    hint = "check that the folder can be written, has room left, and is on a disk that supports file locks"
    return Diagnostic("AIF841", f"can't use the store {store}: {error.strerror or error}{place}", hint=hint)


@contextmanager
def _claimed(site: LocalSite, run: str, view: View) -> Iterator[locks.Claims]:
    own = locks.take(locks.run_path(site.store, run), wait=locks.PROBE_WAIT)
    if own is None:
        hint = "wait for it, or stop it with Ctrl-C where it was started; `aifctl runs` lists runs"
        raise Report(Diagnostic("AIF840", f"run `{run}` is going on already on this machine", hint=hint))
    steps = locks.take(locks.steps_path(site.store, run), wait=locks.PROBE_WAIT)
    if steps is None:
        view.note("waiting for steps of an earlier, killed execution to end")
        steps = locks.take(locks.steps_path(site.store, run), wait=site.grace + TAKE_OVER_SLACK)
    if steps is None:
        own.release()
        message = f"steps of an earlier, killed execution of run `{run}` are still alive"
        raise Report(Diagnostic("AIF840", message, hint="end them (`ps -ef | grep aifctl`), then run again"))
    claims = locks.Claims(site.store, own, steps)
    try:
        yield claims
    finally:
        claims.close()
