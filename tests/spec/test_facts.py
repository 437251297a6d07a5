"""Facts of the files that a spec names; a bad file is a problem in words, never an exception."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from aifctl.spec import facts
from aifctl.spec.models.model import ModelSpec


def spec(path: str = "d.csv", code: str = "src", requirements: str | None = None) -> ModelSpec:
    given = {"path": code} if requirements is None else {"path": code, "requirements": requirements}
    return ModelSpec.model_validate(
        {
            "task": "regression",
            "datasets": [{"name": "d", "source": {"path": path}}],
            "code": given,
            "training": {"model": "m:build"},
        }
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "src/net").mkdir(parents=True)
    (tmp_path / "src/net/cnn.py").write_text("x = 1\n")
    (tmp_path / "src/net/__pycache__").mkdir()
    (tmp_path / "src/net/__pycache__/cnn.pyc").write_bytes(b"\0")
    (tmp_path / "d.csv").write_text("a,b\n1,2\n")
    return tmp_path


def test_data_and_code_by_their_content(folder: Path) -> None:
    found = facts.gather(spec(), folder)
    assert found.data["d"].sha256 == hashlib.sha256(b"a,b\n1,2\n").hexdigest()
    assert found.code is not None
    assert list(found.code.files) == ["net/cnn.py"]
    assert found.requirements is None


def test_a_changed_file_is_noticed_in_one_process(folder: Path) -> None:
    before = facts.gather(spec(), folder).data["d"].sha256
    (folder / "d.csv").write_text("a,b\n1,2\n3,4\n")
    assert facts.gather(spec(), folder).data["d"].sha256 != before


def test_the_code_digest_follows_content_and_names_not_times(folder: Path) -> None:
    before = facts.gather(spec(), folder).code
    (folder / "src/net/cnn.py").touch()
    assert facts.gather(spec(), folder).code == before
    (folder / "src/net/cnn.py").rename(folder / "src/net/rnn.py")
    after = facts.gather(spec(), folder).code
    assert before is not None
    assert after is not None
    assert before.digest != after.digest


def test_large_data_is_not_hashed(folder: Path) -> None:
    with (folder / "d.csv").open("wb") as file:
        file.truncate(facts.HASHED_IN_PLACE + 1)
    found = facts.gather(spec(), folder).data["d"]
    assert (found.size, found.sha256, found.problem) == (facts.HASHED_IN_PLACE + 1, None, None)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("none.csv", "can't be read"),
        ("../d.csv", "by `..`"),
        ("/etc/hostname", "relative"),
        ("~/d.csv", "relative"),
        ("out.csv", "symbolic link"),
    ],
)
def test_data_that_can_not_be_used(folder: Path, path: str, words: str) -> None:
    (folder / "out.csv").symlink_to("/etc/hostname")
    problem = facts.gather(spec(path), folder).data["d"].problem
    assert problem is not None
    assert words in problem


@pytest.mark.parametrize(("path", "words"), [("none", "No such file"), ("d.csv", "not a folder"), ("..", "by `..`")])
def test_code_that_can_not_be_used(folder: Path, path: str, words: str) -> None:
    code = facts.gather(spec(code=path), folder).code
    assert code is not None
    assert words in (code.problem or "")


def test_a_link_inside_the_code_is_refused(folder: Path) -> None:
    (folder / "src/net/link.py").symlink_to("/etc/hostname")
    code = facts.gather(spec(), folder).code
    assert code is not None
    assert "net/link.py is a symbolic link" in (code.problem or "")


def test_requirements_without_comments_in_any_order(folder: Path) -> None:
    (folder / "a.txt").write_text("# what it needs\nnumpy>=2\n\nScikit_Learn==1.6 # trees\n")
    (folder / "b.txt").write_text("Scikit_Learn==1.6\nnumpy>=2\n")
    one = facts.gather(spec(requirements="a.txt"), folder).requirements
    other = facts.gather(spec(requirements="b.txt"), folder).requirements
    assert one is not None
    assert one == other
    assert one.names == ("scikit-learn", "numpy")


def test_requirements_that_are_no_text(folder: Path) -> None:
    (folder / "r.txt").write_bytes(b"\xff\xfe")
    found = facts.gather(spec(requirements="r.txt"), folder).requirements
    assert found is not None
    assert found.problem == "is not UTF-8"
