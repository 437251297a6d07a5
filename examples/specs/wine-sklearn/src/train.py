"""Any script can be a training step: it reads its data and writes its model where the environment says.

AIF_DATA_WINE    folder with table.parquet (all rows) and split.npz (row numbers of train, validation and test)
AIF_PARAMS       hyperparameters, JSON
AIF_MODEL_DIR    folder to leave the model in
AIF_METRICS      file to append metrics to, one JSON object a line: {"name": …, "value": …, "step": …}
"""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

LABEL = "cultivar"


def main():
    data = Path(os.environ["AIF_DATA_WINE"])
    params = json.loads(os.environ["AIF_PARAMS"])
    table = pd.read_parquet(data / "table.parquet")
    split = np.load(data / "split.npz")
    train, validation = table.iloc[split["train"]], table.iloc[split["validation"]]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=params.get("C", 1.0), max_iter=1000))
    model.fit(train.drop(columns=LABEL).to_numpy("float32"), train[LABEL])
    probabilities = model.predict_proba(validation.drop(columns=LABEL).to_numpy("float32"))
    report("val_loss", log_loss(validation[LABEL], probabilities, labels=model.classes_))
    right = model.classes_[probabilities.argmax(1)] == validation[LABEL]
    report("val_accuracy", float(right.mean()))
    skops.io.dump(model, Path(os.environ["AIF_MODEL_DIR"], "model.skops"))


def report(name, value):
    with open(os.environ["AIF_METRICS"], "a") as file:
        file.write(json.dumps({"name": name, "value": value, "step": 0}) + "\n")


if __name__ == "__main__":
    main()
