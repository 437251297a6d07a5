"""`aifctl build`: a Containerfile that a builder takes as it stands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aifctl.delivery import image
from aifctl.diagnostics import Report
from aifctl.spec import load, locking
from aifctl.spec.models.lock import Lock, LockedRequirements
from tests.delivery.acme import IMAGE, Acme

PACKAGES = (f"joblib==1.5.3 --hash=sha256:{64 * 'a'}", f"threadpoolctl==3.6.0 --hash=sha256:{64 * 'b'}")


def with_requirements(acme: Acme, *, locked: bool = True) -> Acme:
    acme.edit("code: {path: src}", "code: {path: src, requirements: requirements.txt}")
    (acme.root / "requirements.txt").write_text("joblib>=1.5\n")
    if locked:
        (unit,) = load.units(acme.load(), acme.load().environment("lab"))[0]
        assert unit.facts.requirements is not None
        lock = Lock(
            apiVersion="aif.dev/v1alpha1",
            kind="Lock",
            metadata={"name": "wine"},
            requirements=LockedRequirements(source=str(unit.facts.requirements.sha256), packages=PACKAGES),
        )
        (acme.root / "wine.lock.yaml").write_text(locking.text(lock))
    return acme


def refused(acme: Acme, environment: str = "lab") -> tuple[str, str]:
    with pytest.raises(Report) as caught:
        image.build(acme.load(), "wine", environment)
    assert not (acme.root / "Containerfile").exists()
    return caught.value.diagnostics[0].code, caught.value.diagnostics[0].message


def instructions(folder: Path) -> list[list[str]]:
    lines = (folder / "Containerfile").read_text().splitlines()
    return [line.split(" ", 1) for line in lines if not line.startswith("#")]


def test_the_runtime_image_with_locked_packages_and_code(new_acme: Acme) -> None:
    built = image.build(with_requirements(new_acme).load(), "wine", "lab")
    assert built.files == ("Containerfile", "requirements.lock.txt")
    assert (new_acme.root / "requirements.lock.txt").read_text().splitlines() == list(PACKAGES)
    words = instructions(new_acme.root)
    assert words[0] == ["FROM", IMAGE]
    assert [word for word, _ in words] == ["FROM", "USER", "COPY", "RUN", "COPY", "USER"]
    assert "--require-hashes" in words[3][1]
    source, target = json.loads(words[4][1])
    assert (new_acme.root / source).is_dir()
    assert target == "/app/"
    assert words[-1] == ["USER", "65532:65532"], "the image does not run as root"


def test_the_files_it_copies_are_in_the_build_context(new_acme: Acme, monkeypatch: pytest.MonkeyPatch) -> None:
    (new_acme.root.parent / "elsewhere").mkdir()
    with_requirements(new_acme)
    monkeypatch.chdir(new_acme.root.parent / "elsewhere")
    built = image.build(new_acme.load(), "wine", "lab")
    words = built.command.split()
    context, containerfile = Path(words[-1]), Path(words[words.index("-f") + 1])
    assert (context, containerfile) == (new_acme.root, new_acme.root / "Containerfile")
    assert (context / "requirements.lock.txt").is_file()


def test_twice_gives_the_same_bytes(new_acme: Acme) -> None:
    with_requirements(new_acme)
    image.build(new_acme.load(), "wine", "lab")
    before = {path.name: path.read_bytes() for path in new_acme.root.iterdir() if path.is_file()}
    image.build(new_acme.load(), "wine", "lab")
    assert {path.name: path.read_bytes() for path in new_acme.root.iterdir() if path.is_file()} == before


def test_without_requirements_the_code_alone(new_acme: Acme) -> None:
    built = image.build(new_acme.load(), "wine", "lab")
    assert built.files == ("Containerfile",)
    assert [word for word, _ in instructions(new_acme.root)] == ["FROM", "USER", "COPY", "USER"]


def test_it_starts_from_the_platforms_image_though_the_spec_names_its_own(new_acme: Acme) -> None:
    """Which is the one that was built before."""
    new_acme.edit("code: {path: src}", f"code: {{path: src, image: 'registry.example/wine@sha256:{64 * '9'}'}}")
    image.build(new_acme.load(), "wine", "lab")
    assert instructions(new_acme.root)[0] == ["FROM", IMAGE]


def test_requirements_that_are_not_locked(new_acme: Acme) -> None:
    assert refused(with_requirements(new_acme, locked=False)) == (
        "AIF640",
        "the requirements of `wine` are not locked",
    )


def test_requirements_that_have_changed_since_they_were_locked(new_acme: Acme) -> None:
    with_requirements(new_acme)
    (new_acme.root / "requirements.txt").write_text("joblib>=1.5\nskops\n")
    assert refused(new_acme) == ("AIF640", "the requirements of `wine` have changed since they were locked")


def test_no_code(new_acme: Acme) -> None:
    new_acme.edit("  code: {path: src}\n", "")
    assert refused(new_acme)[0] == "AIF640"


@pytest.mark.parametrize("path", ["../src", "/etc"])
def test_code_outside_of_the_specs_folder(path: str, new_acme: Acme) -> None:
    new_acme.edit("code: {path: src}", f"code: {{path: {path}}}")
    assert refused(new_acme)[0] == "AIF351"


def test_environments_without_an_image(new_acme: Acme) -> None:
    assert refused(new_acme, "local") == ("AIF640", "environment `local` runs processes, which need no image")
    new_acme.edit(f'{{custom: {{cpu: "{IMAGE}"}}, ', "{", "platform.yaml")
    code, message = refused(new_acme)
    assert (code, message) == ("AIF640", "the platform has no runtime image for `custom`")
