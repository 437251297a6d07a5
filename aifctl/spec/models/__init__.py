"""The vocabulary, one file a noun. Shapes and units only: rules across sections live in `checks/`. Does no I/O."""

from aifctl.spec.models.lock import Lock
from aifctl.spec.models.model import Model, ModelSpec
from aifctl.spec.models.platform import Environment, Platform
from aifctl.spec.models.release import Release

__all__ = ["Environment", "Lock", "Model", "ModelSpec", "Platform", "Release"]
