"""Gateway API: a route is as good as the worst word of the gateways that it names; conditions carry a generation."""

from __future__ import annotations

from collections.abc import Iterator

from aifctl.cluster.health import generic, model, reading
from aifctl.cluster.health.model import Health, State
from aifctl.cluster.health.reading import Condition, Seen, text

_WAITS = frozenset({"Pending", "AddressNotAssigned", "NoResources", "Waiting"})
_WORST = (State.FAILED, State.PENDING, State.PROGRESSING, State.HEALTHY)


def route(seen: Seen) -> Health:
    wanted = len(reading.mappings(seen.spec.get("parentRefs")))
    answers = list(_answers(seen))
    if not answers:
        return model.pending("NoParent", "no gateway has looked at it yet")
    worst = min(answers, key=lambda each: _WORST.index(each.state))
    if worst.state is State.HEALTHY and len(answers) < wanted:
        return model.progressing("NoParent", f"{len(answers)} of {wanted} gateways have answered")
    return worst


def gateway(seen: Seen) -> Health:
    told = [seen.conditions[each] for each in ("Accepted", "Programmed") if each in seen.conditions]
    if not told:
        return model.pending("NoCondition", "no controller of its class has looked at it yet")
    health = _judge(seen, told)
    if health.state is not State.HEALTHY:
        return health
    for listener in reading.mappings(seen.status.get("listeners")):
        conditions = {each.type: each for each in reading.conditions(listener.get("conditions"))}
        refs = conditions.get("ResolvedRefs")
        if refs and refs.status == "False":
            return model.failed(refs.reason or "ResolvedRefs", f"listener {text(listener.get('name'))}: {refs.message}")
    addresses = [text(each.get("value")) for each in reading.mappings(seen.status.get("addresses"))]
    return model.healthy("Programmed", ", ".join(filter(None, addresses)))


def gateway_class(seen: Seen) -> Health:
    told = seen.conditions.get("Accepted")
    return _judge(seen, [told]) if told else model.pending()


def _answers(seen: Seen) -> Iterator[Health]:
    """What each gateway says of the route."""
    for parent in reading.mappings(seen.status.get("parents")):
        conditions = {each.type: each for each in reading.conditions(parent.get("conditions"))}
        told = [conditions[each] for each in ("Accepted", "ResolvedRefs") if each in conditions]
        name = text(reading.at(parent, "parentRef", "name"))
        if not told:
            yield model.progressing("NoCondition", f"gateway {name} has not answered yet")
            continue
        health = _judge(seen, told)
        message = f"by gateway {name}" if health.state is State.HEALTHY else f"gateway {name}: {health.message}"
        yield Health(state=health.state, phase=health.phase, message=message)


def _judge(seen: Seen, told: list[Condition]) -> Health:
    """The first condition that is not True, else the last one."""
    for each in told:
        old = each.observed is not None and seen.generation is not None and each.observed < seen.generation
        if old or each.status == "True":
            continue
        if each.status == "False" and each.reason not in _WAITS:
            return model.failed(each.reason or each.type, each.message)
        return model.progressing(each.reason or each.type, each.message)
    judged = [generic.judge(seen, each) for each in told]
    return next((each for each in judged if each.state is not State.HEALTHY), judged[0])
