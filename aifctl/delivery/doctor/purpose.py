"""What an identity that examines a cluster is to do there."""

from __future__ import annotations

from enum import StrEnum


class Purpose(StrEnum):
    PLAN = "plan"
    APPLY = "apply"
    RECONCILE = "reconcile"
