"""A real Kubernetes control plane for tests: etcd, API server, controller manager, scheduler, kwok's simulated nodes.

Fixtures (in ./fixtures.py, for every test of this repository):

- `control_plane`: one a test run, shared by xdist's workers. A `Cluster`: see ./cluster.py for what it offers.
- `namespace`: a fresh namespace in it. Tests keep to theirs; cluster-scoped objects they make need names of their own.
- `crds`: the same control plane with every CRD of `../shared/crds` (or of AIFCTL_TEST_CRDS); 20 s, once a run. Cheaper:
  `install_crds(control_plane, "argo-workflows", "kueue")` of ./fixtures.py.
- `nodes`: the same control plane with simulated nodes: see ./nodes.py. How pods fare is in ./stages.py.
- `bare_control_plane`: etcd and API server only, one a test module and nobody else's: stop it, start it, break it.

In front of any of them: ./proxy.py (`FaultProxy`, faults and counts) and ./webhooks.py (`Webhooks`, admission).

A machine without the programs skips such tests and says why; AIFCTL_REQUIRE_CLUSTER=1 makes that a failure.
`make cluster` starts one to play with.
"""

from __future__ import annotations

import concurrent.futures
import ctypes
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

import yaml

from tests.controlplane import certificates
from tests.controlplane.binaries import binaries
from tests.controlplane.cluster import Cluster, kubeconfig
from tests.controlplane.stages import stages

TOKENS = {"admin": "system:masters", "nobody": "nobodies"}
START_SECONDS = 120
_PR_SET_PDEATHSIG = 1
# Below what Linux gives to outgoing connections, so that nobody takes the port of a stopped API server.
_PORTS = range(20000, 32000)


class CannotStart(Exception):
    """The control plane did not come up; the message has the last lines of what ended or kept silent."""


