"""Three kinds of iris told apart by four lengths."""

from torch import nn


def build(params, signature):
    (lengths,) = signature.input("measurements").shape
    return nn.Sequential(nn.BatchNorm1d(lengths), nn.Linear(lengths, 16), nn.ReLU(), nn.Linear(16, signature.classes))
