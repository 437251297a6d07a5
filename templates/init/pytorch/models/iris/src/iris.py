"""Three kinds of iris told apart by four lengths."""

from torch import nn


def build(params, signature):
    (lengths,) = signature.input("measurements").shape
    return nn.Sequential(nn.Linear(lengths, 256), nn.ReLU(), nn.Linear(256, signature.classes))
