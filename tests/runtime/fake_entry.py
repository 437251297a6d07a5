"""Stands in for `aifctl.runtime.entry` in tests of the executor: the same arguments, store and result file.

What the step does is its config: `do`, a list of [verb, argument]. Each process appends {step, start, end} to the file
AIF_TEST_TRACE, so that tests can tell what ran, in which order and side by side.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aifctl import contract
from aifctl.runtime.store import Store

PATIENCE = 60.0
SITE = ("store", "run", "attempt", "tracking", "code", "data", "device", "result", "events")


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("step", "message", *SITE):
        parser.add_argument(f"--{name}")
    site = parser.parse_args()
    spec = contract.decode(site.step)
    started = time.time()
    code = 0
    for verb, argument in spec.config.get("do", []):
        code = VERBS[verb](argument, spec, site) or 0
        if code:
            break
    if code == 0 and not os.environ.get("AIF_TEST_LIE"):
        digest = spec.digest or contract.step_digest(spec.kind, spec.own, {**spec.inputs, "data:rows": "sha256:00"})
        assert digest is not None
        publish(digest, spec, site)
    with Path(os.environ["AIF_TEST_TRACE"]).open("a", encoding="utf-8") as trace:
        trace.write(json.dumps({"step": spec.name, "start": started, "end": time.time(), "code": code}) + "\n")
    return code


def publish(digest: str, spec: contract.StepSpec, site: argparse.Namespace) -> None:
    store = Store(site.store)
    skipped = store.find(digest) is not None
    if not skipped:
        attempt = store.attempt(digest, site.attempt)
        (attempt.path / "made.txt").write_text(spec.name)
        outputs = {"metrics": {"accuracy": 0.5}} if spec.kind == "evaluate" else {"name": spec.name}
        attempt.publish(outputs, {"name": spec.name})
    write_result(site, {"digest": digest, "skipped": skipped, "seconds": 0.1, "outputs": {}, "diagnostics": []})


def write_result(site: argparse.Namespace, result: dict[str, Any]) -> None:
    for path in filter(None, (site.result, site.message)):
        Path(path).write_text(json.dumps(result))


def say(text: str, *_: Any) -> None:
    print(text)


def touch(path: str, *_: Any) -> None:
    Path(path).touch()


def await_file(path: str, *_: Any) -> int | None:
    deadline = time.monotonic() + PATIENCE
    while not Path(path).exists():
        if time.monotonic() > deadline:
            print(f"{path} did not come")
            return 9
        time.sleep(0.01)
    return None


def fail(code: int, *_: Any) -> int:
    return code


def fail_with(finding: dict[str, Any], _: Any, site: argparse.Namespace) -> int:
    write_result(site, {"digest": None, "diagnostics": [finding]})
    return 1


def first_tries(argument: dict[str, Any], spec: contract.StepSpec, site: argparse.Namespace) -> int | None:
    """Runs `do` on the first `count` tries only; tries are counted in the file `counter`."""
    counter = Path(argument["counter"])
    tried = len(counter.read_text()) if counter.exists() else 0
    counter.write_text("x" * (tried + 1))
    if tried < argument["count"]:
        verb, value = argument["do"]
        return VERBS[verb](value, spec, site)
    return None


def kill_self(number: int, *_: Any) -> None:
    os.kill(os.getpid(), number)


def ignore_sigterm(*_: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def save_on_sigterm(path: str, *_: Any) -> None:
    def save(*_: Any) -> None:
        Path(path).write_text("saved")
        sys.exit(contract.EXIT_RETRY)

    signal.signal(signal.SIGTERM, save)


def write_pid(path: str, *_: Any) -> None:
    temporary = Path(f"{path}.tmp")
    temporary.write_text(str(os.getpid()))
    temporary.replace(path)


GRANDCHILD = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if sys.argv[2] == "daemon":
    os.setsid()
open(sys.argv[1] + ".tmp", "w").write(str(os.getpid()))
os.replace(sys.argv[1] + ".tmp", sys.argv[1])
time.sleep(600)
"""


def spawn(argument: dict[str, str], *_: Any) -> int | None:
    """A grandchild that ignores SIGTERM, and as a `daemon` leaves the process group too; waits until it is there."""
    subprocess.Popen([sys.executable, "-c", GRANDCHILD, argument["pid"], argument["how"]])
    return await_file(argument["pid"])


def emit(event: dict[str, Any], _: Any, site: argparse.Namespace) -> None:
    if site.events == "-":
        print(json.dumps(event), flush=True)
        return
    with Path(site.events).open("a", encoding="utf-8") as file:
        file.write(json.dumps(event) + "\n")


def write_raw_event(text: str, _: Any, site: argparse.Namespace) -> None:
    with Path(site.events).open("a", encoding="utf-8") as file:
        file.write(text)


def lie(result: dict[str, Any], _: Any, site: argparse.Namespace) -> int | None:
    """Says it is done and publishes nothing."""
    write_result(site, result)
    sys.stdout.flush()
    os._exit(0)


VERBS: dict[str, Callable[..., int | None]] = {
    verb.__name__: verb
    for verb in (
        say,
        touch,
        await_file,
        fail,
        fail_with,
        first_tries,
        kill_self,
        ignore_sigterm,
        save_on_sigterm,
        write_pid,
        spawn,
        emit,
        write_raw_event,
        lie,
    )
}

if __name__ == "__main__":
    sys.exit(main())
