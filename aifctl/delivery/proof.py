"""What a run has shown: the proof that `aifctl promote` releases it for.

Steps are shared between runs, and a changed gate moves no digest but its own: so the gate's and the evaluation's word
is taken from the run's own steps, not from the registration, which an earlier run may have written. That a store says
something does not make it so: `registration.json` is held against a form before anything of it reaches a file or URL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aifctl import pipeline
from aifctl.contract import Kind
from aifctl.delivery.choosing import only_unit
from aifctl.diagnostics import Diagnostic, Report
from aifctl.lowering.placement import Place
from aifctl.lowering.steps import prepare_name
from aifctl.spec import git, load
from aifctl.spec.load import Repository, Unit
from aifctl.spec.models.platform import Environment

if TYPE_CHECKING:
    from aifctl.runtime.store import Published, Store

STORE = ".aif"
PROOF = frozenset({Kind.EVALUATE, Kind.GATE, Kind.EXPORT, Kind.VERIFY, Kind.REGISTER})
"""Steps that a run is released for; the others are needed no more once these are done."""

_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    """Evidence of one step. What user code may have written is held against a form before it reaches a file or URL."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class _Step(_Part):
    digest: _Digest
    outputs: dict[str, Any] = Field(default_factory=dict)


class ExportFacts(_Part):
    digest: _Digest
    path: Annotated[str, Field(pattern=r"^steps/[0-9a-f]{64}/attempts/[A-Za-z0-9][A-Za-z0-9._-]*$")]
    sha256: _Digest
    size: Annotated[int, Field(ge=0)]
    format: str
    signature: dict[str, Any]


class Registration(_Part):
    """registration.json, as the register step writes it."""

    run: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=253)]
    name: str
    model: str
    train: _Step
    exports: dict[str, ExportFacts]


