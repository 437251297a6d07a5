"""Reading another commit: real repositories made with the git command, whole and broken ones."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from aifctl.diagnostics.codes import CODES
from aifctl.diagnostics.model import Report
from aifctl.spec import git

AUTHOR = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}


def run(folder: Path, *arguments: str, stdin: bytes | None = None) -> str:
    settings = ["-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always"]
    command = ["git", "-C", str(folder), *settings, *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, env={**os.environ, **AUTHOR}, check=True)
    return os.fsdecode(done.stdout).strip()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    run(folder, "init", "-q")
    write(folder, {"rendered/a.yaml": b"a: 1\n", "rendered/deep/b.yaml": b"", "models/m.yaml": b"x\r\n\xff"})
    save(folder)
    return folder


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def save(folder: Path) -> str:
    run(folder, "add", "-A")
    run(folder, "commit", "-q", "--allow-empty", "-m", "c")
    return run(folder, "rev-parse", "HEAD")


def codes(call: Callable[[], object]) -> list[str]:
    with pytest.raises(Report) as caught:
        call()
    found = [diagnostic.code for diagnostic in caught.value.diagnostics]
    assert set(found) <= set(CODES)
    return found


def test_a_folder_is_read_as_it_was_at_a_ref(repo: Path) -> None:
    write(repo, {"rendered/a.yaml": b"a: 2\n"})
    (repo / "rendered/deep/b.yaml").unlink()
    assert git.read_tree(repo, "main", "rendered") == {"a.yaml": b"a: 1\n", "deep/b.yaml": b""}
    assert git.read_tree(repo, "HEAD", "models/") == {"m.yaml": b"x\r\n\xff"}
    assert set(git.read_tree(repo, "main")) == {"rendered/a.yaml", "rendered/deep/b.yaml", "models/m.yaml"}


def test_a_folder_that_was_not_there_is_empty(repo: Path) -> None:
    assert git.read_tree(repo, "main", "nowhere") == {}
    assert git.read_tree(repo, "main", "models/m.yaml") == {}, "a file is not a folder"


def test_below_is_relative_to_the_folder_inside_the_repository(repo: Path) -> None:
    assert git.read_tree(repo / "rendered", "main", "deep") == {"b.yaml": b""}
    assert set(git.read_tree(repo / "rendered", "main")) == {"a.yaml", "deep/b.yaml"}


@pytest.mark.parametrize("below", ["../x", "/etc", "a/../.."])
def test_below_stays_inside(repo: Path, below: str) -> None:
    assert codes(lambda: git.read_tree(repo, "main", below)) == ["AIF616"]


def test_names_of_any_bytes(repo: Path) -> None:
    names = ["ü/模型 1.yaml", 'quo"te\\\t.yaml', "new\nline.yaml", "*.yaml", ":(top)x.yaml", os.fsdecode(b"l\xe9.yaml")]
    write(repo, {f"rendered/odd/{name}": name.encode("utf-8", "surrogateescape") for name in names})
    save(repo)
    run(repo, "config", "core.quotepath", "true")
    found = git.read_tree(repo, "main", "rendered/odd")
    assert found == {name: os.fsencode(name) for name in names}


def test_links_and_submodules_are_no_files(repo: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    run(other, "init", "-q")
    write(other, {"inner.yaml": b"1"})
    save(other)
    run(repo, "submodule", "--quiet", "add", str(other), "rendered/module")
    (repo / "rendered/link.yaml").symlink_to("a.yaml")
    save(repo)
    assert set(git.read_tree(repo, "main", "rendered")) == {"a.yaml", "deep/b.yaml"}
    assert not git.commit(repo).dirty


def test_a_bare_repository_with_a_bare_name(repo: Path, tmp_path: Path) -> None:
    run(tmp_path, "clone", "-q", "--bare", str(repo), "bare.git")
    assert git.read_tree(tmp_path / "bare.git", "main", "models") == {"m.yaml": b"x\r\n\xff"}
    assert git.commit(tmp_path / "bare.git") == git.Commit(run(repo, "rev-parse", "HEAD"), dirty=False)


def test_dirty_is_any_difference(repo: Path) -> None:
    sha = run(repo, "rev-parse", "HEAD")
    assert git.commit(repo) == (sha, False)
    write(repo, {"new": b""})
    assert git.commit(repo) == (sha, True)
    (repo / "new").unlink()
    write(repo, {"rendered/a.yaml": b"other"})
    assert git.commit(repo) == (sha, True)
    run(repo, "add", "-A")
    assert git.commit(repo / "models") == (sha, True)


def test_a_tag_and_an_ambiguous_name_are_resolved_to_the_commit(repo: Path) -> None:
    sha = run(repo, "rev-parse", "HEAD")
    run(repo, "tag", "-a", "-m", "t", "v1")
    run(repo, "branch", "models")
    save(repo)
    assert git.resolve(repo, "models") == sha
    assert git.resolve(repo, "v1") == sha
    assert git.resolve(repo, "main~1") == sha


@pytest.mark.parametrize("ref", ["--upload-pack=touch x", "-h", "^main", "", "a\nb", "a\0b", "--"])
def test_text_that_looks_like_an_option_is_no_ref(repo: Path, ref: str) -> None:
    assert codes(lambda: git.read_tree(repo, ref)) == ["AIF613"]


@pytest.mark.parametrize("ref", ["nope", "main:models", "HEAD~99", "a..b", "é", "refs/heads/*", "'; echo x"])
def test_an_unknown_ref(repo: Path, ref: str) -> None:
    assert codes(lambda: git.read_tree(repo, ref)) == ["AIF611"]


def test_the_remote_branch_is_offered(repo: Path, tmp_path: Path) -> None:
    run(repo, "branch", "topic")
    run(tmp_path, "clone", "-q", str(repo), "clone")
    with pytest.raises(Report) as caught:
        git.resolve(tmp_path / "clone", "topic")
    assert caught.value.diagnostics[0].hint == "did you mean `origin/topic`?"


def test_a_shallow_clone_says_so(repo: Path, tmp_path: Path) -> None:
    old = run(repo, "rev-parse", "HEAD")
    save(repo)
    run(tmp_path, "clone", "-q", "--depth=1", f"file://{repo}", "clone")
    assert codes(lambda: git.read_tree(tmp_path / "clone", old)) == ["AIF614"]
    assert set(git.read_tree(tmp_path / "clone", "main", "models")) == {"m.yaml"}


def test_a_partial_clone_is_not_completed_over_the_network(repo: Path, tmp_path: Path) -> None:
    run(repo, "config", "uploadpack.allowFilter", "true")
    run(tmp_path, "clone", "-q", "--no-checkout", "--filter=blob:none", f"file://{repo}", "clone")
    assert codes(lambda: git.read_tree(tmp_path / "clone", "main")) == ["AIF614"]


def test_no_repository(tmp_path: Path) -> None:
    assert codes(lambda: git.read_tree(tmp_path, "main")) == ["AIF610"]
    assert codes(lambda: git.commit(tmp_path / "absent")) == ["AIF610"]


def test_no_commit_yet(tmp_path: Path) -> None:
    run(tmp_path, "init", "-q")
    assert codes(lambda: git.commit(tmp_path)) == ["AIF611"]


def test_no_git_command(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert codes(lambda: git.read_tree(repo, "main")) == ["AIF612"]


def test_a_broken_repository_is_reported_with_what_git_says(repo: Path) -> None:
    (repo / ".git/config").write_text("[core\n")
    with pytest.raises(Report) as caught:
        git.commit(repo)
    assert [d.code for d in caught.value.diagnostics] == ["AIF615"]
    assert "bad config line 1" in caught.value.diagnostics[0].message


def test_variables_do_not_lead_elsewhere(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"GIT_DIR": "/nowhere", "GIT_WORK_TREE": "/", "GIT_INDEX_FILE": "/x", "GIT_TRACE": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(tmp_path))
    assert git.read_tree(repo, "main", "rendered") == {"a.yaml": b"a: 1\n", "deep/b.yaml": b""}


def test_hooks_monitors_and_filters_do_not_run(repo: Path, tmp_path: Path) -> None:
    program = tmp_path / "ran.sh"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\ncat\n")
    program.chmod(0o755)
    write(repo, {".gitattributes": b"*.yaml filter=f\n"})
    save(repo)
    for key in ("core.fsmonitor", "filter.f.smudge", "core.pager", "core.sshCommand"):
        run(repo, "config", key, str(program))
    hooks = repo / ".git/hooks"
    for name in ("post-checkout", "post-index-change", "reference-transaction", "fsmonitor-watchman"):
        (hooks / name).write_bytes(program.read_bytes())
        (hooks / name).chmod(0o755)
    git.read_tree(repo, "main")
    git.commit(repo)
    git.export_ref(repo, "main", tmp_path / "out")
    assert not (tmp_path / "ran").exists()


def test_export_writes_the_tree_with_modes_and_ignores_archive_attributes(repo: Path, tmp_path: Path) -> None:
    write(repo, {"tool.sh": b"#!/bin/sh\n", "hidden.txt": b"h", "subst.txt": b"$Format:%H$"})
    write(repo, {".gitattributes": b"hidden.txt export-ignore\nsubst.txt export-subst\n"})
    (repo / "tool.sh").chmod(0o755)
    (repo / "link").symlink_to("models/m.yaml")
    sha = save(repo)
    assert git.export_ref(repo, "main", tmp_path / "out") == sha
    out = tmp_path / "out"
    assert (out / "subst.txt").read_bytes() == b"$Format:%H$"
    assert (out / "hidden.txt").read_bytes() == b"h"
    assert (out / "models/m.yaml").read_bytes() == b"x\r\n\xff"
    assert os.access(out / "tool.sh", os.X_OK)
    assert (out / "link").read_bytes() == b"x\r\n\xff"
    assert not (out / ".git").exists()


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "self/../../outside", "a/../../outside"])
def test_export_makes_no_link_out_of_the_folder(repo: Path, tmp_path: Path, target: str) -> None:
    (tmp_path / "outside").write_text("secret")
    (repo / "self").symlink_to(".")
    (repo / "zz-link").symlink_to(target)
    save(repo)
    git.export_ref(repo, "main", tmp_path / "out")
    assert (tmp_path / "out/self").is_symlink()
    assert not (tmp_path / "out/zz-link").is_symlink()


def test_a_tree_with_a_path_out_of_it_is_refused(repo: Path, tmp_path: Path) -> None:
    blob = run(repo, "hash-object", "-w", "--stdin", stdin=b"evil")
    entry = b"100644 ..\0" + bytes.fromhex(blob)
    tree = run(repo, "hash-object", "-w", "--literally", "-t", "tree", "--stdin", stdin=entry)
    evil = run(repo, "commit-tree", "-m", "e", tree)
    assert codes(lambda: git.read_tree(repo, evil)) == ["AIF616"]
    assert codes(lambda: git.export_ref(repo, evil, tmp_path / "out")) == ["AIF616"]


def test_a_link_and_a_folder_of_one_name_do_not_write_through_the_link(repo: Path, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    link = run(repo, "hash-object", "-w", "--stdin", stdin=os.fsencode(tmp_path / "target"))
    blob = run(repo, "hash-object", "-w", "--stdin", stdin=b"evil")
    inner = run(repo, "mktree", stdin=f"100644 blob {blob}\tf\n120000 blob {link}\tl\n".encode())
    raw = b"120000 a\0" + bytes.fromhex(link) + b"40000 a\0" + bytes.fromhex(inner)
    tree = run(repo, "hash-object", "-w", "--literally", "-t", "tree", "--stdin", stdin=raw)
    evil = run(repo, "commit-tree", "-m", "e", tree)
    git.export_ref(repo, evil, tmp_path / "out")
    assert list((tmp_path / "target").iterdir()) == []


def test_many_and_large_blobs_pass_through_one_process(repo: Path) -> None:
    files = {f"many/{n:04}.bin": (b"%d\n" % n) * 400 for n in range(2_000)}
    write(repo, {**files, "many/large.bin": b"\n0 blob 5\n" * 500_000})
    save(repo)
    assert git.read_tree(repo, "main", "many") == {name.removeprefix("many/"): data for name, data in files.items()} | {
        "large.bin": b"\n0 blob 5\n" * 500_000
    }
