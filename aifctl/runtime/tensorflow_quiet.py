"""Imports TensorFlow without its greetings: `from aifctl.runtime.tensorflow_quiet import tf`.

TensorFlow writes about CUDA, oneDNN and its own logging to the process's standard error, past Python. What it says is
kept and shown when the import fails.
"""

from __future__ import annotations

import os
import sys
import tempfile
from typing import Any

from aifctl.runtime import llvm

SETTINGS = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "ABSL_MIN_LOG_LEVEL": "3",
    "KERAS_BACKEND": "tensorflow",
    # oneDNN's blocked kernels sum in another order each build: the reference must not depend on it.
    "TF_ENABLE_ONEDNN_OPTS": "0",
}


def _import() -> Any:
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    llvm.before_tensorflow()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as said:
        stderr = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            import tensorflow
        except BaseException:
            said.seek(0)
            os.write(stderr, said.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
    llvm.after_tensorflow()
    tensorflow.get_logger().setLevel("ERROR")
    return tensorflow


tf = _import()
