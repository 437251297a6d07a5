"""Load the spec → check it → lower it to an IR → render manifests → plan; each step's pod then runs one ML step.

The packages carry the names of those stages. Start reading in `pipeline.py`.
"""

__version__ = "0.1.0"
