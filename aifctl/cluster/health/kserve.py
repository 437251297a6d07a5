"""KServe's InferenceService.

Traps: its `observedGeneration` is copied from a child object; `modelStatus.transitionStatus` can stay InProgress for
ever while the service answers; `Ready` can stay True while new pods crash. So a model that can't be loaded fails
whatever `Ready` says, and only pods (`stuck`, `blame`) tell a crash after the model was loaded once.
"""

from __future__ import annotations

from aifctl.cluster.health import generic, model, reading
from aifctl.cluster.health.model import Health
from aifctl.cluster.health.reading import Condition, Seen, count, text

PARTS = ("PredictorReady", "TransformerReady", "ExplainerReady", "IngressReady", "RoutesReady", "ConfigurationsReady")


def inference_service(seen: Seen) -> Health:
    stopped = seen.is_true("Stopped")
    if stopped:
        return model.suspended("Stopped", stopped.message)
    return _unloadable(seen) or _rolling(seen) or _ready(seen)


def _unloadable(seen: Seen) -> Health | None:
    """A model that was tried and can't be served; a failure of one copy is told, and tried again."""
    status = reading.mapping(seen.status.get("modelStatus"))
    transition, target = status.get("transitionStatus"), reading.at(status, "states", "targetModelState")
    if transition in ("BlockedByFailedLoad", "InvalidSpec") or target == "FailedToLoad":
        reason, said = _failure(seen)
        return model.failed(reason or text(transition), reading.fold(said, _copies(seen)))
    return None


def _rolling(seen: Seen) -> Health | None:
    """Knative: a newer revision was made than the one that answers."""
    for name, part in reading.mapping(seen.status.get("components")).items():
        made, ready = (text(reading.at(part, f"latest{each}Revision")) for each in ("Created", "Ready"))
        if made and made != ready:
            reason, said = _failure(seen)
            answers = f"{ready} still answers" if ready else ""
            return model.progressing(reason or "Rollout", reading.fold(f"{name}: {made} is not ready", answers, said))
    return None


def _ready(seen: Seen) -> Health:
    told = seen.conditions.get("Ready")
    if told is None:
        return model.pending("NoCondition", "KServe has not said whether it is ready")
    if told.status == "True":
        return model.healthy("Ready", reading.fold(text(seen.status.get("url")), _copies(seen)))
    reason, said = _failure(seen)
    part = _unready_part(seen) or told
    if part.status == "False" and generic.is_bad(part.reason):
        return model.failed(part.reason, f"{part.type}: {part.message}")
    phase = reason or part.reason or f"Not{part.type}"
    return model.progressing(phase, reading.fold(f"{part.type} is {part.status}", part.message, said, _copies(seen)))


def _unready_part(seen: Seen) -> Condition | None:
    parts = [
        seen.conditions[each] for each in PARTS if each in seen.conditions and seen.conditions[each].status != "True"
    ]
    return min(parts, key=lambda each: each.status != "False", default=None)


def _failure(seen: Seen) -> tuple[str, str]:
    """Reason and message of the last failure to load, with the exit code of what ran."""
    failure = reading.mapping(reading.at(seen.status, "modelStatus", "lastFailureInfo"))
    code = reading.integer(failure.get("exitCode"))
    said = reading.fold(text(failure.get("message")), f"exit code {code}" if code else "")
    return text(failure.get("reason")), said


def _copies(seen: Seen) -> str:
    copies = reading.mapping(reading.at(seen.status, "modelStatus", "copies"))
    failed, all_of_them = count(copies.get("failedCopies")), count(copies.get("totalCopies"))
    if failed:
        return f"copies: {failed} failed, {all_of_them} loaded"
    return f"{all_of_them} copies loaded" if all_of_them else ""
