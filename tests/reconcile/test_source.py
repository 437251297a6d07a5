"""Following a Git repository: what is fetched, and what is never run."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from aifctl.diagnostics import Report
from aifctl.reconcile.source import Source


def git(folder: Path, *words: str) -> str:
    named = ("-c", "user.name=A", "-c", "user.email=a@b.example", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", *named, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()  # fmt: skip


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "a.yaml").write_text("a: 1\n")
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", "first")
    return folder


def fetched(source: Source) -> str:
    return asyncio.run(source.fetch())


def test_a_branch_a_tag_and_a_commit(repository: Path, tmp_path: Path) -> None:
    first = git(repository, "rev-parse", "HEAD")
    git(repository, "tag", "-a", "v1", "-m", "one")
    for ref in ("main", "v1", "refs/heads/main"):
        assert fetched(Source(str(repository), ref, tmp_path / ref.replace("/", "-"))) == first


def test_the_branch_that_is_rewritten_is_followed(repository: Path, tmp_path: Path) -> None:
    source = Source(str(repository), "main", tmp_path / "state")
    first = fetched(source)
    git(repository, "commit", "--quiet", "--amend", "-m", "other")
    second = fetched(source)
    assert second != first
    assert asyncio.run(source.last()) == second


def test_a_bare_repository_and_a_file_url(repository: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(repository), str(bare))
    first = git(repository, "rev-parse", "HEAD")
    assert fetched(Source(str(bare), "main", tmp_path / "one")) == first
    assert fetched(Source(f"file://{bare}", "main", tmp_path / "two")) == first


def test_what_is_gone_is_a_finding_and_the_last_commit_stays(repository: Path, tmp_path: Path) -> None:
    source = Source(str(repository), "main", tmp_path / "state")
    first = fetched(source)
    repository.rename(tmp_path / "aside")
    with pytest.raises(Report, match="AIF770"):
        fetched(source)
    assert asyncio.run(source.last()) == first
    with pytest.raises(Report, match="AIF770"):
        fetched(Source(str(tmp_path / "aside"), "no-such-branch", tmp_path / "other"))


@pytest.mark.parametrize(
    ("repository_", "ref"),
    [
        ("ext::sh -c 'touch ran'", "main"),
        ("ext::touch% ran", "main"),
        ("--upload-pack=touch ran", "main"),
        ("-x", "main"),
        ("", "main"),
        ("https://git.example/x", "--upload-pack=x"),
        ("https://git.example/x", "main:refs/heads/x"),
        ("https://git.example/x", ""),
        ("https://git.example/x", "a b"),
    ],
)
def test_what_would_run_a_program_or_write_elsewhere_is_refused(repository_: str, ref: str, tmp_path: Path) -> None:
    with pytest.raises(Report, match="AIF770"):
        fetched(Source(repository_, ref, tmp_path / "state"))
    assert not list(tmp_path.rglob("ran"))
    assert not Path("ran").exists()


def test_a_password_is_not_told(tmp_path: Path) -> None:
    with pytest.raises(Report) as raised:
        fetched(Source("http://ann:hunter2@127.0.0.1:9/models", "main", tmp_path / "state"))
    assert "hunter2" not in str(raised.value)


def test_a_submodule_that_points_at_a_program_is_not_followed(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / ".gitmodules").write_text('[submodule "x"]\n\tpath = x\n\turl = ext::sh -c "touch ran"\n')
    git(repository, "add", "-A")
    git(repository, "commit", "--quiet", "-m", "more")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert fetched(Source(str(repository), "main", tmp_path / "state"))
    assert not list(tmp_path.rglob("ran"))
