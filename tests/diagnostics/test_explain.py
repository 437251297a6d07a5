"""The pages behind `aifctl explain`."""

from __future__ import annotations

import pytest

from aifctl.diagnostics import Report
from aifctl.diagnostics.codes import CODES
from aifctl.diagnostics.explain import page


@pytest.mark.parametrize("code", ["AIF301", "aif301", " 301 "])
def test_a_page_by_its_code(code: str) -> None:
    assert page(code).startswith("# AIF301: an accelerator is not offered in this count\n")


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("AIF3O1", "did you mean `AIF301`?"),
        ("aif30", "did you mean `AIF301`?"),
        ("nonsense", "codes go from"),
        ("", "codes go from"),
        ("../codes", "codes go from"),
    ],
)
def test_an_unknown_code(code: str, hint: str) -> None:
    with pytest.raises(Report) as raised:
        page(code)
    (found,) = raised.value.diagnostics
    assert found.code == "AIF115"
    assert (found.hint or "").startswith(hint)


def test_codes_are_sorted_and_of_one_form() -> None:
    assert list(CODES) == sorted(CODES)
    assert all(len(code) == 6 and code.startswith("AIF") and code[3:].isdigit() for code in CODES)
    assert all(each.title and not each.title.endswith(".") for each in CODES.values())
