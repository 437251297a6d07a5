"""Is the API server there, is it one that aifctl knows, who are we to it, and do our clocks agree."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from aifctl.cluster import reviews
from aifctl.cluster.records import LEASE
from aifctl.delivery.doctor.answer import Answer, doubt, good, unknown, wrong
from aifctl.delivery.doctor.subject import Subject

OLDEST, NEWEST = (1, 30), (1, 36)
"""Aggregated discovery is there since 1.30; 1.36 is what aifctl is tested on."""
SLACK = 5.0
"""Seconds that clocks may differ without a word …"""
RENEWED = LEASE * 2 / 3
"""… and from which on an applier takes the lease of another for expired between two renewals."""
ANONYMOUS = "system:anonymous"


async def version(subject: Subject) -> AsyncIterator[Answer]:
    greeting = await subject.greeting()
    said = f"Kubernetes {greeting.version} at {subject.client.access.server}"
    match = re.match(r"v(\d+)\.(\d+)", greeting.version)
    if match is None:
        yield unknown(f"{said}: this version can't be read")
        return
    number = int(match[1]), int(match[2])
    if number < OLDEST:
        yield wrong("AIF794", f"{said} is older than {_dotted(OLDEST)}", "upgrade the cluster; aifctl can't ask it")
    elif number > NEWEST:
        hint = f"aifctl is tested up to {_dotted(NEWEST)}: look for a newer aifctl"
        yield doubt("AIF794", f"{said} is newer than aifctl knows", hint)
    else:
        yield good(said)


async def identity(subject: Subject) -> AsyncIterator[Answer]:
    found = await reviews.identity(subject.client)
    groups = ", ".join(group for group in found.groups if group != "system:authenticated")
    said = f"{found.user} (groups {groups})" if groups else found.user
    if found.user == ANONYMOUS:
        hint = "give the kubeconfig's user credentials; in a pod, a ServiceAccount's token must be mounted"
        yield wrong("AIF795", "the API server takes us for nobody", hint)
    else:
        yield good(said)


async def clock(subject: Subject) -> AsyncIterator[Answer]:
    """Leases are judged by the clock of whoever reads them."""
    ahead = (await subject.greeting()).ahead
    if ahead is None:
        yield unknown("the API server does not say its time")
        return
    said = f"this clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the API server's"
    hint = "let NTP set it: leases of appliers, tokens and certificates go by it"
    if abs(ahead) >= RENEWED:
        yield wrong("AIF793", said, hint)
    elif abs(ahead) >= SLACK:
        yield doubt("AIF793", said, hint)
    else:
        yield good("agrees with the API server's")


def _dotted(number: tuple[int, int]) -> str:
    return ".".join(map(str, number))
