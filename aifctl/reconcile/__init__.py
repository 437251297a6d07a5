"""Keeps a cluster what Git says: a long-running process that fetches, compiles, applies, and repairs what drifts.

    source → compiling (a process of its own) → book (units, what is known of each) → deliver (plan, apply one unit)
    watching (live objects and inventories as they change) ────────┘
    leader (one writes, others stand by) · telling, telemetry, server (what people and probes see) · loop joins them

Its unit is that of `aifctl.cluster`: (environment, tenant, model), each with a back-off of its own, so that one that is
broken or stuck holds up no other. At rest it asks nothing: Git is fetched each interval, the leader's lease renewed,
and watches wait. Speaks to the cluster through `aifctl.cluster` alone.

Time limits are `asyncio.timeout`: `wait_for` of Python 3.11 may swallow a cancellation, and who lost the lease
has to end.
"""
