"""The one table of diagnostic codes. A code is never reused; each has a page in `pages/` and a case in tests/cases/.

1xx YAML · 2xx schema · 3xx checks · 4xx lowering · 5xx render · 6xx plan · 7xx apply and reconcile · 8xx runtime
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    code: str
    title: str


CODES: dict[str, Code] = {
    code: Code(code, title)
    for code, title in (
        # 1xx: text and YAML
        # 2xx: schema
        # 3xx: checks
        # 4xx: lowering
        # 5xx: render
        # 6xx: plan
        # 800-819: steps
        # 820-839: frameworks, exports, bundles
        # 840-859: local runs
        # 860-879: server
    )
}
