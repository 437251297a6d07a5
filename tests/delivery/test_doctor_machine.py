"""`aifctl doctor` on bad machines: packages that lack, no Git, full disks, pointers instead of data, broken drivers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import namedtuple
from importlib import metadata
from pathlib import Path
from typing import get_args

import pytest

from aifctl import cli
from aifctl.cluster.discovery import Discovery, Resource
from aifctl.delivery.doctor import accelerators, capabilities, hardware, machine, packages
from aifctl.delivery.doctor.answer import Answer, Level
from aifctl.delivery.doctor.machine import Machine
from aifctl.spec import load
from aifctl.spec.models.platform import Capability
from tests.delivery import clinic
from tests.delivery.clinic import examined, hints, problems, said

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize 12345\n".format(digest="a" * 64)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return clinic.build(tmp_path / "repository")


def program(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_good_machine(repository: Path) -> None:
    found = examined(repository)
    assert problems(found) == []
    assert said(found, "specs") == ["ok: platform `acme`, 1 model"]
    assert said(found, "commit")[0].startswith("ok: clean at commit ")
    assert said(found, "git")[0].startswith("ok: git version ")
    assert {finding.section for finding in found.findings} == {"machine", "repository"}, "no cluster was asked for"


def test_packages_that_models_need_here(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name == "pyarrow":
            raise metadata.PackageNotFoundError(name)
        return "1.9.4" if name == "numpy" else real(name)

    monkeypatch.setattr(metadata, "version", version)
    (line,) = said(examined(repository), "extras")
    assert line.startswith("warning AIF791: data, for iris: numpy 1.9.4 is older than 2.0")
    assert "pyarrow is not installed" in line
    found = examined(repository, "local")
    assert said(found, "extras")[0].startswith("problem AIF791: data, for iris"), "this machine is what was asked for"
    assert hints(found, "extras") == "pip install 'aifctl[data]'"
    assert said(examined(repository, "lab", repository / "no-kubeconfig"), "extras") == [], "a cluster runs the steps"


def test_requirements_of_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "pydantic>=2.12", "typer (>=0.29)", "numpy>=2.0; extra == 'data'", 'aifctl[data] ; extra == "torch"',
        'torch<3,>=2.9; python_version >= "3.11" and extra == "torch"', "tritonclient[http]>=2.57; extra == 'dev'",
    ]  # fmt: skip
    monkeypatch.setattr(metadata, "requires", lambda _: lines)
    assert packages.needs() == [("pydantic", "2.12"), ("typer", "0.29")]
    assert packages.needs(["torch"]) == [("numpy", "2.0"), ("torch", "2.9")]
    assert packages.needs(["dev"]) == [("tritonclient", "2.57")]


@pytest.mark.parametrize(
    ("found", "least", "fits"),
    [("2.10.0", "2.9", True), ("2.9", "2.9.0", False), ("2.9.1+cu126", "2.9", True), ("1.26.4", "2.0", False)],
)
def test_versions_are_compared_by_their_numbers(
    monkeypatch: pytest.MonkeyPatch, found: str, least: str, fits: bool
) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: found)
    assert (packages.lacks(packages.Need("x", least)) is None) is fits


def test_every_extra_and_framework_is_one_of_the_package() -> None:
    known = set(metadata.metadata(packages.OURSELVES).get_all("Provides-Extra") or [])
    assert {*machine.FRAMEWORKS.values(), "data", "onnx", "serve", "mlflow"} <= known


def test_without_git(repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    found = examined(repository)
    assert problems(found) == ["problem AIF791: there is no `git`"]
    assert said(found, "commit")[0].startswith("warning AIF792: ")
    assert said(found, "large files")[0].startswith("warning AIF790: can't be told: FileNotFoundError")
    assert said(found, "specs")[0].startswith("ok: ")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("echo git version 2.25.1", "warning AIF791: git version 2.25.1 is older than what aifctl is tested with"),
        ("echo what", "warning AIF790: can't be told: IndexError"),
        ("exit 3", "warning AIF790: can't be told: CalledProcessError"),
    ],
)
def test_an_odd_git(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: str, expected: str
) -> None:
    program(tmp_path / "bin", "git", answer)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert said(examined(repository), "git")[0].startswith(expected)


def test_a_folder_that_is_no_repository(tmp_path: Path) -> None:
    root = clinic.build(tmp_path / "repository")
    shutil.rmtree(root / ".git")
    found = examined(root)
    assert said(found, "commit")[0].startswith("warning AIF792: ")
    assert "is not in a Git repository" in said(found, "commit")[0]
    assert said(found, "large files") == []


def test_a_changed_and_a_shallow_clone(repository: Path, tmp_path: Path) -> None:
    (repository / "model.yaml").write_text(clinic.MODEL + "# changed\n")
    assert said(examined(repository), "commit")[0].startswith("warning AIF792: the folder differs from commit ")
    clinic.git(repository, "commit", "--quiet", "--all", "--message", "second")
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", repository.as_uri(), shallow], check=True)
    assert said(examined(shallow), "commit")[1:] == [
        "warning AIF792: the clone is shallow: former revisions can't be compiled"
    ]


def test_pointers_instead_of_data(repository: Path) -> None:
    (repository / ".gitattributes").write_text("*.csv filter=lfs diff=lfs merge=lfs -text\n")
    (repository / "other.csv").write_text(clinic.ROWS)
    (repository / "flowers.csv").write_text(POINTER)
    # Put in as it is: no filter is needed, and none may be here.
    clinic.git(repository, "-c", "filter.lfs.clean=", "-c", "filter.lfs.required=false", "add", "--all")
    clinic.git(repository, "-c", "filter.lfs.clean=", "commit", "--quiet", "--message", "pointers")
    found = examined(repository)
    (line,) = said(found, "large files")
    assert line == "problem AIF792: 1 file is a Git LFS pointer without its content: flowers.csv"
    (repository / "flowers.csv").write_text(clinic.ROWS)
    assert said(examined(repository), "large files") == ["ok: 2 files of Git LFS are here with their content"]
    (repository / "flowers.csv").unlink()
    assert said(examined(repository), "large files")[0].startswith("ok: ")


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        (200 * 1024**2, "problem AIF791: 0.2 GiB free for "),
        (5 * 1024**3, "warning AIF791: 5.0 GiB free for "),
        (500 * 1024**3, "ok: 500.0 GiB free for "),
    ],
)
def test_disks(repository: Path, monkeypatch: pytest.MonkeyPatch, free: int, expected: str) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**13, 0, free))
    assert said(examined(repository), "disk")[0].startswith(expected)


def test_a_python_that_nobody_tested(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 99, 0))
    assert "newer than what aifctl is tested on" in said(examined(repository), "aifctl")[0]


def test_specs_with_errors(repository: Path) -> None:
    (repository / "model.yaml").write_text(clinic.MODEL.replace("task: classification", "task: nonsense"))
    found = examined(repository, "lab", repository / "no-kubeconfig")
    assert any(line.startswith("problem AIF792: 1 error in the specs, the first: AIF2") for line in problems(found))


class TestAccelerators:
    def seen(self, system: Path) -> list[str]:
        return [f"{answer.level}: {answer.message}" for answer in accelerators.seen(system)]

    @pytest.fixture
    def system(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        (tmp_path / "dev").mkdir()
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        return tmp_path

    def test_none(self, system: Path) -> None:
        assert self.seen(system) == ["ok: none: steps run on the CPU"]

    def test_nvidia(self, system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (system / "dev/nvidiactl").touch()
        row = "NVIDIA H100 80GB HBM3, 81559 MiB, 580.65.06"
        program(system / "bin", "nvidia-smi", f"echo '{row}'\necho '{row}'")
        monkeypatch.setattr(metadata, "version", lambda _: "2.15.0+cu130")
        assert self.seen(system) == ["ok: 2 × NVIDIA H100 80GB HBM3, 81559 MiB, driver 580.65.06"]
        monkeypatch.setattr(metadata, "version", lambda _: "2.15.0+cpu")
        assert self.seen(system)[1] == ("warning: torch 2.15.0+cpu is built for CPUs: it does not see these devices")

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18", "mismatch"),
            ("exit 0", "it sees no device"),
        ],
    )
    def test_a_broken_driver(self, system: Path, text: str, expected: str) -> None:
        (system / "dev/nvidiactl").touch()
        program(system / "bin", "nvidia-smi", text)
        (line,) = self.seen(system)
        assert line.startswith("warning: `nvidia-smi` fails: ")
        assert line.endswith(expected)

    def test_devices_without_the_program(self, system: Path) -> None:
        (system / "dev/nvidiactl").touch()
        assert self.seen(system)[0].startswith("warning: NVIDIA devices without `nvidia-smi`")

    def test_amd_and_tpu(self, system: Path) -> None:
        for number, gpu in enumerate(("0", "51210", "4203")):
            node = system / f"sys/class/kfd/kfd/topology/nodes/{number}"
            node.mkdir(parents=True)
            (node / "gpu_id").write_text(f"{gpu}\n")
        for number in range(4):
            (system / f"dev/accel{number}").touch()
        assert self.seen(system) == ["ok: 2 × AMD GPU", "ok: 4 × TPU chip"]


def test_a_folder_without_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before `aifctl init` there is a machine to examine, and no fault."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(["doctor"]) == 0
    assert cli.main(["doctor", "--env", "lab"]) == 1


def test_an_environment_that_is_not_there(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repository)
    assert cli.main(["doctor", "--env", "lba"]) == 1
    assert "[AIF212]" in capsys.readouterr().err


def test_one_check_that_fails_hides_no_other(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Machine) -> list[Answer]:
        raise PermissionError("no")

    table = (("machine", "broken", broken), *machine.CHECKS)
    monkeypatch.setattr(machine, "CHECKS", table)
    found = machine.examine(Machine(root=repository, store=repository / ".aif", repository=load.load([repository])))
    assert found[0].answer.level is Level.WARNING
    assert "PermissionError: no" in found[0].answer.message
    assert len({finding.check for finding in found}) > 5


class TestOperators:
    def test_each_capability_has_a_sign(self) -> None:
        assert set(capabilities.SIGNS) == set(get_args(Capability))

    @pytest.mark.parametrize(
        ("found", "wanted", "within"),
        [("0.93.0", "0.93", True), ("1.6.1", "1.6.1", True), ("1.16.0", "1.6", False), ("2.0", "2.0.1", True)],
    )
    def test_a_release_is_within_a_shorter_one(self, found: str, wanted: str, within: bool) -> None:
        assert capabilities._is_within(found, wanted) is within

    def test_another_api_version_and_a_server_that_is_away(self) -> None:
        old = Resource("kueue.x-k8s.io", "v1beta1", "ClusterQueue", "clusterqueues", False, frozenset())
        known = Discovery({}, {("kueue.x-k8s.io", "ClusterQueue"): old}, frozenset({"metrics.k8s.io"}))
        assert known.of_kind("kueue.x-k8s.io", "ClusterQueue", "v1beta2") is old
        away = capabilities._missing("metrics-server", capabilities.SIGNS["metrics-server"], known)
        assert (away.level, away.code) == (Level.WARNING, "AIF796")
        gone = capabilities._missing("keda", capabilities.SIGNS["keda"], known)
        assert (gone.level, gone.code) == (Level.PROBLEM, "AIF796")

    def test_a_definition_that_is_not_accepted_or_stored_in_a_version_that_is_gone(self) -> None:
        resource = Resource("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects", True, frozenset())
        conflict = {"type": "NamesAccepted", "status": "False", "message": '"so" is already in use'}
        crd = {
            "metadata": {"labels": {"app.kubernetes.io/version": "2.20.2"}},
            "spec": {"versions": [{"name": "v1alpha1", "served": True}, {"name": "v1", "served": False}]},
            "status": {"conditions": [conflict], "storedVersions": ["v1", "v1alpha1"]},
        }
        answers = list(capabilities._of_crd("keda 2.19", resource, crd))
        assert [answer.level for answer in answers] == [Level.PROBLEM, Level.WARNING, Level.WARNING]
        assert "NamesAccepted" in answers[0].message
        assert "objects are stored as v1, which is not served" in answers[1].message
        assert answers[2].message == "keda 2.19: 2.20.2 is installed"


@pytest.mark.parametrize(
    ("toleration", "tolerates"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}, True),
        ({"key": "gpu", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "gpu", "value": "yes"}, True),
        ({"key": "gpu", "value": "no"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_tolerations(toleration: dict[str, str], tolerates: bool) -> None:
    assert hardware._tolerates(toleration, {"key": "gpu", "value": "yes", "effect": "NoSchedule"}) is tolerates
