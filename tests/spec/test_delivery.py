"""`apply` of an environment: limits, kinds, fields that are left to others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aifctl.diagnostics import Where
from aifctl.spec import schema, source
from aifctl.spec.models.delivery import Apply, PruneLimit
from aifctl.spec.models.platform import Platform

HEAD = "apiVersion: aif.dev/v1alpha1\nkind: Platform\nmetadata: {name: p}\nspec:\n  environments:\n    - name: prod\n"


def given(apply: str) -> tuple[Apply | None, list[Any]]:
    (document,), _ = source.parse(f"{HEAD}      apply: {apply}\n", Path("p.yaml"), "p.yaml")
    platform, found = schema.validate(Platform, document.value, Where("p.yaml"))
    return (platform.spec.environments[0].apply if platform is not None else None), found


def of(apply: str) -> Apply:
    value, found = given(apply)
    assert value is not None, found
    return value


def test_defaults() -> None:
    apply = of("{}")
    assert (apply.replace, apply.ignore, apply.protect) == ((), (), False)
    assert (apply.timeout, apply.account) == (600.0, "aifctl-deployer")
    assert [apply.prune.most(total) for total in (0, 5, 39, 41, 100)] == [20, 20, 20, 20, 50]


@pytest.mark.parametrize(
    ("limit", "value", "most"),
    [
        ("50%", PruneLimit(share=0.5), 4),
        ("100%", PruneLimit(share=1.0), 9),
        ("3", PruneLimit(count=3), 3),
        ("0", PruneLimit(count=0), 0),
    ],
)
def test_limits(limit: str, value: PruneLimit, most: int) -> None:
    prune = of(f"{{prune: {{limit: {limit}}}}}").prune
    assert prune.limit == value
    assert prune.most(9) == most
    assert str(value) == limit


def test_kinds_with_and_without_a_group() -> None:
    apply = of("{replace: [Deployment, Job.batch]}")
    assert apply.may_replace("Deployment", "apps")
    assert apply.may_replace("Job", "batch")
    assert not apply.may_replace("Job", "example.com")
    assert not apply.may_replace("Service", "")


def test_ignored_fields() -> None:
    apply = of(
        '{ignore: [{kind: Deployment, name: "iris*", path: spec.replicas}, {kind: Job.batch, path: spec.suspend}]}'
    )
    assert apply.ignored("Deployment", "apps", "iris-1") == (("spec", "replicas"),)
    assert apply.ignored("Deployment", "apps", "wine") == ()
    assert apply.ignored("Job", "batch", "any") == (("spec", "suspend"),)
    assert apply.ignored("Job", "other.dev", "any") == ()
    assert apply.ignore[0].covers(("spec", "replicas"))
    assert not apply.ignore[0].covers(("spec", "template"))


LIMIT = "`limit`: expected a share such as `50%`, or a number of objects; found"
STEPS = "`path`: expected keys with dots between them, and others in brackets; `.` is neither"
OWN = "`path`: a field that tells or reports the object can't be left to others"
DURATION = "`timeout`: expected a duration such as `30s`, `5m`, `1h30m` or `200ms`; found `10`"
HELD = "`replace`: deleting a Namespace would take what it holds along"
RUN = "`replace`: a Workflow is created once and never replaced"


@pytest.mark.parametrize(
    ("apply", "code", "message", "path"),
    [
        ("{prune: {limit: 101%}}", "AIF208", f"{LIMIT} `101%`", ("prune", "limit")),
        ("{prune: {limit: half}}", "AIF208", f"{LIMIT} `half`", ("prune", "limit")),
        ("{prune: {limit: -1}}", "AIF208", f"{LIMIT} `-1`", ("prune", "limit")),
        ("{replace: [deployments]}", "AIF207", "`deployments` can't be a value of `replace`", ("replace", 0)),
        ("{replace: [Job, Namespace]}", "AIF207", HELD, ("replace", 1)),
        ("{replace: [Workflow]}", "AIF207", RUN, ("replace", 0)),
        ("{ignore: [{kind: Deployment, path: spec.}]}", "AIF207", STEPS, ("ignore", 0, "path")),
        ("{ignore: [{kind: Deployment, path: metadata.name}]}", "AIF207", OWN, ("ignore", 0, "path")),
        ("{timeout: 10}", "AIF208", DURATION, ("timeout",)),
        ("{protect: 1}", "AIF205", "`protect`: expected true or false, found the number `1`", ("protect",)),
        ("{acount: x}", "AIF203", "unknown field `acount`", ("acount",)),
    ],
)
def test_what_is_refused_and_where(apply: str, code: str, message: str, path: tuple[str | int, ...]) -> None:
    value, found = given(apply)
    assert value is None
    assert [(d.code, d.message) for d in found] == [(code, message)]
    assert found[0].where.path == ("spec", "environments", 0, "apply", *path)
