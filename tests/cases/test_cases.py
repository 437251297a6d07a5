"""Bad specs, a folder each, through the real command: the exact text a user reads. And: every code has page and case.

A folder holds the files of a small repository and `expected.txt`; `arguments.txt` where the command is not
`aifctl validate`. `shared/` lies below every case, and `BUILT` makes what Git can't hold.
"""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from aifctl import cli
from aifctl.diagnostics.codes import CODES
from aifctl.diagnostics.explain import page

HERE = Path(__file__).parent
CASES = sorted(path.name for path in HERE.iterdir() if path.name.startswith("AIF"))
SPEC = "apiVersion: aif.dev/v1alpha1\nkind: Model\n"


def _unreadable(folder: Path) -> None:
    (folder / "model.yaml").symlink_to(folder / "nowhere.yaml")


def _not_utf8(folder: Path) -> None:
    (folder / "model.yaml").write_bytes(SPEC.encode() + "metadata: {name: grün}".encode("latin-1"))


def _two_hundred_megabytes(folder: Path) -> None:
    with (folder / "model.yaml").open("wb") as file:
        file.write(SPEC.encode())
        file.truncate(200 * 1024**2)


def _deep(folder: Path) -> None:
    (folder / "model.yaml").write_text(SPEC + "spec: " + "[" * 5000 + "]" * 5000)


def _large_data(folder: Path) -> None:
    with (folder / "data/large.csv").open("wb") as file:
        file.truncate(65 * 1024**2)


BUILT: dict[str, Callable[[Path], None]] = {
    "AIF101-unreadable": _unreadable,
    "AIF102-not-utf8": _not_utf8,
    "AIF103-two-hundred-megabytes": _two_hundred_megabytes,
    "AIF107-deep": _deep,
    "AIF362-large": _large_data,
}


ELSEWHERE = {"AIF123"}
"""Its text is what the resolver on this machine says."""


@pytest.mark.parametrize("name", CASES)
def test_the_text_is_as_expected(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, update_golden: bool
) -> None:
    _lay_out(name, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AIF_ENV", raising=False)
    code, text = _run(HERE / name / "arguments.txt")
    expected = HERE / name / "expected.txt"
    if update_golden:
        expected.write_text(text, encoding="utf-8")
    assert expected.is_file(), "no expected.txt: read the text and keep it by --update-golden"
    assert text == expected.read_text("utf-8")
    assert code == (1 if ": error[" in f": {text}" else 0)
    assert f"[{name[:6]}]" in text, "the case is not about its code"
    assert "Traceback" not in text


def _lay_out(name: str, folder: Path) -> None:
    if name != "AIF114-empty-folder":
        shutil.copytree(HERE / "shared", folder, dirs_exist_ok=True)
    shutil.copytree(
        HERE / name, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("expected.txt", "arguments.txt")
    )
    BUILT.get(name, lambda _: None)(folder)


def _run(arguments: Path) -> tuple[int, str]:
    words = arguments.read_text("utf-8").split() if arguments.is_file() else ["validate"]
    errors, results = io.StringIO(), io.StringIO()
    with redirect_stderr(errors), redirect_stdout(results):
        code = cli.main(words)
    return code, errors.getvalue() + results.getvalue()


def test_every_code_of_the_compiler_has_a_case() -> None:
    shown = {code for name in CASES for code in re.findall(r"\[(AIF\d+)\]", _expected(name))}
    assert sorted(code for code in CODES if code < "AIF500" and code not in shown | ELSEWHERE) == []


def _expected(name: str) -> str:
    return (HERE / name / "expected.txt").read_text("utf-8")


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_page(code: str) -> None:
    text = page(code)
    assert text.startswith(f"# {code}: {CODES[code].title}\n")
    parts = re.split(r"^## (.*)$", text, flags=re.MULTILINE)
    assert parts[1::2] == ["What", "Why it is bad", "Example", "Instead"]
    assert all(part.strip() for part in parts[2::2])


def test_no_page_without_a_code() -> None:
    pages = {path.stem for path in (Path(cli.__file__).parents[1] / "diagnostics" / "pages").glob("*.md")}
    assert pages - set(CODES) == set()
