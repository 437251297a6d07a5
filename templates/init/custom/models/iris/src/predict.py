"""How the model is asked: by evaluation, by the export's gates and by the server."""

from functools import lru_cache
from pathlib import Path

import skops.io


def predict(model_dir, batch):
    return {"probabilities": load(str(model_dir)).predict_proba(batch["measurements"])}


@lru_cache(maxsize=1)
def load(model_dir):
    # A .skops file is data: types outside scikit-learn's own would have to be named here to be loaded.
    return skops.io.load(Path(model_dir, "model.skops"), trusted=[])
