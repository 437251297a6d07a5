"""Models that several tests look at are trained once a session."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aifctl import contract
from aifctl.contract import Site
from aifctl.runtime import llvm
from aifctl.runtime.store import Published
from tests.runtime.bench import PIXELS, Bench
from tests.runtime.buckets import server
from tests.runtime.chain import Chain, digits, training, write_code

llvm.before_torch()  # which framework's tests come first is nobody's choice

PREP = contract.Preprocessing(cls="digits.data:Prep", serve="graph")


@pytest.fixture(scope="session")
def digits_torch(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """The PyTorch example, trained by its own loop; not exported."""
    chain = digits(tmp_path_factory.mktemp("digits-torch"), "digits-pytorch").prepared()
    chain.train(
        training(
            "pytorch",
            "digits",
            "digits.cnn:build",
            loop="digits.cnn:fit",
            epochs=5,
            batch=64,
            seed=7,
            params={"learning_rate": 0.005},
            preprocessing=PREP,
        )
    )
    return chain


@pytest.fixture(scope="session")
def digits_tensorflow(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """The TensorFlow example, trained by aifctl's loop; not exported."""
    chain = digits(tmp_path_factory.mktemp("digits-tf"), "digits-tensorflow").prepared()
    chain.train(
        training(
            "tensorflow",
            "digits",
            "digits.cnn:build",
            epochs=5,
            batch=64,
            seed=7,
            params={"learning_rate": 0.003},
            checkpoint=contract.Checkpoint(best="val_loss"),
            preprocessing=PREP,
        )
    )
    return chain


@pytest.fixture
def code(tmp_path: Path) -> Callable[..., Path]:
    """Writes user code, {file name without .py: text}, and gives its folder."""
    return lambda **files: write_code(tmp_path / "code", files)


@pytest.fixture(scope="session")
def digits_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scikit-learn's 1,797 handwritten digits: columns p0…p63 (0…16) and digit."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    path = tmp_path_factory.mktemp("digits") / "digits.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*PIXELS, "digit"])
        writer.writerows(
            [*map(int, pixels), int(label)] for pixels, label in zip(digits.data, digits.target, strict=True)
        )
    return path


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """One S3 server for all: clients are kept in a process, with the address that they began with."""
    with server() as url:
        yield url


@pytest.fixture
def bench(tmp_path: Path, digits_csv: Path) -> Bench:
    for name in ("data", "code", "store"):
        (tmp_path / name).mkdir()
    (tmp_path / "data" / "digits.csv").write_bytes(digits_csv.read_bytes())
    site = Site(
        store=str(tmp_path / "store"), run="local-test", code=str(tmp_path / "code"), data=str(tmp_path / "data")
    )
    return Bench(tmp_path, site)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, digits_csv: Path) -> tuple[Bench, Published, Published]:
    """A bench with the digits prepared and a model trained on them, once a session: do not change its store's steps."""
    root = tmp_path_factory.mktemp("trained")
    for name in ("data", "code", "store"):
        (root / name).mkdir()
    (root / "data" / "digits.csv").write_bytes(digits_csv.read_bytes())
    bench = Bench(
        root, Site(store=str(root / "store"), run="local-t", code=str(root / "code"), data=str(root / "data"))
    )
    prepared = bench.prepare()
    return bench, prepared, bench.train(prepared)


@pytest.fixture
def rows(bench: Bench) -> Callable[[str, list[str]], str]:
    """Writes a small csv below the data folder, and gives its name."""

    def write(name: str, lines: list[str]) -> str:
        (bench.data / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return name

    return write
