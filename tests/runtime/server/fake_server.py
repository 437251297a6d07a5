"""A server process around a model written in this file, for what a real bundle can't do on demand: fail, or be slow.

Rows have p0..p3 (a 2 x 2 tensor) and colour (red or blue). The logits are (p0 + p1, p2 + p3, code of the colour).
p0 = FAIL makes the model raise; p0 = SLEEP makes it take p1 seconds.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from aifctl.contract import Feature
from aifctl.runtime.data import encode
from aifctl.runtime.server import app, lifecycle
from aifctl.runtime.server.__main__ import parse
from aifctl.runtime.server.model import of_bundle
from aifctl.runtime.signature import Signature, Tensor

FAIL, SLEEP = -777.125, -888.125
FEATURES = (
    Feature(name="pixels", type="tensor", columns=("p0", "p1", "p2", "p3"), shape=(2, 2)),
    Feature(name="colour", type="category", columns=("colour",), dtype="int64", values=("red", "blue")),
)


class FakeBundle:
    signature = Signature(
        task="classification",
        inputs=tuple(
            Tensor(name=f.name, dtype=f.dtype, shape=f.shape, type=f.type, columns=f.columns) for f in FEATURES
        ),
        outputs=(Tensor(name="logits", dtype="float32", shape=(3,), kind="logits"),),
        labels=("top", "bottom", "colour"),
        classes=3,
    )

    def predict(self, features):
        pixels, colour = features["pixels"], features["colour"]
        if (pixels[:, 0, 0] == FAIL).any():
            raise RuntimeError("told to fail")
        if (pixels[:, 0, 0] == SLEEP).any():
            time.sleep(min(30.0, float(pixels[pixels[:, 0, 0] == SLEEP][:, 0, 1].max())))
        sums = pixels.sum(axis=2)
        # A list, as custom code may give: the server makes the signature's dtype of it.
        return {"logits": np.concatenate([sums, colour[:, None]], axis=1).tolist()}

    def predict_rows(self, rows):
        return self.predict(encode(rows, FEATURES))


def main() -> int:
    options = parse(["--bundle", "none", "--name", "fake", "--port", "0", *sys.argv[1:]])
    model = of_bundle(FakeBundle(), options.name, "0123456789abcdef" * 4, "custom")
    with lifecycle.listen(options.host, options.port) as listener:
        code, findings = lifecycle.run(app.of_model(model, options), listener)
    for found in findings:
        print(found.code, found.message, file=sys.stderr)
    lifecycle.end_process(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
