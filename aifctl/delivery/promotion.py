"""`aifctl promote`: a run's proof → `releases/<env>/<model>.yaml`, the facts of what serves.

The proof is what the run's register step wrote, in a place where user code of a pod can't write. The comparison with
the champion is made here again, on the candidate's test rows; the bundle is copied where stores differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aifctl import pipeline
from aifctl.delivery.files import write_text
from aifctl.diagnostics import Diagnostic, Report
from aifctl.lowering.placement import Place
from aifctl.lowering.steps import metrics_of, prepare_name
from aifctl.manifest import to_yaml
from aifctl.spec import load, schema
from aifctl.spec.load import LOCAL, Repository, Unit
from aifctl.spec.models.platform import Environment
from aifctl.spec.models.release import Release, ReleaseEntry
from aifctl.spec.paths import shown

if TYPE_CHECKING:
    from aifctl.runtime.store import Store

STORE = ".aif"
LOCAL_RUN = "local-"
TOLERANCE = 1e-9
"""How much worse than the champion still counts as equal: rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`run` None takes the newest finished one (of this machine), or the one the spec stands for (of a cluster)."""

    environment: str
    run: str | None = None
    source: str | None = None
    """Environment the run was made in; None takes `local` for `local`, else the platform's only one that trains."""
    allow_worse: bool = False


@dataclass(frozen=True, slots=True)
class Promoted:
    file: str
    changed: bool
    run: str
    exports: tuple[str, ...]
    metrics: dict[str, float]
    champion: dict[str, float] | None


@dataclass(frozen=True, slots=True)
class _Proof:
    """registration.json of a run, and the store it lies in."""

    store: Store
    facts: dict[str, Any]
    prepare: str | None
    """Digest of the main dataset's prepare step."""
    mlflow: dict[str, str]


def promote(loaded: Repository, name: str | None, request: Request) -> Promoted:
    """Writes the release file. Raises Report when nothing is proved, or the champion is better."""
    environment = loaded.environment(request.environment)
    if "serve" not in environment.roles:
        raise Report(
            Diagnostic("AIF631", f"environment `{environment.name}` does not serve", "promote to one that does")
        )
    unit = only_unit(loaded, name, environment)
    origin = _origin(loaded, environment, request)
    proof = _proof(loaded, unit, origin, request)
    run = str(proof.facts["run"])
    if run.startswith(LOCAL_RUN) and environment.name != LOCAL:
        hint = "run it on a cluster, from committed code, and promote that run"
        raise Report(Diagnostic("AIF632", f"run `{run}` was made on a laptop: only `{LOCAL}` can release it", hint))
    champion = _compare(loaded, unit, environment, proof, request.allow_worse)
    release = _release(loaded, unit, environment, proof, champion)
    path = load.release_path(loaded.root, environment.name, unit.name)
    changed = write_text(path, text(release))
    _mirror(loaded, unit, environment, proof)
    entry = release.stable
    return Promoted(shown(path, Path.cwd()), changed, run, tuple(entry.exports), dict(entry.evidence.metrics), champion)


def text(release: Release) -> str:
    """The release file's text."""
    body = release.model_dump(mode="json", by_alias=True, exclude_none=True)
    return "# Written by `aifctl promote`; a rollback is a revert of its commit.\n" + to_yaml(body)


def bundle_location(loaded: Repository, environment: Environment, uri: str) -> str:
    """Where a release's bundle lies: of this machine relative to the repository's root, else the URL as it is."""
    return str(loaded.root / uri) if environment.local and "://" not in uri else uri


def only_unit(loaded: Repository, name: str | None, environment: Environment) -> Unit:
    """The one model here, or the named one. Raises Report with every finding otherwise."""
    units, found = load.units(loaded, environment)
    chosen = [unit for unit in units if name in (None, unit.name)]
    if len(chosen) == 1:
        return chosen[0]
    resolved = pipeline.finish(loaded, found)
    if resolved and not chosen:
        raise pipeline.Findings(resolved, loaded.texts)
    names = [unit.name for unit in units]
    if name is None:
        raise Report(Diagnostic("AIF122", f"several models here: {', '.join(names)}", "name one, or its file"))
    raise Report(Diagnostic("AIF121", f"no model `{name}` here", schema.did_you_mean(name, names)))


