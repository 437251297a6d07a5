"""An environment as an apply needs it: its address, its units, and its rules. Talks to no cluster."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aifctl.cluster.inventory import Unit
from aifctl.cluster.policy import Policy
from aifctl.cluster.wanted import Wanted
from aifctl.cluster.wanted import wanted as made
from aifctl.diagnostics import Diagnostic, Report
from aifctl.spec.paths import shown

if TYPE_CHECKING:
    from aifctl.pipeline import Compiled
    from aifctl.spec.load import Repository
    from aifctl.spec.models.platform import Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What of an environment must be known to reach its cluster. `context` None: the kubeconfig's current one."""

    name: str
    context: str | None
    deliverer: str


def address(environment: Environment) -> Address:
    """Raises Report (AIF620) for one without a cluster."""
    if environment.cluster is None:
        hint = "it runs processes: use `aifctl run` and `aifctl serve`"
        raise Report(Diagnostic("AIF620", f"environment `{environment.name}` has no cluster", hint))
    return Address(name=environment.name, context=environment.cluster.context, deliverer=environment.deliverer)


def refuse_others(place: Address) -> None:
    """Raises Report (AIF733) where another tool applies this environment: one applier an environment."""
    if place.deliverer != "aifctl":
        tool = {"argocd": "Argo CD", "flux": "Flux"}[place.deliverer]
        hint = f"`aifctl render --env {place.name}`, commit, and {tool} syncs it; `plan` works as ever"
        message = f"environment `{place.name}` is applied by {tool}: two appliers would undo each other"
        raise Report(Diagnostic("AIF733", message, hint))


def idle(root: Path, specs: Container[str]) -> Callable[[str], bool]:
    """Whether a path of the repository is a file that holds no spec (`Request.is_idle`)."""
    return lambda path: path not in specs and (root / path).is_file()


def specs(repository: Repository) -> frozenset[str]:
    """Files that the documents of a repository stand in."""
    return frozenset(shown(document.path, repository.root) for document in repository.documents)


def wanted(compiled: Compiled) -> Iterable[Wanted]:
    name = compiled.environment.name
    if compiled.grounded and compiled.ground:
        yield made(Unit(name), compiled.ground)
    for model in compiled.models:
        yield made(Unit(name, model.bundle.tenant, model.bundle.model), model.manifests)


def frozen(compiled: Compiled) -> Iterable[str]:
    """Models that do not compile; and the ground (no name), where it could not be made."""
    yield from (d.model_name for d in compiled.repository.documents if d.key in compiled.broken)
    if not compiled.grounded:
        yield ""


def policy(environment: Callable[[], Environment]) -> Policy:
    """The environment is asked for where a rule is: of what is as it should be, none is."""
    return Policy(
        may_replace=lambda kind, group: environment().apply.may_replace(kind, group),
        ignored=lambda kind, group, name: environment().apply.ignored(kind, group, name),
        most=lambda total: environment().apply.prune.most(total),
    )


def timeout(environment: Environment, asked: float | None) -> float | None:
    """Seconds that an object may take: what was asked for, else what the platform file says, else None: each kind has
    its own time."""
    if asked is not None or "timeout" not in environment.apply.model_fields_set:
        return asked
    return environment.apply.timeout