class ControlPlane(Cluster):
    """The control plane as its owner has it: a context manager that starts it and ends it.

    `controllers=False` is etcd and the API server alone: nothing is garbage-collected, namespaces stay when deleted,
    and the admission that needs a ServiceAccount is off.
    """

    def __init__(self, *, controllers: bool = True, folder: Path | None = None) -> None:
        self._own_folder = folder is None
        folder = folder or Path(tempfile.mkdtemp(prefix="aifctl-control-plane-"))
        etcd, api = _free_ports(2)
        super().__init__(folder, f"https://127.0.0.1:{api}")
        self._etcd = f"http://127.0.0.1:{etcd}"
        self._controllers = controllers
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        # A child dies with the thread that started it (PR_SET_PDEATHSIG), so one thread that stays starts them all.
        self._spawner = concurrent.futures.ThreadPoolExecutor(1)

    def __enter__(self) -> ControlPlane:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and return when it answers; raises CannotStart, MissingBinaries."""
        self._bin = binaries()
        self._write_state()
        self._spawn("etcd", *self._etcd_options())
        self.start_apiserver()
        if self._controllers:
            self._start_controllers()

    def stop(self) -> None:
        """End every process; the folder goes too unless it was given."""
        if "client" in self.__dict__:  # made on first use
            self.client.close()
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()
        self._spawner.shutdown()
        shutil.rmtree(self.folder / "etcd", ignore_errors=True)
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def start_apiserver(self) -> None:
        """Start the API server, on the port that it has had from the beginning, and wait until it is ready."""
        self._spawn("kube-apiserver", *self._apiserver_options())
        self._until(lambda: self.answers("/readyz"), "kube-apiserver", "etcd")

    def stop_apiserver(self, *, how: signal.Signals = signal.SIGKILL) -> None:
        """End the API server at once (SIGKILL) or gracefully (SIGTERM); etcd and the data stay."""
        self._end("kube-apiserver", how)

    def log(self, program: str) -> Path:
        return self.folder / f"{program}.log"

    def _write_state(self) -> None:
        authority = certificates.authority(self.folder)
        certificates.server(authority, self.folder, "apiserver")
        certificates.service_accounts(self.folder)
        rows = [f'{user}-token,{user},{user},"{group}"\n' for user, group in TOKENS.items()]
        (self.folder / "tokens.csv").write_text("".join(rows))
        admin = kubeconfig(self.url, authority.pem, {"token": self.token})
        (self.folder / "admin.yaml").write_text(yaml.safe_dump(admin))
        (self.folder / "stages.yaml").write_text("\n---\n".join(json.dumps(stage) for stage in stages()))

    def _etcd_options(self) -> list[str]:
        return [
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={self._etcd}",
            f"--advertise-client-urls={self._etcd}",
            # One member has no peers: any port will do.
            "--listen-peer-urls=http://127.0.0.1:0",
            "--unsafe-no-fsync",
            "--quota-backend-bytes=4294967296",
            "--log-level=warn",
        ]

    def _apiserver_options(self) -> list[str]:
        return [
            f"--etcd-servers={self._etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.url.rpartition(':')[2]}",
            # Never dialled (no endpoints are published), but it may not be a loopback address.
            "--advertise-address=10.255.255.1",
            "--endpoint-reconciler-type=none",
            f"--tls-cert-file={self.folder / 'apiserver.crt'}",
            f"--tls-private-key-file={self.folder / 'apiserver.key'}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            f"--service-account-key-file={self.folder / 'sa.key'}",
            f"--service-account-signing-key-file={self.folder / 'sa.key'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.0.0.0/16",
            "--authorization-mode=RBAC",
            "--anonymous-auth=false",
            "--allow-privileged",
            "--profiling=false",
        ] + ([] if self._controllers else ["--disable-admission-plugins=ServiceAccount"])

    def _start_controllers(self) -> None:
        access = f"--kubeconfig={self.folder / 'admin.yaml'}"
        plain = [access, "--leader-elect=false", "--kube-api-qps=200", "--kube-api-burst=400", "--secure-port=0"]
        key = f"--service-account-private-key-file={self.folder / 'sa.key'}"
        # Certificates, clouds and routes are no concern of ours; everything else is as in a real cluster.
        without = "--controllers=*,-nodeipam,-cloud-node-lifecycle,-service-lb-controller,-node-route-controller"
        pace = ["--concurrent-namespace-syncs=20", "--horizontal-pod-autoscaler-sync-period=1s"]
        self._spawn("kube-controller-manager", *plain, key, f"--root-ca-file={self.ca}", without, *pace)
        self._spawn("kube-scheduler", *plain)
        stage_file = f"--config={self.folder / 'stages.yaml'}"
        nodes = ["--manage-all-nodes", "--node-lease-duration-seconds=40", "--cidr=10.244.0.0/16"]
        self._spawn("kwok", access, stage_file, *nodes)
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self._until(lambda: self.answers(account), "kube-controller-manager", "kube-scheduler", "kwok")

    def _spawn(self, program: str, *options: str) -> None:
        command = [str(self._bin / program), *options]
        with self.log(program).open("ab") as log:
            started = self._spawner.submit(start_child, command, self.folder, log)
            self._processes[program] = started.result()

    def _end(self, program: str, how: signal.Signals) -> None:
        process = self._processes[program]
        process.send_signal(how)
        process.wait()

    def _until(self, ready: Callable[[], bool], *programs: str) -> None:
        end = time.monotonic() + START_SECONDS
        while not ready():
            ended = [name for name in programs if self._processes[name].poll() is not None]
            if ended or time.monotonic() > end:
                blamed = ended or list(programs)
                tails = "\n".join(f"--- {name}\n{tail(self.log(name))}" for name in blamed)
                raise CannotStart(f"{', '.join(blamed)} {'ended' if ended else 'did not become ready'}\n{tails}")
            time.sleep(0.05)


def start_child(
    command: list[str], folder: Path, log: object, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """A process that ends with the thread that started it, where the system can do that."""
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        start_new_session=True, preexec_fn=_die_with_parent,
    )  # fmt: skip


def tail(log: Path, size: int = 3000) -> str:
    return log.read_text(errors="replace")[-size:] if log.exists() else ""


def _free_ports(count: int) -> list[int]:
    ports: list[int] = []
    while len(ports) < count:
        port = random.choice(_PORTS)
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if port not in ports and trial.connect_ex(("127.0.0.1", port)):
                ports.append(port)
    return ports


_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