def _origin(loaded: Repository, environment: Environment, request: Request) -> Environment:
    if request.source is not None:
        return loaded.environment(request.source)
    if environment.local:
        return environment
    trains = [e for e in load.environments(loaded.platform) if "train" in e.roles and not e.local]
    if len(trains) != 1:
        names = ", ".join(f"`{e.name}`" for e in trains) or "none"
        raise Report(
            Diagnostic("AIF633", f"which environment made the run? those that train: {names}", "say it with --from")
        )
    return trains[0]


def _proof(loaded: Repository, unit: Unit, origin: Environment, request: Request) -> _Proof:
    from aifctl.runtime.store import Store

    if origin.local:
        store = Store(loaded.root / STORE)
        digests = _local_digests(store, unit.name, request.run)
    else:
        if origin.store is None:
            raise Report(
                Diagnostic("AIF630", f"environment `{origin.name}` has no store", "give it one in the platform file")
            )
        store = Store(origin.store.uri)
        digests = _compiled_digests(loaded, unit, origin)
    register = digests.get("register")
    published = store.find(register) if register is not None else None
    if published is None:
        hint = f"`aifctl run {unit.name}` makes one" if origin.local else "wait until its Workflow has succeeded"
        raise Report(Diagnostic("AIF634", f"no run of `{unit.name}` that passed its gates is in {store.uri}", hint))
    facts = published.read_json("registration.json")
    dataset = unit.spec.main_dataset
    prepare = digests.get(prepare_name(Place(unit, loaded.platform), dataset.name)) if dataset is not None else None
    return _Proof(store, facts, prepare, dict(published.outputs.get("mlflow", {})))


def _local_digests(store: Store, model: str, run: str | None) -> dict[str, str | None]:
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
            return {}
        record = done[0]
    return {name: step.digest for name, step in record.steps.items()}


def _compiled_digests(loaded: Repository, unit: Unit, origin: Environment) -> dict[str, str | None]:
    compiled = pipeline.compile_environment(loaded, origin)
    model = next((model for model in compiled.models if model.unit.name == unit.name), None)
    if model is None or model.bundle.run is None:
        raise pipeline.Findings(compiled.diagnostics, loaded.texts)
    return {step.name: step.spec.digest for step in model.bundle.run.steps}


def _compare(
    loaded: Repository, unit: Unit, environment: Environment, proof: _Proof, allow_worse: bool
) -> dict[str, float] | None:
    """The champion's metrics on the candidate's test rows; None where there is none, or no comparison was asked for."""
    release, serving = unit.release, unit.spec.serving
    if unit.spec.evaluation.compare_with != "champion" or release is None or proof.prepare is None:
        return None
    entry = release.stable
    name = serving.export if serving is not None and serving.export in entry.exports else next(iter(entry.exports))
    bundle = entry.exports[name]
    from aifctl.runtime import champion

    metrics = metrics_of(Place(unit, loaded.platform))
    measured = champion.measure(
        champion.Question(
            bundle=bundle_location(loaded, environment, bundle.uri),
            sha256=bundle.sha256,
            store=proof.store,
            prepare=proof.prepare,
            split=unit.spec.evaluation.split,
            metrics=metrics,
        )
    )
    mine = _metrics(proof)
    worse = [
        m for m in metrics if m in measured and m in mine and champion.is_worse(m, mine[m], measured[m], TOLERANCE)
    ]
    if worse and metrics[0] in worse and not allow_worse:
        first = metrics[0]
        notes = tuple(
            f"{m:<16} candidate {mine[m]:.6g}   champion {measured[m]:.6g}"
            for m in metrics
            if m in measured and m in mine
        )
        message = f"{first} {mine[first]:.6g} is worse than the champion's {measured[first]:.6g} on the same rows"
        hint = "improve the model, or release it all the same with --allow-worse"
        raise Report(Diagnostic("AIF635", message, hint, notes=notes))
    return measured


