"""What simulated nodes make of pods: kwok Stages, one per outcome.

A pod's outcome is its annotation `simulate.aif.dev/outcome`, else `bad-image` where an image's name contains that,
else `complete` for pods of a Job or a Workflow, else `ready`:

| outcome | the pod |
|---|---|
| ready | runs and is ready |
| complete | runs, then ends well |
| fail | runs, then ends with an exit code: the annotation `simulate.aif.dev/exit-code`, else 1 |
| oom | runs, then is killed for memory: reason OOMKilled, exit code 137 |
| bad-image | stays Pending, its containers waiting: ImagePullBackOff |
| unready | runs and is never ready |
| stuck | is scheduled and stays Pending, without a word on its containers |

Where the pod's restart policy is not Never, `fail` and `oom` are a container in CrashLoopBackOff after three restarts
whose last state says why. `simulate.aif.dev/after`, a duration as `1500ms`, is how long a pod takes to become ready, or
runs before it ends. Of a pod that fails for good, a container named `wait` (Argo's sidecar) ends well.
"""

from __future__ import annotations

from typing import Any

OUTCOME = "simulate.aif.dev/outcome"
EXIT_CODE = "simulate.aif.dev/exit-code"
AFTER = "simulate.aif.dev/after"
OUTCOMES = ("ready", "complete", "fail", "oom", "bad-image", "unready", "stuck")

