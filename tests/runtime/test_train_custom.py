"""Any command as a training step."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aifctl import contract
from aifctl.runtime.data import Prepared
from aifctl.runtime.frameworks import load_reference
from aifctl.runtime.job import Stopped
from aifctl.runtime.store import Store
from aifctl.runtime.tracking import client, tracking_uri
from tests.runtime.chain import Chain, refused, training, wine
from tests.runtime.fake_runs import wait_until


def custom(command: str, produces: str = "model.txt", predict: str = "predict:predict") -> contract.CustomTraining:
    return contract.CustomTraining(command=tuple(command.split()), produces=produces, predict=predict)


PREDICT = """
    import numpy as np

    def predict(model_dir, batch):
        rows = len(batch["measurements"])
        return {"probabilities": np.full((rows, 3), 1 / 3), "rank": np.arange(rows)}
"""
SCRIPT = """
    import os, pathlib
    pathlib.Path(os.environ["AIF_MODEL_DIR"], "model.txt").write_text("model")
"""


def train(chain: Chain, command: str = "python train.py", **more: Any) -> Any:
    config = training("custom", "wine", None, custom=custom(command, **more), params={"C": 0.5}, epochs=3, seed=9)
    return chain.train(config)


def test_the_example_tells_cultivars(tmp_path: Path) -> None:
    chain = wine(tmp_path).prepared()
    result = train(chain, produces="model.skops")
    assert result.outputs["metrics"]["val_accuracy"] >= 0.9
    train_step = chain.published("train")
    assert "model/model.skops" in train_step.files
    test = Prepared.open(chain.published("prepare")).split("test")
    outputs = load_reference(train_step, chain.code).predict(test.features)
    assert (outputs.argmax(1) == test.label).mean() >= 0.95
    signature = train_step.read_json("signature.json")
    assert signature["labels"] == ["barolo", "grignolino", "barbera"]
    assert signature["outputs"][0]["kind"] == "probabilities"


def test_the_command_is_told_everything_by_its_environment(tmp_path: Path, code: Callable[..., Path]) -> None:
    script = """
        import json, os, pathlib, sys
        names = [n for n in os.environ if n.startswith("AIF_")]
        seen = {n: os.environ[n] for n in sorted(names)} | {"cwd": os.getcwd(), "python": sys.executable}
        assert pathlib.Path(os.environ["AIF_DATA_WINE"], "table.parquet").is_file()
        assert os.path.isdir(os.environ["AIF_CHECKPOINT_DIR"])
        pathlib.Path(os.environ["AIF_MODEL_DIR"], "model.txt").write_text(json.dumps(seen))
    """
    chain = wine(tmp_path, code(train=script, predict=PREDICT)).prepared()
    train(chain)
    seen = chain.published("train").read_json("model/model.txt")
    assert seen["AIF_PARAMS"] == '{"C": 0.5}'
    assert (seen["AIF_EPOCHS"], seen["AIF_SEED"], seen["AIF_BATCH"]) == ("3", "9", "32")
    assert (seen["AIF_DEVICE"], seen["AIF_PRECISION"]) == ("cpu", "fp32")
    assert seen["cwd"] == str(chain.code)
    assert Path(seen["python"]).resolve() == Path(sys.executable).resolve()


def test_all_outputs_of_predict_are_in_the_signature(tmp_path: Path, code: Callable[..., Path]) -> None:
    chain = wine(tmp_path, code(train=SCRIPT, predict=PREDICT)).prepared()
    train(chain)
    outputs = chain.published("train").read_json("signature.json")["outputs"]
    assert [(o["name"], o["dtype"], o["shape"]) for o in outputs] == [
        ("probabilities", "float32", [3]),
        ("rank", "int64", []),
    ]


def test_a_failing_command_shows_its_last_lines(tmp_path: Path, code: Callable[..., Path]) -> None:
    script = """
        import sys
        for number in range(40):
            print("line", number, file=sys.stderr)
        raise SystemExit(3)
    """
    chain = wine(tmp_path, code(train=script, predict=PREDICT)).prepared()
    (finding,) = refused(lambda: train(chain))
    assert (finding.code, finding.message) == ("AIF828", "`python train.py` ended with exit code 3")
    assert finding.notes == tuple(f"line {number}" for number in range(28, 40))


def test_a_command_that_is_not_there(tmp_path: Path, code: Callable[..., Path]) -> None:
    chain = wine(tmp_path, code(predict=PREDICT)).prepared()
    (finding,) = refused(lambda: train(chain, "no-such-program --now"))
    assert (finding.code, finding.message) == ("AIF828", "can't start `no-such-program`: No such file or directory")


def test_a_command_that_leaves_nothing(tmp_path: Path, code: Callable[..., Path]) -> None:
    script = SCRIPT.replace("model.txt", "other.txt")
    chain = wine(tmp_path, code(train=script, predict=PREDICT)).prepared()
    (finding,) = refused(lambda: train(chain))
    assert (finding.code, finding.message) == (
        "AIF829",
        "`python train.py` ended well and left nothing at `model.txt`",
    )
    assert finding.hint == "write it to os.environ['AIF_MODEL_DIR']; there is other.txt"


@pytest.mark.parametrize(
    ("body", "expected", "message"),
    [
        ("return [1]", "AIF830", "`predict:predict` gives list, not a dict"),
        ("return {}", "AIF830", "`predict:predict` gives an empty dict"),
        ("return {'p': [[1, 0, 0]]}", "AIF830", "gives `p` as int64 of shape (1, 3) for 18 rows"),
        ("return {'p': ['a'] * len(batch['measurements'])}", "AIF830", "gives `p` as <U1 of shape (18,)"),
        ("raise ValueError('no model')", "AIF806", "`predict:predict` failed at predict.py:2: ValueError: no model"),
        ("import numpy; return {'p': numpy.zeros((18, 2))}", "AIF824", "shape (18, 2) for 18 rows, 3 classes"),
    ],
)
def test_a_predict_that_breaks_its_contract(
    tmp_path: Path, code: Callable[..., Path], body: str, expected: str, message: str
) -> None:
    predict = f"def predict(model_dir, batch):\n    {body}\n"
    chain = wine(tmp_path, code(train=SCRIPT, predict=predict)).prepared()
    (finding,) = refused(lambda: train(chain))
    assert finding.code == expected
    assert message in finding.message


def test_without_a_command(tmp_path: Path, code: Callable[..., Path]) -> None:
    chain = wine(tmp_path, code(predict=PREDICT)).prepared()
    (finding,) = refused(lambda: chain.train(training("custom", "wine", None)))
    assert (finding.code, finding.message) == ("AIF821", "framework `custom` has no command")


def test_preprocessing_of_its_own_is_not_taken_away_silently(tmp_path: Path, code: Callable[..., Path]) -> None:
    chain = wine(tmp_path, code(train=SCRIPT, predict=PREDICT)).prepared()
    prep = contract.Preprocessing(cls="predict:Prep", serve="server")
    config = training("custom", "wine", None, custom=custom("python train.py"), preprocessing=prep)
    (finding,) = refused(lambda: chain.train(config))
    assert (finding.code, finding.message) == ("AIF820", "a custom command does its own preprocessing")


def test_a_best_checkpoint_is_not_promised_of_a_command(tmp_path: Path, code: Callable[..., Path]) -> None:
    chain = wine(tmp_path, code(train=SCRIPT, predict=PREDICT)).prepared()
    select = contract.Checkpoint(best="val_loss")
    config = training("custom", "wine", None, custom=custom("python train.py"), checkpoint=select)
    (finding,) = refused(lambda: chain.train(config))
    assert (finding.code, finding.message) == ("AIF820", "a custom command selects its own best model")


def test_mlflow_is_told_how_training_ended(tmp_path: Path, code: Callable[..., Path]) -> None:
    """Failed the first time; the same run has finished when the same step has succeeded."""
    once = f"""
        import os, pathlib, sys
        marker = pathlib.Path({str(tmp_path / "marker")!r})
        if not marker.exists():
            marker.touch()
            sys.exit("not yet")
        pathlib.Path(os.environ["AIF_MODEL_DIR"], "model.txt").write_text("x")
    """
    chain = wine(tmp_path, code(train=once, predict=PREDICT)).prepared()
    chain.tracking = tracking_uri(tmp_path)
    assert [finding.code for finding in refused(lambda: train(chain))] == ["AIF828"]
    mlflow = client(chain.tracking)
    experiment = mlflow.get_experiment_by_name("test/test").experiment_id
    assert [run.info.status for run in mlflow.search_runs([experiment])] == ["FAILED"]
    train(chain)
    assert [run.info.status for run in mlflow.search_runs([experiment])] == ["FINISHED"]


def test_told_to_stop_the_command_is_told_and_its_checkpoints_stay(tmp_path: Path, code: Callable[..., Path]) -> None:
    script = """
        import os, pathlib, signal, sys, time
        folder = pathlib.Path(os.environ["AIF_CHECKPOINT_DIR"])
        if (folder / "mine.txt").exists():
            pathlib.Path(os.environ["AIF_MODEL_DIR"], "model.txt").write_text((folder / "mine.txt").read_text())
            sys.exit(0)

        def stop(*_):
            (folder / "mine.txt").write_text("half way")
            sys.exit(0)

        signal.signal(signal.SIGTERM, stop)
        (folder / "started").touch()
        time.sleep(120)
    """
    chain = wine(tmp_path, code(train=script, predict=PREDICT)).prepared()

    def stop_when_started() -> None:
        while not list(tmp_path.glob("store/steps/*/checkpoints/started")):
            time.sleep(0.02)
        chain.stop.set()

    thread = threading.Thread(target=stop_when_started, daemon=True)
    thread.start()
    with pytest.raises(Stopped):
        train(chain)
    thread.join()
    chain.stop.clear()
    train(chain)
    assert (chain.published("train").path / "model" / "model.txt").read_text() == "half way"


def test_a_command_is_told_to_stop_while_its_checkpoints_are_sent(
    tmp_path: Path, code: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """
        import os, pathlib, signal, sys, time
        folder = pathlib.Path(os.environ["AIF_CHECKPOINT_DIR"])

        def stop(*_):
            (folder / "told").touch()
            sys.exit(0)

        signal.signal(signal.SIGTERM, stop)
        (folder / "started").touch()
        time.sleep(120)
    """
    chain = wine(tmp_path, code(train=script, predict=PREDICT)).prepared()
    sent: list[str] = []

    def slowly(store: Store, digest: str) -> None:
        """The first time it takes until the command was told, and a moment more."""
        sent.append("begins")
        wait_until((store.checkpoints(digest) / "started").exists, "the command")
        chain.stop.set()
        wait_until((store.checkpoints(digest) / "told").exists, "the word to stop")
        time.sleep(0.5)
        sent.append("ends")

    monkeypatch.setattr("aifctl.runtime.frameworks.custom.KEEP_PERIOD", 0.05)
    monkeypatch.setattr(Store, "keep_checkpoints", slowly)
    with pytest.raises(Stopped):
        train(chain)
    assert sent == ["begins", "ends"] * 2


def test_a_line_of_metrics_that_is_none_is_passed_over(tmp_path: Path, code: Callable[..., Path]) -> None:
    script = SCRIPT + (
        "\n    open(os.environ['AIF_METRICS'], 'w').write("
        '\'{"name": "f1", "value": 0.5, "step": 2}\\nnonsense\\n{"value": 1}\\n[]\\n\')\n'
    )
    chain = wine(tmp_path, code(train=script, predict=PREDICT)).prepared()
    assert train(chain).outputs["metrics"] == {"f1": 0.5}
    assert chain.published("train").read_json("history.json") == [{"name": "f1", "step": 2, "value": 0.5}]


def test_the_reference_is_the_same_in_batches_of_any_size(tmp_path: Path) -> None:
    chain = wine(tmp_path).prepared()
    train(chain, produces="model.skops")
    reference = load_reference(chain.published("train"), chain.code)
    features = Prepared.open(chain.published("prepare")).split("test").features
    one = reference.predict({"measurements": features["measurements"][:1]})
    np.testing.assert_allclose(one[0], reference.predict(features)[0], rtol=1e-6)