@dataclass(frozen=True, slots=True)
class Made:
    """The run to release: digests of its steps by name, and those steps that are its proof.

    `commit` is the Git commit it was made from, and whether files differed from that.
    """

    run: str
    steps: dict[str, str | None]
    proof: tuple[str, ...]
    commit: tuple[str | None, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a run has shown, and the store it lies in. `local`: it was made on this machine."""

    made: Made
    store: Store
    facts: Registration
    local: bool
    prepare: str | None
    """Digest of the main dataset's prepare step."""
    mlflow: dict[str, str]
    metrics: dict[str, float]
    bounds: dict[str, dict[str, float]]


def origin(loaded: Repository, environment: Environment, source: str | None) -> Environment:
    """The environment that made the run to release: the one named, else this machine for itself, else the only one."""
    if source is not None:
        return loaded.environment(source)
    if environment.local:
        return environment
    trains = [e for e in load.environments(loaded.platform) if "train" in e.roles and not e.local]
    if len(trains) != 1:
        names = ", ".join(f"`{e.name}`" for e in trains) or "none"
        raise Report(
            Diagnostic("AIF633", f"which environment made the run? those that train: {names}", "say it with --from")
        )
    return trains[0]


def gather(loaded: Repository, unit: Unit, origin: Environment, run: str | None) -> Proof:
    """The proof of that run of the model. Raises Report where something of it is missing, or is not what it should be.

    `run` None takes the newest finished one of this machine; of a cluster it is the one that the spec stands for.
    """
    from aifctl.runtime.store import Store

    if "train" not in origin.roles:
        hint = "name one that trains with --from"
        raise Report(Diagnostic("AIF633", f"environment `{origin.name}` makes no runs: it only serves", hint))
    if origin.local:
        store = Store(loaded.root / STORE)
        made = _local_run(store, unit.name, run)
    else:
        if origin.store is None:
            raise Report(
                Diagnostic("AIF630", f"environment `{origin.name}` has no store", "give it one in the platform file")
            )
        store = Store(origin.store.uri)
        made = _compiled_run(loaded, unit, origin, run)
    found = {name: store.find(digest) if digest is not None else None for name, digest in _proving(made).items()}
    missing = [name for name, published in found.items() if published is None]
    if missing:
        message = f"run `{made.run}` is not proved: {_listed(missing)} of it {_is(missing)} not in {store.uri}"
        hint = f"`aifctl run {unit.name}` does them" if origin.local else "wait until its Workflow has succeeded"
        raise Report(Diagnostic("AIF634", message, hint))
    proved = {name: published for name, published in found.items() if published is not None}
    dataset = unit.spec.main_dataset
    prepare = prepare_name(Place(unit, loaded.platform), dataset.name) if dataset is not None else ""
    metrics = proved["evaluate"].outputs.get("metrics", {}) if "evaluate" in proved else {}
    return Proof(
        made=made,
        store=store,
        facts=_registration(proved["register"], unit.name, made),
        local=origin.local,
        prepare=made.steps.get(prepare),
        mlflow=dict(proved["register"].outputs.get("mlflow", {})),
        metrics={str(name): float(value) for name, value in metrics.items()},
        bounds=dict(proved["gate"].outputs.get("bounds", {})) if "gate" in proved else {},
    )


def _proving(made: Made) -> dict[str, str | None]:
    return {name: made.steps[name] for name in made.proof}


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _is(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _registration(published: Published, model: str, made: Made) -> Registration:
    try:
        facts = Registration.model_validate(published.read_json("registration.json"))
        if facts.model != model:
            raise ValueError("it is of another model")
        named = {facts.train.digest, *(export.digest for export in facts.exports.values())}
        if not named <= set(made.steps.values()):
            raise ValueError("it names steps that are not the run's")
    except ValueError as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first is not None else str(error)
        message = f"registration.json of step {published.label} is not what a register step writes: {reason}"
        raise Report(Diagnostic("AIF803", message, "remove the step's folder from the store to run it again")) from None
    return facts


def _local_run(store: Store, model: str, run: str | None) -> Made:
    from aifctl.runtime import runs

    listing = runs.list_runs(store, model)
    if run is not None:
        record = runs.find(listing, run)
        if record.state != "done":
            raise Report(
                Diagnostic("AIF634", f"run `{record.run}` is {record.state}, not done", "finish it with `aifctl run`")
            )
    else:
        done = [record for record in listing.records if record.state == "done"]
        if not done:
            message = f"no run of `{model}` that passed its gates is in {store.uri}"
            raise Report(Diagnostic("AIF634", message, f"`aifctl run {model}` makes one"))
        record = done[0]
    commit = record.git.get("commit")
    return Made(
        run=record.run,
        steps={name: step.digest for name, step in record.steps.items()},
        proof=tuple(name for name, step in record.steps.items() if step.kind in PROOF),
        commit=(str(commit), bool(record.git.get("dirty"))) if commit else (None, False),
    )


def _compiled_run(loaded: Repository, unit: Unit, origin: Environment, wanted: str | None) -> Made:
    model, found = pipeline.compile_unit(loaded, only_unit(loaded, unit.name, origin))
    if model is None or model.bundle.run is None:
        raise pipeline.Findings(pipeline.finish(loaded, found), loaded.texts)
    run = model.bundle.run
    if wanted not in (None, run.name):
        message = f"the spec, as it is, stands for run `{run.name}` of `{origin.name}`, not for `{wanted}`"
        raise Report(Diagnostic("AIF634", message, "check out the commit that made that run, or leave --run out"))
    return Made(
        run=run.name,
        steps={step.name: step.spec.digest for step in run.steps},
        proof=tuple(step.name for step in run.steps if step.spec.kind in PROOF),
        commit=_git(loaded),
    )


def _git(loaded: Repository) -> tuple[str | None, bool]:

    try:
        commit = git.commit(loaded.root)
    except Report:
        return None, False  # not in Git: the release says so by having no commit
    return commit.sha, commit.dirty
