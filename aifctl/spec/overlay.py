"""Environment overlays: `spec.environments.<env>` merged over `spec`, before the result is validated. Pure.

Mappings merge by key, lists of named items by `name`, anything else is replaced. Every merged place remembers where in
the file it came from, so that a finding in a merged value points at the overlay's line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aifctl.diagnostics.model import KeyPath

SERVING_SECTIONS = frozenset({"serving", "monitoring"})
"""What an environment that only serves may overlay: what serves was trained elsewhere (`route` is part of serving)."""


@dataclass(frozen=True, slots=True)
class Merged:
    """`origins` maps a path of `value` to its path in the document; a path below one without an entry follows it."""

    value: dict[str, Any]
    origins: dict[KeyPath, KeyPath] = field(default_factory=dict)

    def origin(self, path: KeyPath) -> KeyPath:
        for length in range(len(path), 0, -1):
            start = self.origins.get(path[:length])
            if start is not None:
                return start + path[length:]
        return path


def merge(document: dict[str, Any], environment: str) -> Merged:
    """The document as this environment sees it, without its `environments` section.

    One that is no mapping of mappings stays, unmerged, so that validation finds it.
    """
    spec = document.get("spec")
    if not isinstance(spec, dict):
        return Merged(document)
    overlays = spec.get("environments", {})
    if not isinstance(overlays, dict) or not all(isinstance(each, dict) for each in overlays.values()):
        return Merged(document)
    base = {key: value for key, value in spec.items() if key != "environments"}
    overlay = overlays.get(environment)
    if overlay is None:
        return Merged({**document, "spec": base})
    origins: dict[KeyPath, KeyPath] = {}
    merged = _merge(base, overlay, ("spec",), ("spec", "environments", environment), origins)
    return Merged({**document, "spec": merged}, origins)


COMMAND_LINE: KeyPath = ("spec",)
"""Where a finding in a value from the command line points: the spec as a whole, there is no line of it."""


def assign(merged: Merged, assignments: dict[KeyPath, Any]) -> Merged:
    """The merged document with these values of `spec` set, as `--set training.epochs=3` asks for.

    Numbers in a path step into lists, as names do into lists of named items. Raises KeyError, with the path and that
    part of it which leads nowhere.
    """
    value, origins = merged.value, dict(merged.origins)
    for path, given in assignments.items():
        try:
            spec, place = _assign(value.get("spec"), path, given)
        except KeyError as error:
            raise KeyError(".".join(map(str, path)), error.args[0]) from None
        value = {**value, "spec": spec}
        origins[("spec", *place)] = COMMAND_LINE
    return Merged(value, origins)


def _assign(here: Any, path: KeyPath, given: Any) -> tuple[Any, KeyPath]:
    """(the value with `given` at this path, the path with places for names of list items)."""
    if not path:
        return given, ()
    step, rest = path[0], path[1:]
    if isinstance(here, list):
        index = next((i for i, item in enumerate(here) if isinstance(item, dict) and item.get("name") == step), step)
        if not isinstance(index, int) or not 0 <= index < len(here):
            raise KeyError(step)
        below, place = _assign(here[index], rest, given)
        return [*here[:index], below, *here[index + 1 :]], (index, *place)
    if here is not None and not isinstance(here, dict):
        raise KeyError(step)
    below, place = _assign((here or {}).get(str(step)), rest, given)
    return {**(here or {}), str(step): below}, (str(step), *place)


def _merge(base: Any, over: Any, path: KeyPath, source: KeyPath, origins: dict[KeyPath, KeyPath]) -> Any:
    if isinstance(base, dict) and isinstance(over, dict):
        result = dict(base)
        for key, value in over.items():
            result[key] = _merge(base.get(key), value, (*path, key), (*source, key), origins)
        return result
    if _named(base) and _named(over):
        return _merge_named(base, over, path, source, origins)
    origins[path] = source
    return over


def _merge_named(
    base: list[Any], over: list[Any], path: KeyPath, source: KeyPath, origins: dict[KeyPath, KeyPath]
) -> list[Any]:
    result = list(base)
    places = {item["name"]: index for index, item in enumerate(base)}
    for index, item in enumerate(over):
        place = places.get(item["name"], len(result))
        if place == len(result):
            places[item["name"]] = place
            result.append(None)
        result[place] = _merge(result[place], item, (*path, place), (*source, index), origins)
    return result


def _named(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, dict) and isinstance(item.get("name"), str) for item in value
    )
