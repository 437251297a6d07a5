"""`aifctl promote`: a run's proof → `releases/<env>/<model>.yaml`, the facts of what serves.

The comparison with the champion is made here again, on the candidate's test rows; the bundle is copied where stores
differ.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aifctl.canonical import to_yaml
from aifctl.delivery import proof as proofs
from aifctl.delivery.choosing import only_unit
from aifctl.delivery.files import write_text
from aifctl.delivery.proof import STORE, ExportFacts, Proof
from aifctl.diagnostics import Diagnostic, Report, Severity
from aifctl.lowering.placement import Place
from aifctl.lowering.steps import metrics_of
from aifctl.spec import load
from aifctl.spec.load import LOCAL, Repository, Unit
from aifctl.spec.models.platform import Environment
from aifctl.spec.models.release import Release, ReleaseEntry
from aifctl.spec.paths import shown

LAPTOP = "local-"
"""How names of runs on a laptop begin."""
TOLERANCE = 1e-9
"""How much worse than the champion still counts as equal: rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    environment: str
    run: str | None = None
    """A run of this machine; None takes its newest finished one. Of a cluster it is the one the spec stands for."""
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
    diagnostics: tuple[Diagnostic, ...] = ()
    """Warnings: what did not stop the release."""


@dataclass(frozen=True, slots=True)
class _Compared:
    champion: dict[str, float] | None = None
    diagnostics: tuple[Diagnostic, ...] = ()


def promote(loaded: Repository, name: str | None, request: Request) -> Promoted:
    """Writes the release file. Raises Report when nothing is proved, or the champion is better."""
    environment = loaded.environment(request.environment)
    if "serve" not in environment.roles:
        raise Report(
            Diagnostic("AIF631", f"environment `{environment.name}` does not serve", "promote to one that does")
        )
    unit = only_unit(loaded, name, environment)
    origin = proofs.origin(loaded, environment, request.source)
    proof = proofs.gather(loaded, unit, origin, request.run)
    run = proof.made.run
    laptops = next((name for name in (run, proof.facts.run) if name.startswith(LAPTOP)), None)
    if laptops is not None and environment.name != LOCAL:
        hint = "run it on a cluster, from committed code, and promote that run"
        raise Report(Diagnostic("AIF632", f"run `{laptops}` was made on a laptop: only `{LOCAL}` can release it", hint))
    compared = _compare(loaded, unit, environment, proof, request.allow_worse)
    release = _release(loaded, unit, environment, proof, compared.champion)
    path = load.release_path(loaded.root, environment.name, unit.name)
    changed = write_text(path, text(release))
    warnings = (*compared.diagnostics, *_mirror(loaded, environment, proof))
    entry = release.stable
    metrics, champion = dict(entry.evidence.metrics), entry.evidence.champion
    return Promoted(shown(path, Path.cwd()), changed, run, tuple(entry.exports), metrics, champion, warnings)


def text(release: Release) -> str:
    """The release file's text."""
    body = release.model_dump(mode="json", by_alias=True, exclude_none=True)
    return "# Written by `aifctl promote`; a rollback is a revert of its commit.\n" + to_yaml(body)


def bundle_location(loaded: Repository, environment: Environment, uri: str) -> str:
    """Where a release's bundle lies: of this machine relative to the repository's root, else the URL as it is."""
    return str(loaded.root / uri) if environment.local and "://" not in uri else uri


def _compare(loaded: Repository, unit: Unit, environment: Environment, proof: Proof, allow_worse: bool) -> _Compared:
    """The champion's metrics on the candidate's test rows; none where there is no champion, or nobody asked for it.

    With `allow_worse` nothing that speaks against the candidate stops it; it is said as a warning. A run that serves
    already is not compared with itself: what was found when it was released stays.
    """
    entry = unit.release.stable if unit.release is not None else None
    if unit.spec.evaluation.compare_with != "champion" or entry is None:
        return _Compared()
    if entry.train == proof.facts.train.digest:
        return _Compared(entry.evidence.champion)
    try:
        measured = _measure(loaded, unit, environment, proof)
    except Report as report:
        if not allow_worse:
            raise
        return _Compared(None, tuple(replace(d, severity=Severity.WARNING, hint=None) for d in report.diagnostics))
    worse = _worse(metrics_of(Place(unit, loaded.platform)), proof.metrics, measured)
    if worse is not None and not allow_worse:
        raise Report(worse)
    return _Compared(measured, () if worse is None else (replace(worse, severity=Severity.WARNING, hint=None),))


def _measure(loaded: Repository, unit: Unit, environment: Environment, proof: Proof) -> dict[str, float]:
    assert unit.release is not None
    entry, serving = unit.release.stable, unit.spec.serving
    name = serving.export if serving is not None and serving.export in entry.exports else next(iter(entry.exports))
    bundle = entry.exports[name]
    if proof.prepare is None:
        message = "the candidate's test rows can't be found: its data is not pinned"
        raise Report(Diagnostic("AIF637", message, "pin it with `aifctl lock`, or release with --allow-worse"))
    from aifctl.runtime import champion

    return champion.measure(
        champion.Question(
            bundle=bundle_location(loaded, environment, bundle.uri),
            sha256=bundle.sha256,
            store=proof.store,
            prepare=proof.prepare,
            split=unit.spec.evaluation.split,
            metrics=metrics_of(Place(unit, loaded.platform)),
        )
    )


