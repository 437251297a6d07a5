"""One module a kind of step, each with `run(job) -> outputs`; `entry` reaches them by name and imports on use."""
