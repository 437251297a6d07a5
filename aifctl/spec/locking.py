"""What `aifctl lock` writes: the lock file's text, what is still missing from it, requirements resolved with hashes.

Pins of remote data are looked up by the caller, because that takes the network and heavy libraries.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from aifctl.canonical import to_yaml
from aifctl.diagnostics import Diagnostic, Report
from aifctl.spec.load import Unit
from aifctl.spec.models.dataset import Dataset
from aifctl.spec.models.lock import Lock, LockedDataset, LockedRequirements, Retry

RESOLVE_SECONDS = 600


def unlocked(unit: Unit, update: bool) -> list[Dataset]:
    """Datasets whose pin is to be looked up: pinned ones that neither the spec nor, unless updating, the lock names."""
    return [dataset for dataset in unit.spec.datasets if _needs_pin(unit, dataset, update)]


def _needs_pin(unit: Unit, dataset: Dataset, update: bool) -> bool:
    return _lockable(dataset) and (update or _locked(unit, dataset) is None)


def _lockable(dataset: Dataset) -> bool:
    """Whether its pin belongs into the lock: not where the spec says it, nor where there is to be none."""
    source = dataset.source
    by_hand = (source.sha256, source.version, source.snapshot) != (None, None, None)
    return dataset.pinned and source.kind in ("path", "uri") and not by_hand


def _locked(unit: Unit, dataset: Dataset) -> LockedDataset | None:
    """The lock's entry, if it is of the source that the spec names now."""
    locked = unit.lock.datasets.get(dataset.name) if unit.lock is not None else None
    return locked if locked is not None and locked.source == source_name(dataset) else None


def source_name(dataset: Dataset) -> str:
    """How the lock names a source, to notice when the spec names another."""
    return f"{dataset.source.kind}:{dataset.source.value}"


def requirements_outdated(unit: Unit, update: bool) -> bool:
    fact = unit.facts.requirements
    if fact is None or fact.sha256 is None:
        return False
    locked = unit.lock.requirements if unit.lock is not None else None
    return update or locked is None or locked.source != fact.sha256


def lock(unit: Unit, pins: dict[str, LockedDataset], requirements: LockedRequirements | None) -> Lock:
    """The lock with these new entries; entries of datasets that are gone, or pinned in the spec by now, are dropped."""
    old = unit.lock
    known = {dataset.name: _locked(unit, dataset) for dataset in unit.spec.datasets if _lockable(dataset)}
    kept = {name: locked for name, locked in known.items() if locked is not None}
    fact = unit.facts.requirements
    former = old.requirements if old is not None and fact is not None else None
    return Lock(
        apiVersion="aif.dev/v1alpha1",
        kind="Lock",
        metadata={"name": unit.name},
        datasets={**kept, **pins},
        requirements=requirements or former,
        retry=dict(old.retry) if old is not None else {},
    )


def with_retry(unit: Unit, environment: str, run: str, attempt: int) -> Lock:
    """The lock with one more attempt at this run counted."""
    current = unit.lock or lock(unit, {}, None)
    return current.model_copy(update={"retry": {**current.retry, environment: Retry(run=run, attempt=attempt)}})


def text(value: Lock) -> str:
    body = value.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    datasets = dict(sorted(body.pop("datasets", {}).items()))
    ordered = {
        "apiVersion": value.api_version,
        "kind": value.kind,
        "metadata": body.pop("metadata"),
        "datasets": datasets,
    }
    return "# Written by `aifctl lock`; commit it.\n" + to_yaml(
        {**ordered, **{k: v for k, v in body.items() if k not in ordered}}
    )


def resolve_requirements(path: Path, source: str) -> LockedRequirements:
    """Every package the requirements lead to, with its version and hashes, by `uv` where it is installed, else pip.

    Raises Report when the resolver is missing, fails or takes longer than RESOLVE_SECONDS.
    """
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        hint = "install uv (`pip install uv`) or write the requirements with `==` and hashes yourself"
        raise Report(Diagnostic("AIF123", "requirements can't be locked: `uv` is not installed", hint))
    command = [
        uv,
        "pip",
        "compile",
        str(path),
        "--generate-hashes",
        "--no-header",
        "--no-annotate",
        "--no-emit-index-url",
        "-q",
    ]
    try:
        done = subprocess.run(
            [*command, "--python", sys.executable], capture_output=True, text=True, timeout=RESOLVE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise Report(Diagnostic("AIF123", f"locking {path.name} took longer than {RESOLVE_SECONDS} s")) from None
    if done.returncode:
        notes = tuple(done.stderr.strip().splitlines()[-10:])
        raise Report(Diagnostic("AIF123", f"{path.name} can't be resolved", None, notes=notes))
    return LockedRequirements(source=source, packages=tuple(sorted(_packages(done.stdout.splitlines()))))


def _packages(lines: Iterable[str]) -> Iterable[str]:
    logical = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    return (line.strip() for line in logical.splitlines() if line.strip() and not line.startswith(("#", "-")))
