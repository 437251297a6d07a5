"""PyTorch and TensorFlow in one process, in any order: each order is a process that must not abort."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USE = """
def use_torch():
    import torch
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())  # imports triton
    model(torch.ones(4, 3)).sum().backward()
    optimizer.step()

def use_tensorflow():
    import tensorflow
    assert float(tensorflow.reduce_sum(tensorflow.ones((2, 2)))) == 4.0

"""
PYTORCH = "import aifctl.runtime.frameworks.pytorch"
TENSORFLOW = "import aifctl.runtime.frameworks.tensorflow"


def run(*lines: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", USE + "\n".join(lines)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


@pytest.mark.tensorflow
@pytest.mark.torch
@pytest.mark.parametrize(
    "lines",
    [
        (PYTORCH, "use_tensorflow()", "use_torch()"),
        (PYTORCH, TENSORFLOW, "use_torch()", "use_tensorflow()"),
        (TENSORFLOW, "use_tensorflow()", "use_torch()"),
        (TENSORFLOW, PYTORCH, "use_torch()"),
        ("import torch", TENSORFLOW, "use_torch()"),
        ("import tensorflow", PYTORCH, "use_torch()"),
    ],
    ids=["user's TensorFlow in a PyTorch step", "both, PyTorch first", "user's PyTorch in a TensorFlow step",
         "both, TensorFlow first", "a notebook's PyTorch", "a notebook's TensorFlow"],
)  # fmt: skip
def test_both_frameworks_in_one_process(lines: tuple[str, ...]) -> None:
    done = run(*lines)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.tensorflow
@pytest.mark.torch
@pytest.mark.parametrize(("load", "other"), [(PYTORCH, "tensorflow"), (TENSORFLOW, "torch")])
def test_a_framework_of_aifctl_does_not_bring_the_other(load: str, other: str) -> None:
    """Nor do tracking, bundles and the server's engine, which steps use beside it."""
    rest = "import aifctl.runtime.tracking, mlflow, aifctl.runtime.bundle, aifctl.runtime.server.engine, onnxruntime"
    done = run(load, rest, "import sys", f"print({other!r} in sys.modules)")
    assert done.stdout == "False\n", done.stderr[-2000:]


def test_without_the_other_framework_nothing_is_loaded_early() -> None:
    """In an image with PyTorch alone, no time is spent on triton before it is needed."""
    done = run(
        "import sys, importlib.util",
        "importlib.util.find_spec = lambda name: None",
        "from aifctl.runtime import llvm; llvm.before_torch(); llvm.before_tensorflow()",
        "print('triton' in sys.modules, 'torch' in sys.modules)",
    )
    assert done.stdout == "False False\n", done.stderr
