"""`aifctl run`: a spec compiled for this machine and executed as processes, with the arguments that pods would get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aifctl import ir, lowering, pipeline
from aifctl.contract import Kind
from aifctl.delivery.choosing import only_unit
from aifctl.diagnostics import Diagnostic, Report
from aifctl.diagnostics.model import KeyPath
from aifctl.spec.load import LOCAL, Repository, Unit
from aifctl.spec.source import core_scalar

if TYPE_CHECKING:
    from aifctl.runtime.entry import Result
    from aifctl.runtime.local import LocalSite, RunOutcome
    from aifctl.runtime.progress import View

STORE = ".aif"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a laptop run may vary. `assignments` are `path=value` texts, as given to `--set`."""

    assignments: tuple[str, ...] = ()
    device: str | None = None
    sample: int | None = None
    parallel: int | None = None
    fail_fast: bool = False
    tracking: bool = True


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that is ready to start."""

    repository: Repository
    unit: Unit
    run: ir.Run
    site: LocalSite
    diagnostics: tuple[Diagnostic, ...] = field(default=())


def prepare(loaded: Repository, request: Request, name: str | None = None) -> Prepared:
    """The repository's one model (or the named one), compiled for this machine. Raises Report with all findings."""
    unit = only_unit(loaded, name, loaded.environment(LOCAL), assignments(request.assignments))
    options = lowering.Options(device=request.device, sample=request.sample)
    model, problems = pipeline.compile_unit(loaded, unit, options)
    diagnostics = pipeline.finish(loaded, problems)
    if model is None or model.bundle.run is None:
        raise pipeline.Findings(diagnostics, loaded.texts)
    return Prepared(loaded, unit, model.bundle.run, site(loaded, unit, request), diagnostics)


def site(loaded: Repository, unit: Unit, request: Request) -> LocalSite:
    from aifctl.runtime.local import LocalSite

    store = loaded.root / STORE
    return LocalSite(
        store=store,
        tracking=f"sqlite:///{store / 'mlflow.db'}" if request.tracking else None,
        code=unit.facts.code.path if unit.facts.code is not None else None,
        data=unit.folder,
        device=request.device,
        parallel=request.parallel,
    )


def execute(prepared: Prepared, request: Request, view: View, command: tuple[str, ...]) -> RunOutcome:
    """Runs it to its end. Raises Report where the same run is going on already, or the store can't be written."""
    from aifctl.runtime import local, runs

    spec = prepared.unit.model.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    about = runs.About(model=prepared.unit.name, spec=spec, root=prepared.repository.root, command=command)
    return local.execute(prepared.run, prepared.site, about, local.Options(view=view, fail_fast=request.fail_fast))


def assignments(texts: tuple[str, ...]) -> dict[KeyPath, Any]:
    """`training.epochs=3` → {("training", "epochs"): 3}; values are YAML scalars. Raises Report for other texts."""
    result: dict[KeyPath, Any] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        if not equals or not all(path.split(".")):
            hint = "write it as `--set training.epochs=3`"
            raise Report(Diagnostic("AIF120", f"`--set {text}` is no assignment", hint))
        steps = tuple(int(step) if step.isdigit() else step for step in path.split("."))
        result[steps] = core_scalar(value)
    return result


def debug(prepared: Prepared, step: str) -> Result:
    """Runs one step in this process, so that a debugger's breakpoints in user code hold.

    What it reads must be done. Its result is published as always; a step that is done already runs again, into an
    attempt of its own that is thrown away.
    """
    from aifctl.runtime import debugging

    return debugging.run(prepared.run, prepared.site, step)


def as_json(outcome: RunOutcome) -> dict[str, Any]:
    """The outcome for scripts, versioned."""
    from dataclasses import asdict

    return {"format_version": "1.0", **asdict(outcome), "exit_code": outcome.exit_code}


def as_text(outcome: RunOutcome, prepared: Prepared) -> str:
    """The outcome for people: state, metrics, where things lie."""
    done = [step for step in outcome.steps if step.state == "done"]
    cached = [step for step in outcome.steps if step.state == "cached"]
    metrics: Mapping[str, Any] = next(
        (step.outputs.get("metrics", {}) for step in outcome.steps if step.name == "evaluate"), {}
    )
    shown = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items() if isinstance(value, int | float))
    lines = [f"{outcome.run}: {outcome.state} ({len(done)} steps run, {len(cached)} already done)"]
    lines += [f"  metrics    {shown}"] if shown else []
    lines += [f"  store      {prepared.site.store}", f"  details    aifctl runs {outcome.run}"]
    if outcome.state == "done" and any(step.spec.kind is Kind.EXPORT for step in prepared.run.steps):
        lines.append(f"  release    aifctl promote {prepared.unit.name} --env {LOCAL}")
    failed = [step for step in outcome.steps if step.state == "failed"]
    lines += [f"  log        {step.log}" for step in failed if step.log]
    return "\n".join(lines)
