"""The vocabulary, one file a noun. Shapes and units only: rules across sections live in `checks/`. Does no I/O.

The text below a field goes into the JSON Schemas and docs/reference: what the field does, its unit, what happens where
it is left out, and `Example: …` where the form is not obvious (`aifctl.spec.field_words` reads it).
Every field has one.
"""

from aifctl.spec.models.lock import Lock
from aifctl.spec.models.model import Model, ModelSpec
from aifctl.spec.models.platform import Environment, Platform
from aifctl.spec.models.release import Release

__all__ = ["Environment", "Lock", "Model", "ModelSpec", "Platform", "Release"]