def _worse(metrics: tuple[str, ...], mine: dict[str, float], champions: dict[str, float]) -> Diagnostic | None:
    """A finding where the candidate is worse in the first metric, with all that both have."""
    from aifctl.runtime import champion

    both = [name for name in metrics if name in mine and name in champions]
    if not both or not champion.is_worse(both[0], mine[both[0]], champions[both[0]], TOLERANCE):
        return None
    first, width = both[0], max(map(len, [*both, "metric"]))
    rows = [f"{name:<{width}}  {mine[name]:>10.6g}  {champions[name]:>10.6g}" for name in both]
    message = f"{first} {mine[first]:.6g} is worse than the champion's {champions[first]:.6g} on the same rows"
    hint = "improve the model, or release it all the same with --allow-worse"
    table = "\n".join([f"{'metric':<{width}}  {'candidate':>10}  {'champion':>10}", *rows])
    return Diagnostic("AIF635", message, hint, notes=(table,))


def _release(
    loaded: Repository, unit: Unit, environment: Environment, proof: Proof, champion: dict[str, float] | None
) -> Release:
    facts = proof.facts
    if not facts.exports:
        hint = "add one to `export`, such as `{name: onnx, format: onnx}`"
        raise Report(Diagnostic("AIF636", f"run `{proof.made.run}` has no export, so nothing to serve", hint))
    exports = {name: _place(loaded, unit, environment, proof, each) for name, each in sorted(facts.exports.items())}
    image = loaded.platform.spec.images.serve if loaded.platform is not None and not environment.local else None
    before = unit.release.stable if unit.release is not None else None
    # The same run again is the same release: later commits do not make it another.
    same = before is not None and before.run == proof.made.run
    commit = (before.commit, before.dirty) if before is not None and same else proof.made.commit
    entry = ReleaseEntry(
        run=proof.made.run,
        train=facts.train.digest,
        exports=exports,
        signature=_without_none(facts.exports[next(iter(exports))].signature),
        image=image,
        commit=commit[0],
        dirty=commit[1],
        evidence={"metrics": proof.metrics, "gate": proof.bounds, "champion": champion},
    )
    metadata = {"name": unit.name, "environment": environment.name}
    return Release(apiVersion="aif.dev/v1alpha1", kind="Release", metadata=metadata, stable=entry)


def _without_none(value: Any) -> Any:
    """A release is read by people: what a tensor does not have is left out."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value


def _place(
    loaded: Repository, unit: Unit, environment: Environment, proof: Proof, facts: ExportFacts
) -> dict[str, Any]:
    """The bundle's entry; its files are copied where the serving environment has a store of its own."""
    sha256 = facts.sha256
    target = environment.store.uri if environment.store is not None else None
    local = proof.store.local
    if target is not None and target.rstrip("/") != proof.store.uri.rstrip("/"):
        from aifctl.runtime.store import Store

        folder = f"bundles/{unit.name}/{sha256[:16]}"
        published, other = proof.store.find(facts.digest), Store(target)
        if published is None:
            raise Report(
                Diagnostic("AIF634", f"bundle {sha256[:10]} is no longer in {proof.store.uri}", "run it again")
            )
        published.verify()
        for name in published.files:
            other.send(f"{folder}/{name}", published.path / name)
        uri = f"{target.rstrip('/')}/{folder}"
    elif proof.local and local is not None:
        uri = (local / facts.path).relative_to(loaded.root).as_posix()
    else:
        uri = f"{proof.store.uri.rstrip('/')}/{facts.path}"
    return {"uri": uri, "sha256": sha256, "format": facts.format, "size": facts.size}


def _mirror(loaded: Repository, environment: Environment, proof: Proof) -> tuple[Diagnostic, ...]:
    """MLflow's alias `champion-<env>` follows the release; nothing reads it back, so it may fail with a warning."""
    if environment.local:
        uri: str | None = f"sqlite:///{loaded.root / STORE / 'mlflow.db'}"
    else:
        uri = loaded.platform.spec.tracking.mlflow if loaded.platform is not None else None
    if uri is None or not proof.mlflow:
        return ()
    from aifctl.runtime import champion

    name, exports = proof.facts.name, tuple(proof.facts.exports)
    models = {name if len(exports) == 1 else f"{name}-{export}": v for export, v in proof.mlflow.items()}
    reason = champion.mirror(uri, models, f"champion-{environment.name}")
    if reason is None:
        return ()
    hint = "the release stands all the same: nothing reads the alias"
    message = f"MLflow's alias `champion-{environment.name}` could not be moved: {reason}"
    return (Diagnostic("AIF809", message, hint, severity=Severity.WARNING),)
