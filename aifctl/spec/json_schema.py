"""JSON Schemas (draft 2020-12) of the kinds, generated from the models; `schemas/` holds them for editors. Pure."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from aifctl.diagnostics import Diagnostic, Report
from aifctl.spec.models import Lock, Model, Platform, Release
from aifctl.spec.schema import did_you_mean

KINDS: dict[str, type[BaseModel]] = {"model": Model, "platform": Platform, "lock": Lock, "release": Release}


def text(kind: str) -> str:
    """The schema as indented JSON. Raises Report for an unknown kind."""
    if kind not in KINDS:
        raise Report(Diagnostic("AIF202", f"unknown kind `{kind}`", did_you_mean(kind, KINDS)))
    return json.dumps(schema(kind), indent=2, ensure_ascii=False) + "\n"


def schema(kind: str) -> dict[str, Any]:
    value = KINDS[kind].model_json_schema(by_alias=True, mode="validation", schema_generator=_Generator)
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": f"https://aif.dev/schemas/v1alpha1/{kind}.schema.json",
        **value,
    }


class _Generator(GenerateJsonSchema):
    """Titles are the field's own names: an editor shows them above the description."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False