def _metrics(proof: _Proof) -> dict[str, float]:
    evaluated = proof.facts.get("evaluate") or {"outputs": {}}
    return {name: float(value) for name, value in evaluated["outputs"].get("metrics", {}).items()}


def _release(
    loaded: Repository, unit: Unit, environment: Environment, proof: _Proof, champion: dict[str, float] | None
) -> Release:
    exports = {name: _place(loaded, unit, environment, proof, each) for name, each in proof.facts["exports"].items()}
    signature = next((each["signature"] for each in proof.facts["exports"].values()), None)
    if not exports or signature is None:
        hint = "add one to `export`, such as `{name: onnx, format: onnx}`"
        raise Report(Diagnostic("AIF636", f"run `{proof.facts['run']}` has no export, so nothing to serve", hint))
    gate = {name: bound.model_dump(exclude_none=True) for name, bound in unit.spec.evaluation.gate.items()}
    git = _git(loaded)
    image = loaded.platform.spec.images.serve if loaded.platform is not None and not environment.local else None
    entry = ReleaseEntry(
        run=str(proof.facts["run"]),
        train=proof.facts["train"]["digest"],
        exports=exports,
        signature=signature,
        image=image,
        commit=git[0],
        dirty=git[1],
        evidence={"metrics": _metrics(proof), "gate": gate, "champion": champion},
    )
    metadata = {"name": unit.name, "environment": environment.name}
    return Release(apiVersion="aif.dev/v1alpha1", kind="Release", metadata=metadata, stable=entry)


def _place(
    loaded: Repository, unit: Unit, environment: Environment, proof: _Proof, facts: dict[str, Any]
) -> dict[str, Any]:
    """The bundle's entry; its files are copied where the serving environment has a store of its own."""
    sha256 = facts["sha256"]
    target = environment.store.uri if environment.store is not None else None
    local = proof.store.local
    if target is not None and target.rstrip("/") != proof.store.uri.rstrip("/"):
        from aifctl.runtime.store import Store

        folder = f"bundles/{unit.name}/{sha256[:16]}"
        published, other = proof.store.find(facts["digest"]), Store(target)
        if published is None:
            raise Report(
                Diagnostic("AIF634", f"bundle {sha256[:10]} is no longer in {proof.store.uri}", "run it again")
            )
        published.verify()
        for name in published.files:
            other.send(f"{folder}/{name}", published.path / name)
        uri = f"{target.rstrip('/')}/{folder}"
    elif local is not None:
        uri = (local / facts["path"]).relative_to(loaded.root).as_posix()
    else:
        uri = f"{proof.store.uri.rstrip('/')}/{facts['path']}"
    return {"uri": uri, "sha256": sha256, "format": facts["format"], "size": facts["size"]}


def _git(loaded: Repository) -> tuple[str | None, bool]:
    from aifctl.spec import git

    try:
        commit = git.commit(loaded.root)
    except Report:
        return None, False  # not in Git: the release says so by having no commit
    return commit.sha, commit.dirty


def _mirror(loaded: Repository, unit: Unit, environment: Environment, proof: _Proof) -> None:
    """MLflow's alias `champion-<env>` follows the release; nothing reads it back."""
    from aifctl.runtime import champion

    uri = f"sqlite:///{loaded.root / STORE / 'mlflow.db'}" if environment.local else None
    if uri is None and loaded.platform is not None:
        uri = loaded.platform.spec.tracking.mlflow
    if uri is not None and proof.mlflow:
        champion.mirror(uri, unit.spec.registry.name or unit.name, proof.mlflow, f"champion-{environment.name}")
