"""What would change, and which ML steps would run again: compares manifests, and says it as text, JSON or Markdown.

Does no I/O and reaches no cluster. Secret values are masked before anything is compared.
"""

from aifctl.plan.baseline import Baseline, parse_tree
from aifctl.plan.change import Action, Change, ChangeSet, FieldChange, Op
from aifctl.plan.diff import diff, diff_environments
from aifctl.plan.steps import RunChange, StepChange, StepPlan, plan_steps, plan_steps_of_environments

__all__ = [
    "Action",
    "Baseline",
    "Change",
    "ChangeSet",
    "FieldChange",
    "Op",
    "RunChange",
    "StepChange",
    "StepPlan",
    "diff",
    "diff_environments",
    "parse_tree",
    "plan_steps",
    "plan_steps_of_environments",
]
