"""`aifctl build`: the Containerfile of a model's own image: the platform's runtime image, locked packages, code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aifctl.delivery.choosing import only_unit
from aifctl.delivery.files import write_text
from aifctl.diagnostics import Diagnostic, Report
from aifctl.lowering.placement import Place
from aifctl.render.containerfile import Image, containerfile
from aifctl.spec.load import Repository
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
    code = unit.spec.code
    if code is None or code.path is None:
        raise Report(Diagnostic("AIF640", f"`{unit.name}` has no `code.path` to build an image from", None))
    runtime = Place(unit.without_image(), loaded.platform)
    accelerator = runtime.accelerator(unit.spec.training.hardware.accelerator, unit.spec.training.hardware.per_node)
    base = runtime.image(accelerator, user_code=True)
    if base is None:
        hint = f"add `images.{unit.spec.training.framework}` to the platform file, or choose an environment with --env"
        raise Report(Diagnostic("AIF640", f"environment `{environment}` has no runtime image for this model", hint))
    locked = unit.lock.requirements if unit.lock is not None else None
    if code.requirements is not None and locked is None:
        raise Report(
            Diagnostic("AIF640", f"the requirements of `{unit.name}` are not locked", "run `aifctl lock` first")
        )
    packages = locked.packages if locked is not None else ()
    image = Image(base=base, code=code.path, model=unit.name, locked=bool(packages))
    folder = unit.folder
    write_text(folder / "Containerfile", containerfile(image))
    files = [shown(folder / "Containerfile", Path.cwd())]
    if packages:
        write_text(folder / "requirements.lock.txt", "".join(f"{line}\n" for line in packages))
        files.append(shown(folder / "requirements.lock.txt", Path.cwd()))
    where = shown(folder, Path.cwd())
    return Built(tuple(files), f"docker buildx build --push -t REGISTRY/{unit.name} -f {where}/Containerfile {where}")
