"""How aifctl applies an environment (`apply` of an environment): what it may replace, prune and leave to others."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator, Strict, WithJsonSchema
from pydantic_core import PydanticCustomError

from aifctl.manifest import HOLDERS
from aifctl.spec.field_path import FieldPath, covers, own_field, parse_path
from aifctl.spec.models.section import Duration, Flag, Name, Section, Text

ACCOUNT = "aifctl-deployer"
SHARE = 0.5
"""Of a unit's objects, how many one apply may prune where the platform says nothing …"""
FEW = 20
"""… but as many objects as this at any rate: of a small unit nearly everything may go at once."""
RUNS = frozenset({"Workflow"})
"""Kinds that are created once, under a name that holds their content: never replaced."""
_LIMIT = re.compile(r"(\d{1,3})%")


@dataclass(frozen=True, slots=True)
class PruneLimit:
    """`share` of a unit's objects, or a number of objects."""

    share: float | None = None
    count: int | None = None

    def __str__(self) -> str:
        return f"{self.share * 100:.0f}%" if self.share is not None else str(self.count)

    def most(self, total: int) -> int:
        """Objects that may be pruned of a unit of `total`."""
        return int(self.share * total) if self.share is not None else self.count or 0


def parse_limit(value: Any) -> PruneLimit:
    """`50%`, or a number of objects."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return PruneLimit(count=value)
    match = _LIMIT.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[1]) > 100:
        raise PydanticCustomError("unit", "expected a share such as `50%`, or a number of objects")
    return PruneLimit(share=int(match[1]) / 100)


def parse_field(value: str) -> str:
    """The text of a path that leads to a field one may leave to others."""
    try:
        path = parse_path(value)
    except ValueError as error:
        raise PydanticCustomError("field_path", "{words}", {"words": str(error)}) from error
    if own_field(path):
        raise PydanticCustomError("field_path", "a field that tells or reports the object can't be left to others")
    return value


def replaceable(value: str) -> str:
    kind = value.partition(".")[0]
    if kind in HOLDERS:
        raise PydanticCustomError("kept_kind", "deleting a {kind} would take what it holds along", {"kind": kind})
    if kind in RUNS:
        raise PydanticCustomError("kept_kind", "a {kind} is created once and never replaced", {"kind": kind})
    return value


Kind = Annotated[
    str, Strict(), Field(pattern=r"^[A-Z][A-Za-z0-9]*(\.[a-z0-9][a-z0-9.-]*)?$", examples=["Deployment", "Job.batch"])
]
"""A kind of object, with its group where two kinds have one name."""
Limit = Annotated[
    PruneLimit,
    PlainValidator(parse_limit),
    PlainSerializer(str),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "pattern": r"^(100|\d{1,2})%$"}, {"type": "integer", "minimum": 0}],
            "examples": ["50%", 20],
        }
    ),
]


class Prune(Section):
    """How much one apply may delete."""

    limit: Limit | None = None
    """Most objects of one model that one apply may delete, a share of them or a number. Left out: half of them, or 20
    where that is more.
    Examples: `50%`, `20`."""

    def most(self, total: int) -> int:
        """Objects that may be pruned of a unit of `total`."""
        return self.limit.most(total) if self.limit is not None else max(FEW, int(SHARE * total))


class Ignored(Section):
    """A field that something else sets. aifctl does not write it where it is set already, and calls it no drift."""

    kind: Kind
    """Kind of the objects; `Kind.group` where two kinds have one name. Example: `Deployment`."""
    name: Text = "*"
    """Names of the objects; `*` stands for any text. Examples: `iris`, `team-*`."""
    path: Annotated[Text, AfterValidator(parse_field)]
    """The field, as plans print it; what is below it is left alone too. `[*]` is every item.
    Examples: `spec.replicas`, `spec.template.spec.containers[*].resources`."""

    @property
    def field(self) -> FieldPath:
        return parse_path(self.path)

    def concerns(self, kind: str, group: str, name: str) -> bool:
        """Whether objects of this kind, group and name are meant."""
        wanted, dot, wanted_group = self.kind.partition(".")
        return wanted == kind and (not dot or wanted_group == group) and fnmatchcase(name, self.name)

    def covers(self, path: tuple[object, ...]) -> bool:
        """Whether the path (its steps by their text) is the field, or below it."""
        return covers(self.field, path)


class Apply(Section):
    """How aifctl applies this environment. Nothing of it (but `account`) counts where another tool applies it."""

    replace: tuple[Annotated[Kind, AfterValidator(replaceable)], ...] = ()
    """Kinds whose objects may be deleted and made again when a field changed that can't be changed in place. None by
    default: such a change is then refused. Namespaces, volumes, CRDs and runs never are.
    Example: `[Deployment, Job]`."""
    prune: Prune = Field(default_factory=Prune)
    """How much one apply may delete; half of a model's objects, or 20 where that is more, when left out.
    Example: `{limit: 25%}`."""
    ignore: tuple[Ignored, ...] = ()
    """Fields left to whoever else sets them, such as an autoscaler of another team.
    Example: `[{kind: Deployment, path: spec.replicas}]`."""
    protect: Flag = False
    """`true`: `aifctl destroy` refuses this environment."""
    timeout: Duration = 600.0
    """How long an apply waits for the objects of one model to be well; `--timeout` of a command comes before.
    Example: `15m`."""
    account: Name = ACCOUNT
    """ServiceAccount in each tenant's namespace whose rights a tenant's objects are applied with.
    Example: `aifctl-deployer`."""

    def may_replace(self, kind: str, group: str) -> bool:
        return kind in self.replace or f"{kind}.{group}" in self.replace

    def ignored(self, kind: str, group: str, name: str) -> tuple[FieldPath, ...]:
        """Paths of this object that are left to others."""
        return tuple(rule.field for rule in self.ignore if rule.concerns(kind, group, name))
