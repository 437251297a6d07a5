"""Lets PyTorch and TensorFlow live in one process: each brings an LLVM, and the second one may abort the process.

TensorFlow carries its own; PyTorch's comes with triton, which optimizers and torch.export import when they are used.
Triton first and TensorFlow after it works; the other way round the process ends with "CommandLine Error: Option …
registered more than once" (seen with torch 2.15 and TensorFlow 2.21). A step needs one framework only, and no step of
aifctl's own loads both; user code, a notebook and a debugger may.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from contextlib import suppress

TENSORFLOW, TORCH, TRITON = "tensorflow", "torch", "triton"


def before_torch() -> None:
    """To be called before PyTorch is used: triton comes first where TensorFlow may come later."""
    if TENSORFLOW in sys.modules:
        _do_without_triton()
    elif importlib.util.find_spec(TENSORFLOW) is not None:
        _load_triton()


def before_tensorflow() -> None:
    """To be called before TensorFlow is imported."""
    if TORCH in sys.modules and TENSORFLOW not in sys.modules:
        _load_triton()


def after_tensorflow() -> None:
    """To be called when TensorFlow was imported: what comes now does without triton, if it is not there yet."""
    _do_without_triton()


def _load_triton() -> None:
    with suppress(ImportError):  # it is made for Linux only
        importlib.import_module(TRITON)


def _do_without_triton() -> None:
    """PyTorch asks for it by an import that may fail; without it only `torch.compile` for GPUs is missing."""
    if TRITON not in sys.modules:
        sys.modules[TRITON] = None  # type: ignore[assignment]  # so Python is told that there is no such module
