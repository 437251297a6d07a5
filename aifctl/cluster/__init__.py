"""Talks to a Kubernetes API server: what lives there, what would change, apply, prune, wait, health.

The only package that does (but for the runtime's launcher of step Jobs). Knows manifests and plans, and neither specs
nor how manifests come about. Its unit of work is (environment, tenant, model): each has an inventory, a lease and a
history of its own, so a unit that is broken or stuck holds up no other.
"""
