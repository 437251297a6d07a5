"""The same specs are rendered to the same bytes: in another folder, process, locale, time zone, with another hash seed.

Each case is a process of its own, as a user starts it, and the whole tree is compared with what this process makes.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml12

from tests.golden import repository

HOUR = 3600


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    found = repository.rendered(repository.lay_out(tmp_path_factory.mktemp("expected") / "specs"))
    assert len(found) > 20
    return found


def render(specs: Path, out: Path, cwd: Path, **environment: str) -> dict[str, bytes]:
    """Files by path, as the command wrote them."""
    code = "import sys; from aifctl.__main__ import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "render", str(specs), "--out", str(out)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(repository.HERE.parents[1]), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def _locales() -> list[str]:
    """One whose decimal point is a comma, where this machine has it."""
    there = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=False).stdout.split()
    return [next((name for name in there if name.lower().startswith("de_de")), "C.UTF-8"), "C", "tr_TR.UTF-8"]


@pytest.mark.parametrize("locale", _locales())
@pytest.mark.parametrize(("seed", "zone"), [("0", "UTC"), ("1", "Pacific/Kiritimati"), ("random", "America/St_Johns")])
def test_locale_time_zone_and_hash_seed(
    locale: str, seed: str, zone: str, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    specs = repository.lay_out(tmp_path / "specs")
    about = {"LC_ALL": locale, "LANG": locale, "TZ": zone, "PYTHONHASHSEED": seed}
    assert render(specs, tmp_path / "out", tmp_path, **about) == expected


def test_another_folder_and_another_place_to_start_from(tmp_path: Path, expected: dict[str, bytes]) -> None:
    deep = repository.lay_out(tmp_path / "änderung mit leer zeichen" / ("x" * 40) / "specs")
    assert render(deep, tmp_path / "one", tmp_path) == expected
    assert render(Path(), tmp_path / "two", deep) == expected
    assert render(Path("../specs"), tmp_path / "three", deep) == expected
    link = tmp_path / "link"
    link.symlink_to(deep)
    assert render(link, tmp_path / "four", Path("/")) == expected


def test_twice_into_the_same_folder(tmp_path: Path, expected: dict[str, bytes]) -> None:
    specs = repository.lay_out(tmp_path / "specs")
    assert render(specs, tmp_path / "out", tmp_path) == expected
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.yaml")}
    assert render(specs, tmp_path / "out", tmp_path) == expected
    assert {path: path.stat().st_mtime_ns for path in times} == times, "a file that says the same was written again"


def _read_only(specs: Path) -> None:
    for path in (*specs.rglob("*"), specs):
        path.chmod(0o555 if path.is_dir() else 0o444)


def _other_times(specs: Path) -> None:
    for number, path in enumerate(sorted(specs.rglob("*"))):
        os.utime(path, (number * HOUR, number * HOUR))


def _executable(specs: Path) -> None:
    for path in specs.rglob("*.py"):
        path.chmod(0o755)


def _left_by_others(specs: Path) -> None:
    """What Python, editors, a laptop run and macOS leave in a folder of code."""
    for code in specs.glob("*/src"):
        (code / "__pycache__").mkdir()
        (code / "__pycache__/x.cpython-311.pyc").write_bytes(b"\0")
        (code / ".model.py.swp").write_bytes(b"\0")
        (code / "train.py~").write_bytes(b"old")
        (code / ".DS_Store").write_bytes(b"\0")
    (specs / ".aif").mkdir()
    (specs / ".aif/model.yaml").write_text("apiVersion: aif.dev/v1alpha1\nkind: Model\n")


def _other_order(specs: Path) -> None:
    """The same files, made in the opposite order: what a folder lists first is up to the file system."""
    copy = specs.with_name("copy")
    for path in sorted((p for p in specs.rglob("*") if p.is_file()), reverse=True):
        target = copy / path.relative_to(specs)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    shutil.rmtree(specs)
    copy.rename(specs)


@pytest.mark.parametrize("change", [_read_only, _other_times, _executable, _left_by_others, _other_order])
def test_how_the_files_lie_there(change: Callable[[Path], None], tmp_path: Path, expected: dict[str, bytes]) -> None:
    specs = repository.lay_out(tmp_path / "specs")
    change(specs)
    assert render(specs, tmp_path / "out", tmp_path) == expected


def test_the_mask_of_new_files(tmp_path: Path, expected: dict[str, bytes]) -> None:
    specs = repository.lay_out(tmp_path / "specs")
    before = os.umask(0o077)
    try:
        assert render(specs, tmp_path / "out", tmp_path) == expected
    finally:
        os.umask(before)


def test_without_another_model_beside_it(tmp_path: Path, expected: dict[str, bytes]) -> None:
    specs = repository.lay_out(tmp_path / "specs")
    alone = render(specs / "minimal/model.yaml", tmp_path / "out", tmp_path)
    assert alone == {name: content for name, content in expected.items() if "/iris/" in name}


# What says the same in other words


def _spec_files(specs: Path) -> list[Path]:
    return [*specs.glob("*/model.yaml"), specs / "platform.yaml", *specs.glob("releases/*/*.yaml")]


def test_a_comment_moves_no_byte(tmp_path: Path, expected: dict[str, bytes]) -> None:
    specs = repository.lay_out(tmp_path / "specs")
    for path in _spec_files(specs):
        lines = path.read_text("utf-8").splitlines()
        commented = itertools.chain.from_iterable((f"# line {n}", line, "") for n, line in enumerate(lines))
        path.write_text("\n".join(commented) + "\n# the end\n", "utf-8")
    assert repository.rendered(specs) == expected


def test_line_ends_of_windows_in_a_spec_move_no_byte(tmp_path: Path, expected: dict[str, bytes]) -> None:
    specs = repository.lay_out(tmp_path / "specs")
    for path in _spec_files(specs):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert repository.rendered(specs) == expected


def test_the_order_of_keys_moves_no_byte(tmp_path: Path, expected: dict[str, bytes]) -> None:
    specs = repository.lay_out(tmp_path / "specs")
    for path in _spec_files(specs):
        path.write_text(yaml12.format_yaml(_reversed(yaml12.parse_yaml(path.read_text("utf-8")))), "utf-8")
    assert repository.rendered(specs) == expected


def _reversed(value: object) -> object:
    """Mappings in the opposite order; lists stay, their order says something."""
    if isinstance(value, dict):
        return {key: _reversed(value[key]) for key in reversed(value)}
    return [_reversed(item) for item in value] if isinstance(value, list) else value


def test_anchors_move_no_byte(tmp_path: Path, expected: dict[str, bytes]) -> None:
    specs = repository.lay_out(tmp_path / "specs")
    path = specs / "digits-tensorflow/model.yaml"
    text = path.read_text("utf-8")
    changed = text.replace("learning_rate: 0.003", "learning_rate: &rate 0.003").replace("epochs: 8", "epochs: &n 8")
    assert changed != text
    path.write_text(changed, "utf-8")
    assert repository.rendered(specs) == expected


def test_a_changed_value_moves_bytes(tmp_path: Path, expected: dict[str, bytes]) -> None:
    """The comparison above can fail."""
    specs = repository.lay_out(tmp_path / "specs")
    path = specs / "minimal/model.yaml"
    path.write_text(path.read_text("utf-8").replace("epochs: 40", "epochs: 41"), "utf-8")
    found = repository.rendered(specs)
    differs = {name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)}
    assert {name.split("/")[4:][0] for name in differs} == {"run"}
    assert all("/iris/" in name for name in differs)
