"""Preprocessing. Nothing but arithmetic, so the same lines run on NumPy arrays and inside the exported graph."""


class Prep:
    """Standardises pixels with the mean and deviation of the training rows."""

    def __init__(self):
        self.state = {}

    def fit(self, train):
        pixels = train["pixels"]
        self.state = {"mean": pixels.mean(), "deviation": pixels.std()}

    def transform(self, batch):
        return {"pixels": (batch["pixels"] - self.state["mean"]) / self.state["deviation"]}
