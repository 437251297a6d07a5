"""Keras to ONNX: the SavedModel is converted by tf2onnx in a process of its own.

`tf2onnx.convert.from_keras` does not work with Keras 3; its command line on a SavedModel does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from aifctl.contract import ExportConfig
from aifctl.diagnostics import Diagnostic, Report
from aifctl.runtime.frameworks import Trained, savedmodel, unsupported
from aifctl.runtime.tensorflow_quiet import SETTINGS

FILE = "model.onnx"
OPSET = 18
TIMEOUT = 3600


def export(trained: Trained, config: ExportConfig, folder: Path) -> str:
    """Writes model.onnx. Raises Report: AIF820 for what can't be asked for, AIF831 where the conversion fails."""
    if not 13 <= (config.opset or OPSET) <= OPSET:
        raise unsupported(f"opset {config.opset} can't be written for TensorFlow", f"use opset 13 to {OPSET}")
    with tempfile.TemporaryDirectory(prefix="aifctl-") as temporary:
        savedmodel.export(trained, config, Path(temporary))
        convert(Path(temporary) / savedmodel.FOLDER, folder / FILE, config.opset or OPSET)
    return FILE


def convert(source: Path, target: Path, opset: int) -> None:
    """Raises Report (AIF831) with the last lines the converter wrote."""
    command = [sys.executable, "-m", "tf2onnx.convert", "--saved-model", str(source), "--output", str(target)]
    command += ["--opset", str(opset), "--tag", "serve", "--signature_def", savedmodel.SIGNATURE]
    # The converter needs no accelerator, and would take all memory of one that a training uses.
    environment = {**SETTINGS, **os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    if done.returncode != 0 or not target.is_file():
        lines = tuple(line for line in done.stderr.strip().splitlines() if line.strip())[-8:]
        message = f"tf2onnx ended with exit code {done.returncode} and could not convert the SavedModel"
        hint = "export this model as `savedmodel`, or use layers that ONNX knows"
        raise Report(Diagnostic("AIF831", message, hint=hint, notes=lines))
