"""JSON Schemas (draft 2020-12) of the kinds, generated from the models; `schemas/` holds them for editors. Pure."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from aifctl.diagnostics import Diagnostic, Report
from aifctl.spec.field_words import words
from aifctl.spec.models import Lock, Model, Platform, Release
from aifctl.spec.quantities import DURATION_PATTERN, SIZE_PATTERN, write_duration, write_size
from aifctl.spec.schema import did_you_mean

WRITERS = {DURATION_PATTERN: write_duration, SIZE_PATTERN: write_size}
"""What a value with a unit has to look like → how a number of seconds or bytes is written so."""
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

    def model_schema(self, schema: Any) -> dict[str, Any]:
        """With each field's words."""
        found = super().model_schema(schema)
        kind: type[BaseModel] = schema["cls"]
        for name, said in words(kind).items():
            field = found["properties"][kind.model_fields[name].alias or name]
            field["description"] = said.text
            if said.written:
                field["examples"] = list(said.examples)
        return found

    def sort(self, value: Any, parent_key: str | None = None) -> Any:
        """Keys by the alphabet, but fields and what is in defaults and examples as they are written."""
        if parent_key in ("default", "examples"):
            return value
        if isinstance(value, dict):
            keys = value if parent_key == "properties" else sorted(value)
            return {key: self.sort(value[key], key) for key in keys}
        return [self.sort(each) for each in value] if isinstance(value, list) else value

    def default_schema(self, schema: Any) -> dict[str, Any]:
        """Defaults as one writes them, `1Gi` and not 1073741824: an editor puts them into the spec."""
        found = super().default_schema(schema)
        write = WRITERS.get(found.get("pattern", ""))
        if write is not None and isinstance(found.get("default"), int | float):
            found["default"] = write(found["default"])
        return found
