"""Checks of an environment's cluster: which there are, what they are given, and that none of them hides another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from aifctl.cluster.errors import ApiError, Unreachable
from aifctl.delivery.doctor import capabilities, hardware, namespaces, rights, server, storage
from aifctl.delivery.doctor.answer import Answer, Finding, told, unknown
from aifctl.delivery.doctor.subject import Subject
from aifctl.diagnostics import Report

PATIENCE = 30.0
"""Seconds for one check: one that hangs (a webhook, an API of an operator that is away) holds up nobody for longer."""
LIMIT = 5
"""Answers of one check that say the same of different objects."""
Check = Callable[[Subject], AsyncIterator[Answer]]


async def examine(subject: Subject) -> list[Finding]:
    """The server first: where it does not answer, nothing else is asked."""
    first = [(each, await _answers(each[2], subject)) for each in SERVER]
    if any(answer.code in AWAY for _, answers in first for answer in answers):
        return _findings(first)
    rest = await asyncio.gather(*(_answers(check, subject) for _, _, check in CHECKS))
    return _findings([*first, *zip(CHECKS, rest, strict=True)])


async def _answers(check: Check, subject: Subject) -> list[Answer]:
    """What was said until a fault is kept."""
    found: list[Answer] = []
    try:
        async with asyncio.timeout(PATIENCE):
            async for answer in check(subject):
                found.append(answer)  # noqa: PERF401 - what was said before a fault must stay
    except TimeoutError:
        found.append(unknown(f"no answer in {PATIENCE:.0f} s"))
    except Report as report:
        found += map(told, report.diagnostics)
    except Unreachable as error:
        found.append(told(error.finding()))
    except ApiError as error:
        hint = "ask for the right to read it, or let somebody who has it ask" if error.status == 403 else ""
        found.append(unknown(error.message, hint) if error.status != 401 else told(error.finding("credentials")))
    except (LookupError, TypeError, ValueError, AttributeError) as error:  # an object that is not as its kind says
        found.append(unknown(f"an answer can't be read: {type(error).__name__}: {error}"))
    return found


def _findings(said: list[tuple[tuple[str, str, Check], list[Answer]]]) -> list[Finding]:
    return [
        Finding(section=section, check=name, answer=answer)
        for (section, name, _), answers in said
        for answer in answers
    ]


AWAY = frozenset({"AIF703", "AIF704", "AIF707"})
SERVER: tuple[tuple[str, str, Check], ...] = (
    ("cluster", "server", server.version),
    ("cluster", "identity", server.identity),
)
CHECKS: tuple[tuple[str, str, Check], ...] = (
    ("cluster", "clock", server.clock),
    ("cluster", "storage", storage.classes),
    ("cluster", "claims", storage.claims),
    ("rights", "rights", rights.granted),
    ("capabilities", "declared", capabilities.declared),
    ("capabilities", "not declared", capabilities.undeclared),
    ("capabilities", "kinds", capabilities.kinds),
    ("nodes", "ready", hardware.nodes),
    ("nodes", "catalogue", hardware.catalogue),
    ("nodes", "not in the catalogue", hardware.uncatalogued),
    ("namespaces", "tenants", namespaces.tenants),
    ("namespaces", "secrets", namespaces.secrets),
    ("namespaces", "records", namespaces.records),
)
