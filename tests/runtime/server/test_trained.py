"""Trained models behind the server: raw rows of the CSV in, and the accuracy that evaluation saw comes out."""

from __future__ import annotations

import csv
import sys

import numpy as np
import pytest

from tests.runtime.server.conftest import running

BATCH = 32


def served_accuracy(chain, step, format):
    """Of the test split's rows, sent as a client would read them from the CSV; digits are labelled by their class."""
    published = chain.published(step)
    with (chain.data / "data" / "digits.csv").open() as file:
        table = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    with np.load(chain.published("prepare").path / "split.npz") as split:
        rows = [table[number - 1] for number in split["__rows__"][split["test"]]]
    command = [sys.executable, "-m", "aifctl.runtime.server", "--bundle", str(published.path), "--name", "digits"]
    found = []
    with running([*command, "--port", "0", "--max-batch", str(BATCH)]) as server:
        assert server.client.get("/v2/models/digits").json()["platform"] == format
        for start in range(0, len(rows), BATCH):
            answer = server.client.post("/batch_predict", json={"rows": rows[start : start + BATCH]})
            assert answer.status_code == 200, answer.text
            found += answer.json()["predictions"]
        assert server.counter("aif_predictions_total") == len(rows)
        assert server.stop() == 0
    right = sum(float(item["label"]) == row["digit"] for item, row in zip(found, rows, strict=True))
    assert all(0 < item["confidence"] <= 1 for item in found)
    return right / len(rows)


@pytest.mark.torch
def test_pytorch_as_onnx(digits_torch):
    digits_torch.export("onnx", "onnx", "pytorch")
    assert served_accuracy(digits_torch, "export-onnx", "onnx_onnxv1") >= 0.95


@pytest.mark.tensorflow
def test_tensorflow_as_savedmodel(digits_tensorflow):
    digits_tensorflow.export("saved", "savedmodel", "tensorflow")
    assert served_accuracy(digits_tensorflow, "export-saved", "tensorflow_savedmodel") >= 0.95
