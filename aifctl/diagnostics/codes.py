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
        ("AIF601", "a rendered file is not readable YAML"),
        ("AIF602", "a file in the rendered tree was not written by aifctl"),
        ("AIF603", "a rendered file holds no single Kubernetes object"),
        ("AIF604", "two rendered files hold the same object"),
        ("AIF605", "the identity recorded in a run can't be read"),
        ("AIF610", "not in a Git repository"),
        ("AIF611", "unknown Git ref"),
        ("AIF612", "the git command can't be started"),
        ("AIF613", "text that can't be a Git ref"),
        ("AIF614", "the clone lacks what the plan needs"),
        ("AIF615", "a git command failed"),
        ("AIF616", "a path leads out of its folder"),
        # 800-819: steps
        # 820-839: frameworks, exports, bundles
        # 840-859: local runs
        # 860-879: server
    )
}
