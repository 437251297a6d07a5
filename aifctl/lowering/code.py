"""How the user's code reaches a step: baked into an image, sent along in a manifest, or an archive in the store."""

from __future__ import annotations

from aifctl import ir
from aifctl.spec.load import Unit


def lower(unit: Unit) -> ir.Code | None:
    """None where the spec has no code of its own."""
    spec, fact = unit.spec.code, unit.facts.code
    if spec is None or fact is None or fact.digest is None:
        return None
    if spec.image is not None:
        return ir.Code(digest=fact.digest, delivery="image")
    if fact.texts is None:
        return ir.Code(digest=fact.digest, delivery="archive")
    files = tuple(ir.CodeFile(path=path, text=text) for path, text in sorted(fact.texts.items()))
    return ir.Code(digest=fact.digest, delivery="inline", files=files)
