"""register: writes down what a run proved, and mirrors it into MLflow's registry.

registration.json is the evidence that `aifctl promote` reads: digests of training, evaluation, gate and each bundle,
the metrics, and where the files lie relative to the store. MLflow gets a model version an export, whose alias
`candidate` moves here; nothing reads it back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aifctl.contract import Kind, RegisterConfig
from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime.job import Job
from aifctl.runtime.store import Published
from aifctl.runtime.tracking import TAG, open_tracker

REGISTRATION = 1
"""Version of registration.json."""
ALIAS = "candidate"


def run(job: Job) -> dict[str, Any]:
    config = job.config(RegisterConfig)
    train = _one(job, Kind.TRAIN)
    exports = {name: _export(job, name) for name in config.exports}
    evidence = {
        "registration": REGISTRATION,
        "name": config.name,
        "description": config.description,
        "model": job.spec.model,
        "tenant": job.spec.tenant,
        "run": job.site.run,
        "train": {"digest": train.digest, "outputs": dict(train.outputs)},
        "evaluate": _evidence(job, Kind.EVALUATE),
        "gate": _evidence(job, Kind.GATE),
        "exports": exports,
    }
    versions = _mirror(job, config, evidence)
    (job.path / "registration.json").write_text(json.dumps(evidence, indent=1, sort_keys=True), encoding="utf-8")
    job.log(registered=config.name, exports=",".join(exports), **{f"mlflow_{k}": v for k, v in versions.items()})
    return {
        "name": config.name,
        "exports": {name: export["sha256"] for name, export in exports.items()},
        "mlflow": versions,
    }


def _of_kind(job: Job, kind: Kind) -> Iterator[Published]:
    return (published for published in job.inputs.values() if published.about.get("kind") == kind)


def _one(job: Job, kind: Kind) -> Published:
    found = next(_of_kind(job, kind), None)
    return job.input(str(kind)) if found is None else found


def _evidence(job: Job, kind: Kind) -> dict[str, Any] | None:
    found = next(_of_kind(job, kind), None)
    return None if found is None else {"digest": found.digest, "outputs": dict(found.outputs)}


def _export(job: Job, name: str) -> dict[str, Any]:
    """Facts of one bundle. Raises Report where it, or the verify step that guards it, is not among the inputs."""
    bundle = _named(job, Kind.EXPORT, "name", name)
    verify = _named(job, Kind.VERIFY, "export", name)
    bundle.verify()
    return {
        "digest": bundle.digest,
        "path": f"steps/{bundle.digest}/attempts/{bundle.attempt}",
        "sha256": bundle.outputs["sha256"],
        "size": bundle.size,
        "format": bundle.about.get("config", {}).get("format"),
        "signature": bundle.read_json("bundle.json").get("signature"),
        "outputs": dict(bundle.outputs),
        "verify": {"digest": verify.digest, "outputs": dict(verify.outputs)},
    }


def _named(job: Job, kind: Kind, key: str, name: str) -> Published:
    for published in _of_kind(job, kind):
        if published.about.get("config", {}).get(key) == name:
            return published
    message = f"step `{job.spec.name}` does not read the {kind} step of `{name}`"
    raise Report(Diagnostic("AIF801", message, "nothing is registered that was not exported and verified"))


def _mirror(job: Job, config: RegisterConfig, evidence: dict[str, Any]) -> dict[str, str]:
    """Export → version in MLflow's registry; empty where tracking is off or down."""
    tracker = open_tracker(job)
    evaluation = evidence["evaluate"] or {"outputs": {}}
    metrics = {f"metric.{k}": f"{v:.6g}" for k, v in evaluation["outputs"].get("metrics", {}).items()}
    versions = {}
    for name, export in evidence["exports"].items():
        tags = {TAG: evidence["train"]["digest"], "aif.export": name, "aif.bundle": export["sha256"], **metrics}
        model = config.name if len(config.exports) == 1 else f"{config.name}-{name}"
        version = tracker.register(model, _source(job, export["path"]), tags, ALIAS)
        if version is not None:
            versions[name] = version
    tracker.tags({"aif.registered": config.name})
    tracker.finish()
    return versions


def _source(job: Job, path: str) -> str:
    local = job.store.local
    return f"{job.store.uri.rstrip('/')}/{path}" if local is None else Path(local, path).as_uri()