_OUTCOME = (
    f'.metadata.annotations["{OUTCOME}"] // '
    '(if ([.spec.containers[].image | contains("bad-image")] | any) then "bad-image" '
    'elif ([.metadata.ownerReferences[]?.kind | . == "Job" or . == "Workflow"] | any) then "complete" '
    'else "ready" end)'
)
_ALIVE = {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"}
_NEW = {"key": ".status.containerStatuses", "operator": "DoesNotExist"}
_RUNNING = {"key": ".status.containerStatuses[0].state.running", "operator": "Exists"}

_CODE = f'{{{{ or (index (or $.metadata.annotations dict) "{EXIT_CODE}") "1" }}}}'
_STARTED = "{startedAt: {{ $now | Quote }}}"
_ENDED = "{exitCode: %s, reason: %s, startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }}}"
_BACK_OFF = '{waiting: {reason: %s, message: "%s"}}'


def simulate(outcome: str, *, exit_code: int | None = None, after: str | None = None) -> dict[str, str]:
    """Annotations that give a pod (or a pod template) an outcome."""
    if outcome not in OUTCOMES:
        raise ValueError(f"no outcome {outcome!r}: {', '.join(OUTCOMES)}")
    values = {OUTCOME: outcome, EXIT_CODE: exit_code, AFTER: after}
    return {key: str(value) for key, value in values.items() if value is not None}


def stages() -> list[dict[str, Any]]:
    """Every Stage; at most one of a kind ever selects an object, so that nothing is left to chance."""
    ending = ("complete", "fail", "oom")
    return [
        _node(),
        _pod("delete", [{"key": ".metadata.deletionTimestamp", "operator": "Exists"}], {"delete": True}),
        _pod("ready", [_ALIVE, _NEW, _is("ready")], {"statusTemplate": _running(ready=True)}, waits=True),
        _pod("run", [_ALIVE, _NEW, _is(*ending)], {"statusTemplate": _running(ready=True)}),
        _pod("unready", [_ALIVE, _NEW, _is("unready")], {"statusTemplate": _running(ready=False)}),
        _pod("bad-image", [_ALIVE, _NEW, _is("bad-image")], _bad_image(), waits=True),
        _pod("complete", [_ALIVE, _RUNNING, _is("complete")], {"statusTemplate": _completed()}, waits=True),
        _pod("fail", [_ALIVE, _RUNNING, _is("fail")], {"statusTemplate": _broken(_CODE, "Error")}, waits=True),
        _pod("oom", [_ALIVE, _RUNNING, _is("oom")], {"statusTemplate": _broken("137", "OOMKilled")}, waits=True),
    ]


def _is(*outcomes: str) -> dict[str, Any]:
    return {"key": _OUTCOME, "operator": "In", "values": list(outcomes)}


def _pod(name: str, selects: list[dict[str, Any]], then: dict[str, Any], *, waits: bool = False) -> dict[str, Any]:
    spec: dict[str, Any] = {"selector": {"matchExpressions": selects}, "next": then}
    if waits:
        spec["delay"] = {
            "durationMilliseconds": 0,
            "durationFrom": {"expressionFrom": f'.metadata.annotations["{AFTER}"]'},
        }
    return _stage(f"pod-{name}", "Pod", spec)


def _node() -> dict[str, Any]:
    """A new node is ready at once; its capacity is what it was created with. Its lease keeps it so."""
    unready = {
        "key": '.status.conditions[]? | select(.type == "Ready") | .status',
        "operator": "NotIn",
        "values": ["True"],
    }
    template = """
{{ $now := Now }}
conditions:
{{ range NodeConditions }}
- {type: {{ .type }}, status: {{ .status | Quote }}, reason: {{ .reason }}, message: {{ .message | Quote }},
   lastHeartbeatTime: {{ $now | Quote }}, lastTransitionTime: {{ $now | Quote }}}
{{ end }}
addresses: [{type: InternalIP, address: {{ NodeIP | Quote }}}, {type: Hostname, address: {{ NodeName | Quote }}}]
nodeInfo: {architecture: amd64, operatingSystem: linux, kubeletVersion: {{ printf "kwok-%s" Version | Quote }},
  kubeProxyVersion: "", containerRuntimeVersion: "", kernelVersion: "", osImage: "", machineID: "", systemUUID: "",
  bootID: ""}
"""
    return _stage(
        "node-ready", "Node", {"selector": {"matchExpressions": [unready]}, "next": {"statusTemplate": template}}
    )


def _stage(name: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {"resourceRef": {"apiGroup": "v1", "kind": kind}, **spec},
    }


def _running(*, ready: bool) -> str:
    containers = _containers(f"{{running: {_STARTED}}}", ready=ready)
    return _status("Running", ready=ready) + containers + _init_containers() + _addresses()


def _completed() -> str:
    return _status("Succeeded", ready=False) + _containers(f"{{terminated: {_ENDED % ('0', 'Completed')}}}")


def _broken(code: str, reason: str) -> str:
    ended = f"{{terminated: {_ENDED % (code, reason)}}}"
    well = f"{{terminated: {_ENDED % ('0', 'Completed')}}}"
    back_off = _BACK_OFF % ("CrashLoopBackOff", "back-off 40s restarting failed container")
    # Argo's sidecar, of that name, reports how its main container ended, and ends well itself.
    by_name = f'{{{{ if eq .name "wait" }}}}{well}{{{{ else }}}}{ended}{{{{ end }}}}'
    for_good = _status("Failed", ready=False) + _containers(by_name)
    again = _status("Running", ready=False) + _containers(back_off, last=ended, restarts=3)
    return f'{{{{ if eq .spec.restartPolicy "Never" }}}}\n{for_good}{{{{ else }}}}\n{again}{{{{ end }}}}\n'


def _bad_image() -> dict[str, Any]:
    state = _BACK_OFF % ("ImagePullBackOff", "Back-off pulling image {{ .image }}: not found")
    message = "Failed to pull image: not found"
    return {
        "event": {"type": "Warning", "reason": "Failed", "message": message},
        "statusTemplate": _status("Pending", ready=False) + _containers(state),
    }


def _status(phase: str, *, ready: bool) -> str:
    condition = "- {type: %s, status: %s, lastTransitionTime: {{ $now | Quote }}%s}\n"
    reason = "" if ready else ", reason: ContainersNotReady, message: containers with unready status"
    if phase == "Succeeded":
        reason = ", reason: PodCompleted"
    return (
        "{{ $now := Now }}\n"
        f"phase: {phase}\n"
        "startTime: {{ or .status.startTime $now | Quote }}\n"
        "conditions:\n"
        + condition % ("Initialized", '"True"', "")
        + condition % ("Ready", f'"{ready}"', reason)
        + condition % ("ContainersReady", f'"{ready}"', reason)
        + '{{ range .spec.readinessGates }}- {type: {{ .conditionType }}, status: "True"}\n{{ end }}'
    )


def _containers(state: str, *, ready: bool = False, last: str = "{}", restarts: int = 0) -> str:
    facts = f"ready: {str(ready).lower()}, started: {str(ready).lower()}, restartCount: {restarts}"
    return (
        "containerStatuses:\n{{ range .spec.containers }}\n"
        "- name: {{ .name }}\n  image: {{ .image | Quote }}\n  imageID: {{ .image | Quote }}\n"
        + "".join(f"  {fact}\n" for fact in facts.split(", "))
        + f"  state: {state}\n  lastState: {last}\n{{{{ end }}}}\n"
    )


def _init_containers() -> str:
    """Init containers have ended well; sidecars run."""
    sidecar = f"  started: true\n  state: {{running: {_STARTED}}}\n"
    ended = f"  state: {{terminated: {_ENDED % ('0', 'Completed')}}}\n"
    return (
        "{{ if .spec.initContainers }}\ninitContainerStatuses:\n{{ range .spec.initContainers }}\n"
        "- name: {{ .name }}\n  image: {{ .image | Quote }}\n  imageID: {{ .image | Quote }}\n"
        "  ready: true\n  restartCount: 0\n"
        f'{{{{ if eq .restartPolicy "Always" }}}}\n{sidecar}{{{{ else }}}}\n{ended}{{{{ end }}}}\n'
        "{{ end }}\n{{ end }}\n"
    )


def _addresses() -> str:
    return (
        "{{ $hosts := NodeIPsWith .spec.nodeName }}{{ with $hosts }}\nhostIP: {{ index . 0 | Quote }}\n{{ end }}"
        "{{ $pods := PodIPsWith .spec.nodeName (or .spec.hostNetwork false) .metadata.uid .metadata.name"
        " .metadata.namespace }}{{ with $pods }}\n"
        "podIP: {{ index . 0 | Quote }}\npodIPs:\n{{ range . }}- ip: {{ . | Quote }}\n{{ end }}{{ end }}"
    )
