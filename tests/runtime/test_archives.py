"""Code as one file: the same tree is the same bytes, and a hostile archive writes nothing anywhere."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from aifctl import digest
from aifctl.contract import Site
from aifctl.diagnostics import Report
from aifctl.runtime import archives
from aifctl.runtime.store import Store

FILES = {"train.py": b"import os\n", "deep/er/util.py": b"", "größe.txt": "ä".encode(), "data.bin": bytes(range(256))}


def tree(folder: Path, files: dict[str, bytes] = FILES) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def member(name: str, data: bytes = b"x", **fields: object) -> Callable[[tarfile.TarFile], None]:
    def add(archive: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        for field, value in fields.items():
            setattr(info, field, value)
        archive.addfile(info, io.BytesIO(data))

    return add


def archive(*members: Callable[[tarfile.TarFile], None]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as target:
        for add in members:
            add(target)
    return buffer.getvalue()


class TestPack:
    def test_a_tree_comes_back_as_it_was(self, tmp_path: Path) -> None:
        source = tree(tmp_path / "a")
        archives.unpack(archives.pack(source), tmp_path / "b")
        assert digest.of_tree(tmp_path / "b") == digest.of_tree(source)
        assert {p.relative_to(tmp_path / "b").as_posix() for p in (tmp_path / "b").rglob("*") if p.is_file()} == set(
            FILES
        )

    def test_the_same_tree_is_the_same_bytes(self, tmp_path: Path) -> None:
        """Whatever the times, modes, the order it was written in, and the caches beside it."""
        one = tree(tmp_path / "one")
        two = tree(tmp_path / "two", dict(reversed(FILES.items())))
        for path in two.rglob("*"):
            os.utime(path, (1, 1))
        (two / "train.py").chmod(0o700)
        tree(two, {"__pycache__/train.cpython-311.pyc": b"x", ".git/HEAD": b"x", ".DS_Store": b"", "train.py~": b""})
        assert archives.pack(one) == archives.pack(two)
        (two / "train.py").write_bytes(b"import sys\n")
        assert archives.pack(one) != archives.pack(two)

    def test_links_are_refused(self, tmp_path: Path) -> None:
        source = tree(tmp_path / "a")
        (source / "link").symlink_to("/etc/passwd")
        with pytest.raises(ValueError, match="link is a symbolic link"):
            archives.pack(source)


class TestUnpack:
    @pytest.mark.parametrize(
        "evil",
        [
            member("../outside.txt"),
            member("deep/../../outside.txt"),
            member("link", type=tarfile.SYMTYPE, linkname="../.."),
            member("link", type=tarfile.SYMTYPE, linkname="/etc"),
            member("link", type=tarfile.LNKTYPE, linkname="../outside.txt"),
            member("device", type=tarfile.CHRTYPE, devmajor=1, devminor=5),
            member("pipe", type=tarfile.FIFOTYPE),
        ],
        ids=["parent", "through", "link-up", "link-away", "hard-link", "device", "pipe"],
    )
    def test_what_leads_out_or_is_no_file(self, evil: Callable[[tarfile.TarFile], None], tmp_path: Path) -> None:
        outside = tmp_path / "outside.txt"
        outside.write_text("mine")
        into = tmp_path / "into"
        with pytest.raises(Report) as caught:
            archives.unpack(archive(evil), into)
        assert caught.value.diagnostics[0].code == "AIF807"
        assert outside.read_text() == "mine"
        assert not [path for path in into.rglob("*") if path.is_symlink() or not path.is_dir()]

    def test_an_absolute_name_stays_inside(self, tmp_path: Path) -> None:
        archives.unpack(archive(member(f"{tmp_path}/outside.txt")), tmp_path / "into")
        assert [path.name for path in tmp_path.iterdir()] == ["into"]

    def test_a_link_inside_is_found_by_the_digest(self, tmp_path: Path) -> None:
        """The archive's filter lets it be; no step takes a tree with links."""
        inner = archive(member("a.py"), member("b.py", type=tarfile.SYMTYPE, linkname="a.py"))
        archives.unpack(inner, tmp_path / "into")
        with pytest.raises(ValueError, match="symbolic link"):
            digest.of_tree(tmp_path / "into")

    @pytest.mark.parametrize("cut", [0, 100, 600])
    def test_a_broken_one(self, cut: int, tmp_path: Path) -> None:
        whole = archives.pack(tree(tmp_path / "a"))
        with pytest.raises(Report) as caught:
            archives.unpack(whole[:cut], tmp_path / "b")
        assert caught.value.diagnostics[0].code == "AIF807"

    def test_a_compressed_one_is_refused(self, tmp_path: Path) -> None:
        """A few bytes could unpack to more than the disk holds."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as target:
            member("a.py")(target)
        with pytest.raises(Report):
            archives.unpack(buffer.getvalue(), tmp_path / "b")


class TestProvide:
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return Store(tmp_path / "store")

    def put(self, store: Store, source: Path) -> str:
        found = digest.of_tree(source)
        store.write(archives.name(found), archives.pack(source), exclusive=True)
        return found

    def test_code_is_put_where_the_step_expects_it(self, store: Store, tmp_path: Path) -> None:
        code = self.put(store, tree(tmp_path / "a"))
        target = tmp_path / "work/code"
        archives.provide(code, Site(store=store.uri, run="r", code=str(target)), store)
        assert digest.of_tree(target) == code
        assert [path.name for path in target.parent.iterdir()] == ["code"]

    def test_what_is_there_already_is_left_alone(self, store: Store, tmp_path: Path) -> None:
        code = self.put(store, tree(tmp_path / "a"))
        mine = tree(tmp_path / "mine", {"train.py": b"mine"})
        archives.provide(code, Site(store=store.uri, run="r", code=str(mine)), store)
        assert [path.name for path in mine.iterdir()] == ["train.py"]

    def test_half_a_tree_is_never_left(self, store: Store, tmp_path: Path) -> None:
        """The next try would take it for the code that was given."""
        code = digest.of_tree(tree(tmp_path / "a"))
        store.write(archives.name(code), archive(member("good.py"), member("../evil.py")), exclusive=True)
        target = tmp_path / "work/code"
        with pytest.raises(Report):
            archives.provide(code, Site(store=store.uri, run="r", code=str(target)), store)
        assert list(target.parent.iterdir()) == []

    def test_nothing_to_do(self, store: Store, tmp_path: Path) -> None:
        target = tmp_path / "code"
        archives.provide(None, Site(store=store.uri, run="r", code=str(target)), store)
        archives.provide(64 * "0", Site(store=store.uri, run="r", code=str(target)), store)
        archives.provide(64 * "0", Site(store=store.uri, run="r"), store)
        assert not target.exists()


def test_copy_tree(tmp_path: Path) -> None:
    source = tree(tmp_path / "a")
    tree(source, {"__pycache__/x.pyc": b""})
    archives.copy_tree(source, tmp_path / "b")
    assert digest.of_tree(tmp_path / "b") == digest.of_tree(source)
    assert not (tmp_path / "b/__pycache__").exists()
    (source / "link").symlink_to("train.py")
    with pytest.raises(ValueError, match="symbolic link"):
        archives.copy_tree(source, tmp_path / "c")
