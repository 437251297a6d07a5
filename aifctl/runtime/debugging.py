"""`aifctl run --debug STEP`: one step in the caller's process, so that breakpoints in user code hold.

Its inputs must be done. A step that is done already runs again from its start, into an attempt that is thrown away.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

from aifctl.diagnostics import Diagnostic, Report
from aifctl.ir import Run
from aifctl.runtime import entry
from aifctl.runtime.local import LocalSite, local_name, resolve, step_site
from aifctl.runtime.store import Store


def run(whole: Run, site: LocalSite, name: str) -> entry.Result:
    """The step's result; what it raises passes through, for the debugger. Raises Report: AIF854 for an unknown step or
    inputs that are not done."""
    chosen = next((step for step in whole.steps if step.name == name), None)
    if chosen is None:
        known = ", ".join(f"`{step.name}`" for step in whole.steps)
        raise Report(Diagnostic("AIF854", f"no step `{name}` in this run", f"its steps are {known}"))
    store = Store(site.store)
    digests = {step.name: step.spec.digest for step in whole.steps}
    spec = resolve(chosen.spec, digests)
    waiting = [each for each in chosen.after if digests[each] is None or store.find(str(digests[each])) is None]
    if waiting:
        listed = ", ".join(f"`{each}`" for each in waiting)
        raise Report(
            Diagnostic("AIF854", f"step `{name}` reads {listed}, which is not done", "run the model once first")
        )
    os.environ.update({variable.name: variable.value for variable in chosen.variables})
    place = step_site(replace(site, store=site.store.absolute()), local_name(whole), f"debug-{os.getpid()}")
    if spec.digest is None or store.find(spec.digest) is None:
        return entry.execute(spec, place)
    with tempfile.TemporaryDirectory(prefix="aifctl-debug-") as folder:
        return entry.execute(spec, replace(place, tracking=None), again=True, store=_Apart(place.store, Path(folder)))


class _Apart(Store):
    """The store with a checkpoint folder of its own: a finished training would resume at its end, and do nothing."""

    def __init__(self, uri: str, folder: Path) -> None:
        super().__init__(uri)
        self._folder = folder

    def checkpoints(self, digest: str) -> Path:
        return self._folder

    def keep_checkpoints(self, digest: str) -> None:
        """They go with the folder."""
