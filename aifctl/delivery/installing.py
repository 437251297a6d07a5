"""`aifctl init --reconciler`: manifests that run `aifctl reconcile` in an environment's cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aifctl import __version__, ir
from aifctl.checks.pods import RESTRICTED
from aifctl.delivery.files import write_text
from aifctl.diagnostics import Diagnostic, Report
from aifctl.lowering import target
from aifctl.render.backends.reconciler import Reconciler
from aifctl.render.bundles import render_reconciler
from aifctl.render.ownership import is_name
from aifctl.render.write import OURS
from aifctl.spec import load
from aifctl.spec.models.delivery import ACCOUNT
from aifctl.spec.models.platform import Environment, Images, Platform

FOLDER = "reconciler"
IMAGE = f"aif-reconciler:v{__version__}"
"""What the workflow of runtime images calls the one with Git, when it is given this version's tag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a person asks for. `environment` None: the one that aifctl delivers, if there is just one. `image` None:
    that of this version, from where the platform's other images are."""

    repository: str
    image: str | None = None
    ref: str = "main"
    environment: str | None = None
    namespace: str = ir.SYSTEM_NAMESPACE
    interval: str = "60s"
    replicas: int = 2
    admin: bool = False
    git_secret: str | None = None


def install(folder: Path, wish: Wish, out: Path | None = None) -> list[Path]:
    """Writes the manifests of the repository in `folder`, in apply order, below `out`/<environment>; their paths.

    Files of a former call are replaced. Raises Report: AIF625 (an environment that aifctl does not deliver, a setting
    that can't be, no image), AIF212, what reading the platform file raises.
    """
    platform_file = folder / load.PLATFORM_FILE
    platform = load.ground([folder], [], platform_file).platform if platform_file.is_file() else None
    reconciler = _reconciler(platform, wish)
    top = (out if out is not None else folder / FOLDER) / reconciler.environment
    written = []
    for number, manifest in enumerate(render_reconciler(reconciler)):
        # `kubectl apply --filename FOLDER` goes by names: the namespace comes first.
        path = top / f"{number:02d}-{manifest.kind.lower()}-{manifest.name}.yaml"
        write_text(path, manifest.to_yaml())
        written.append(path)
    _remove_others(top, written)
    return written


def _reconciler(platform: Platform | None, wish: Wish) -> Reconciler:
    environment = _environment(platform, wish.environment)
    for what, name in (("namespace", wish.namespace), ("Secret", wish.git_secret)):
        if name is not None and not is_name(name):
            raise Report(Diagnostic("AIF625", f"`{name}` can't be the name of a {what}"))
    if wish.replicas < 1:
        raise Report(Diagnostic("AIF625", f"a reconciler needs at least one replica, not {wish.replicas}"))
    return Reconciler(
        environment=environment.name if environment is not None else str(wish.environment),
        account=environment.apply.account if environment is not None else ACCOUNT,
        repository=wish.repository,
        image=wish.image or _image(platform),
        ref=wish.ref,
        namespace=wish.namespace,
        interval=wish.interval,
        replicas=wish.replicas,
        admin=wish.admin,
        git_secret=wish.git_secret,
        pods=target.pods(environment.pod_defaults) if environment is not None else ir.PodDefaults(),
        pod_security=_level(environment),
    )


def _image(platform: Platform | None) -> str:
    """Beside the first image that the platform names."""
    named = next(_named(platform.spec.images), None) if platform is not None else None
    if named is None:
        hint = "name it: `--image`; the platform file has no image whose registry it could come from"
        raise Report(Diagnostic("AIF625", "there is no image to run the reconciler from", hint))
    place, slash, _ = re.sub(r"@[^/]*$", "", named).rpartition("/")
    return f"{place}{slash}{IMAGE}"


def _named(images: Images) -> Iterator[str]:
    for each in (images.serve, *(found.cpu for found in (images.custom, images.pytorch, images.tensorflow))):
        if each is not None:
            yield each


def _level(environment: Environment | None) -> str:
    """Pod Security of its namespace: `restricted`, or the environment's where a volume of its pods needs that."""
    volumes = environment.pod_defaults.volumes if environment is not None else ()
    strict = all(source in RESTRICTED for volume in volumes for source in volume if source != "name")
    return "restricted" if environment is None or strict else environment.pod_security


def _environment(platform: Platform | None, name: str | None) -> Environment | None:
    """None where there is no platform file: the name is then taken as it is."""
    if platform is None:
        if name is None or not is_name(name):
            hint = "name its environment: `--env`"
            raise Report(Diagnostic("AIF625", "there is no platform file to take an environment from", hint))
        return None
    delivered = [each for each in platform.spec.environments if each.deliverer == "aifctl" and not each.local]
    if name is None:
        if len(delivered) == 1:
            return delivered[0]
        named = ", ".join(f"`{each.name}`" for each in delivered) or "none"
        raise Report(Diagnostic("AIF625", f"environments that aifctl delivers: {named}", "name one: `--env`"))
    repository = load.Repository(Path(), platform, None, (), {})
    found = repository.environment(name)
    if found in delivered:
        return found
    why = "has no cluster" if found.local else f"is delivered by `{found.deliverer}`"
    raise Report(Diagnostic("AIF625", f"environment `{name}` {why}, so there is nothing for a reconciler to do"))


def _remove_others(top: Path, written: list[Path]) -> None:
    """What a former call has left, with other options say."""
    for path in set(top.glob("[0-9][0-9]-*.yaml")) - set(written):
        if OURS in path.read_bytes():
            path.unlink()
