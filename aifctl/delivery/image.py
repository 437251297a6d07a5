"""`aifctl build`: the Containerfile of a model's own image: the platform's runtime image, locked packages, code."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from aifctl.delivery.choosing import only_unit
from aifctl.delivery.files import write_text
from aifctl.diagnostics import Diagnostic, Report
from aifctl.lowering.placement import IMAGES, Place
from aifctl.render.containerfile import Image, containerfile
from aifctl.spec.load import Repository, Unit
from aifctl.spec.paths import shown


@dataclass(frozen=True, slots=True)
class Built:
    """`command` builds and pushes the image; its digest then belongs into `code.image`."""

    files: tuple[str, ...]
    command: str


def build(loaded: Repository, name: str | None, environment: str) -> Built:
    """Writes Containerfile and requirements.lock.txt beside the spec. Raises Report where their parts are missing."""
    place = loaded.environment(environment)
    unit = only_unit(loaded, name, place)
    if place.local:
        raise _problem(f"environment `{environment}` runs processes, which need no image", "name a cluster's")
    code = _code(unit)
    packages = _packages(unit)
    image = Image(base=_base(unit, loaded), code=code, model=unit.name, locked=bool(packages))
    texts = {"Containerfile": containerfile(image)}
    if packages:
        texts["requirements.lock.txt"] = "".join(f"{line}\n" for line in packages)
    for file, text in texts.items():
        write_text(unit.folder / file, text)
    where = shlex.quote(shown(unit.folder, Path.cwd()))
    files = tuple(shown(unit.folder / file, Path.cwd()) for file in texts)
    return Built(files, f"docker buildx build --push -t REGISTRY/{unit.name} -f {where}/Containerfile {where}")


def _code(unit: Unit) -> str:
    code, fact = unit.spec.code, unit.facts.code
    if code is None or code.path is None or fact is None:
        raise _problem(f"`{unit.name}` has no `code.path` to build an image from", "name the folder of its code")
    if fact.problem is not None:
        raise Report(Diagnostic("AIF351", f"`{code.path}` {fact.problem}", None, unit.at("spec", "code", "path")))
    return code.path


def _packages(unit: Unit) -> tuple[str, ...]:
    """The locked packages; none where the spec requires none."""
    required = unit.facts.requirements
    if required is None:
        return ()
    locked = unit.lock.requirements if unit.lock is not None else None
    if locked is None:
        raise _problem(f"the requirements of `{unit.name}` are not locked", "run `aifctl lock` first")
    if locked.source != required.sha256:
        raise _problem(f"the requirements of `{unit.name}` have changed since they were locked", "run `aifctl lock`")
    return locked.packages


def _base(unit: Unit, loaded: Repository) -> str:
    place, training = Place(unit.without_image(), loaded.platform), unit.spec.training
    base = place.image(place.accelerator(training.hardware.accelerator, training.hardware.per_node), user_code=True)
    if base is None:
        kind = IMAGES.get(training.framework, training.framework)
        hint = f"add one to `images.{kind}` of the platform file"
        raise _problem(f"the platform has no runtime image for `{kind}`", hint)
    return base


def _problem(message: str, hint: str) -> Report:
    return Report(Diagnostic("AIF640", message, hint))
