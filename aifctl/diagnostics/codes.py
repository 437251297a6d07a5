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
        ("AIF501", "two rendered objects are one"),
        ("AIF502", "a template is not found"),
        ("AIF503", "a template has a syntax error"),
        ("AIF504", "an expression is only a part of a YAML value"),
        ("AIF505", "a template fails while it is filled"),
        ("AIF506", "a template does not make a Kubernetes object"),
        ("AIF507", "the environment lacks what a manifest needs"),
        ("AIF508", "text that Argo would read as a tag"),
        ("AIF509", "a name that Kubernetes does not take"),
        ("AIF510", "a run is too large for a Workflow"),
        ("AIF511", "a variable has a name that is aifctl's own"),
        ("AIF512", "a name that is no file name"),
        ("AIF520", "a link in the rendered tree"),
        ("AIF521", "the rendered tree can't be written"),
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
        ("AIF800", "a step's arguments can't be read"),
        ("AIF801", "a step lacks an input"),
        ("AIF802", "the store can't be read or written"),
        ("AIF803", "an artifact is damaged"),
        ("AIF804", "an output is missing"),
        ("AIF805", "user code can't be imported"),
        ("AIF806", "user code failed"),
        ("AIF807", "the code is not what was compiled"),
        ("AIF808", "a package is missing"),
        ("AIF809", "the tracking server can't be used"),
        ("AIF810", "a dataset can't be reached"),
        ("AIF811", "a dataset differs from its pin"),
        ("AIF812", "a file is no table"),
        ("AIF813", "a dataset lacks a column"),
        ("AIF814", "a column does not fit its feature"),
        ("AIF815", "a dataset fails its checks"),
        ("AIF816", "a label does not fit its classes"),
        ("AIF817", "a split can't be made"),
        ("AIF818", "a gate failed"),
        ("AIF819", "a metric can't be computed"),
        # 820-839: frameworks, exports, bundles
        # 840-859: local runs
        ("AIF840", "the run is going on already"),
        ("AIF841", "the store of a run can't be used"),
        ("AIF842", "a step ended without saying why"),
        ("AIF843", "a step was killed from outside"),
        ("AIF844", "a step met the same fault too often"),
        ("AIF845", "a step could not be started"),
        ("AIF846", "a step ran into its time limit"),
        ("AIF847", "a step's result is missing or contradicts its digest"),
        ("AIF848", "a file among the runs is no run manifest"),
        ("AIF849", "unknown run"),
        ("AIF850", "it can't be known what garbage is"),
        ("AIF851", "a secret of a step is not set on this machine"),
        ("AIF852", "garbage was left alone"),
        ("AIF853", "garbage collection was postponed"),
        # 860-879: server
        ("AIF860", "an option of the server is out of its range"),
        ("AIF861", "the bundle to serve can't be read"),
        ("AIF862", "the server can't listen on its address"),
        ("AIF863", "the model's signature can't be served"),
        ("AIF864", "the model fails on its first row"),
        ("AIF865", "requests were cut off when the server stopped"),
    )
}
