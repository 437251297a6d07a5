"""Where the control plane's programs are: those of `KUBEBUILDER_ASSETS`, and built from their Go modules what it lacks.

The three folders `kubernetes`, `etcd` and `kwok` beside this file are Go modules that pin every version and hash. What
they build is kept in `$XDG_CACHE_HOME/aifctl/controlplane/<key>`, where the key names these pins: a cold build takes
about six minutes on two cores, a second one nothing. Processes that build at the same time wait for each other.

`python -m tests.controlplane.binaries` builds them ahead of the tests, whose own timeout a cold build would exceed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent

# program -> (the module that pins it, the package that it is built from)
PROGRAMS = {
    "etcd": ("etcd", "go.etcd.io/etcd/server/v3"),
    "kube-apiserver": ("kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver"),
    "kube-controller-manager": ("kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    "kube-scheduler": ("kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler"),
    "kubectl": ("kubernetes", "k8s.io/kubernetes/cmd/kubectl"),
    "kwok": ("kwok", "sigs.k8s.io/kwok/cmd/kwok"),
}


class MissingBinaries(Exception):
    """No control plane can be had here; the message says why and what would help."""


def binaries() -> Path:
    """A folder that holds every program of PROGRAMS.

    Raises MissingBinaries where one is neither given nor can be built.
    """
    given = _given()
    folder = cache_folder(given)
    if not _missing(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.parent / f"{folder.name}.lock"):
        folder.mkdir(exist_ok=True)
        for program in _missing(folder):
            if program in given:
                (folder / program).symlink_to(given[program])
            else:
                _build(program, folder / program)
    return folder


def cache_folder(given: dict[str, Path]) -> Path:
    """The folder for these pins and these given programs, outside the checkout."""
    modules = sorted({HERE / module for module, _ in PROGRAMS.values()})
    name = f"{version('kubernetes')}-{platform.machine()}-{pins(*modules)}"
    if given:
        listed = "\n".join(f"{path} {path.stat().st_mtime_ns}" for path in sorted(given.values()))
        name += f"-with-{hashlib.sha256(listed.encode()).hexdigest()[:8]}"
    return cache() / name


def cache() -> Path:
    """Where what is built is kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aifctl" / "controlplane"


def pins(*modules: Path) -> str:
    """A short name for all that these Go modules pin."""
    found = hashlib.sha256()
    for module in modules:
        found.update((module / "go.mod").read_bytes() + (module / "go.sum").read_bytes())
    return found.hexdigest()[:8]


def version(module: str) -> str:
    """The version that a module's go.mod asks for: `v1.36.3` of `kubernetes`."""
    package = next(package for owner, package in PROGRAMS.values() if owner == module)
    text = (HERE / module / "go.mod").read_text()
    required: list[tuple[str, str]] = re.findall(r"^require (\S+) (v\S+)$", text, re.MULTILINE)
    return next(pinned for name, pinned in required if f"{package}/".startswith(f"{name}/"))


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold a lock that ends with this process, whatever ends it."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


def build(module: Path, package: str, target: Path, *variables: str) -> None:
    """Build one program of a Go module, with these string variables set; raises MissingBinaries."""
    go = shutil.which("go")
    if go is None:
        raise MissingBinaries(
            f"{target.name} is not in KUBEBUILDER_ASSETS, and building it needs Go, which is not here"
        )
    partial = target.with_name(f"{target.name}.partial")
    print(f"building {target.name} of {package}", file=sys.stderr, flush=True)
    stamps = " ".join(["-s", "-w", *(f"-X {variable}" for variable in variables)])
    done = subprocess.run(
        [go, "build", "-buildvcs=false", "-ldflags", stamps, "-o", str(partial), package],
        cwd=module,
        env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise MissingBinaries(f"go could not build {target.name}: {done.stderr.strip()[-2000:]}")
    partial.rename(target)


def _given() -> dict[str, Path]:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if not assets:
        return {}
    folder = Path(assets).expanduser()
    if not folder.is_dir():
        raise MissingBinaries(f"KUBEBUILDER_ASSETS names {folder}, which is no folder")
    return {program: folder / program for program in PROGRAMS if os.access(folder / program, os.X_OK)}


def _missing(folder: Path) -> list[str]:
    return [program for program in PROGRAMS if not os.access(folder / program, os.X_OK)]


def _build(program: str, target: Path) -> None:
    module, package = PROGRAMS[program]
    # Without the version, clients cannot parse what the API server says of itself.
    build(HERE / module, package, target, f"k8s.io/component-base/version.gitVersion={version('kubernetes')}")


def main() -> int:
    """Build what is missing and print the folder."""
    try:
        print(binaries())
    except MissingBinaries as error:
        print(f"no control plane to test against: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
