"""Operators: those that the platform file declares against the kinds that the server knows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, NamedTuple

from aifctl.cluster.discovery import Discovery, Resource
from aifctl.delivery.doctor.answer import Answer, doubt, good, unknown, wrong
from aifctl.delivery.doctor.subject import Subject
from aifctl.render.bundles import ENGINES

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
JSON = "application/json"
RELEASES = (
    "operator.prometheus.io/version",
    "gateway.networking.k8s.io/bundle-version",
    "app.kubernetes.io/version",
)
"""Labels and annotations of a CRD in which projects write the release that it is of."""


class Sign(NamedTuple):
    """What an operator is known by: a kind of its own, in the API version that aifctl writes and reads."""

    group: str
    kind: str
    version: str


SIGNS = {
    "ack-sagemaker": Sign("sagemaker.services.k8s.aws", "TrainingJob", "v1alpha1"),
    "argo-rollouts": Sign("argoproj.io", "Rollout", "v1alpha1"),
    "argo-workflows": Sign("argoproj.io", "Workflow", "v1alpha1"),
    "cert-manager": Sign("cert-manager.io", "Certificate", "v1"),
    "external-secrets": Sign("external-secrets.io", "ExternalSecret", "v1"),
    "gateway-api": Sign("gateway.networking.k8s.io", "HTTPRoute", "v1"),
    "jobset": Sign("jobset.x-k8s.io", "JobSet", "v1alpha2"),
    "katib": Sign("kubeflow.org", "Experiment", "v1beta1"),
    "keda": Sign("keda.sh", "ScaledObject", "v1alpha1"),
    "kserve": Sign("serving.kserve.io", "InferenceService", "v1beta1"),
    "kubeflow-trainer": Sign("trainer.kubeflow.org", "TrainJob", "v1alpha1"),
    "kuberay": Sign("ray.io", "RayJob", "v1"),
    "kueue": Sign("kueue.x-k8s.io", "ClusterQueue", "v1beta2"),
    "metrics-server": Sign("metrics.k8s.io", "PodMetrics", "v1beta1"),
    "prometheus-operator": Sign("monitoring.coreos.com", "ServiceMonitor", "v1"),
    "training-operator": Sign("kubeflow.org", "PyTorchJob", "v1"),
}
NO_CRD = frozenset({"metrics.k8s.io"})
"""Groups with a server of their own."""


async def declared(subject: Subject) -> AsyncIterator[Answer]:
    known = await subject.discovery()
    for name, release in sorted(subject.environment.capabilities.items()):
        sign = SIGNS[name]
        resource = known.of_kind(sign.group, sign.kind, sign.version)
        if resource is None:
            yield _missing(name, sign, known)
        elif resource.version != sign.version:
            message = f"{name}: {sign.kind} is served as {resource.version}, aifctl speaks {sign.version}"
            yield wrong("AIF796", message, f"install the {name} that serves {sign.version}")
        else:
            async for answer in _served(subject, f"{name} {release}", resource):
                yield answer


async def undeclared(subject: Subject) -> AsyncIterator[Answer]:
    known = await subject.discovery()
    there = [
        name
        for name, sign in SIGNS.items()
        if name not in subject.environment.capabilities and known.of_kind(sign.group, sign.kind) is not None
    ]
    engines = [name for name in there if name in dict(ENGINES)]
    if engines and "train" in subject.environment.roles:
        hint = f"declare it, where it should run the steps: `capabilities: {{{engines[0]}: …}}`"
        yield doubt("AIF796", f"{engines[0]} is there and not declared: runs are plain Jobs", hint)
    if others := [name for name in there if name not in engines]:
        yield good(f"there, and not used: {', '.join(others)}", "declare what models may use under `capabilities`")


async def kinds(subject: Subject) -> AsyncIterator[Answer]:
    """Kinds of all that this environment is compiled to."""
    known = await subject.discovery()
    found = {(manifest.api_version, manifest.kind) for manifest in subject.compiled.manifests}
    lacking = sorted(each for each in found if known.find(*each) is None)
    for api_version, kind in lacking:
        others = sorted(each.version for each in known.resources.values() if each.kind == kind)
        served = f"; it is served as {', '.join(others)}" if others else ""
        hint = "install the operator that brings it, or take it out of the environment's `capabilities`"
        yield wrong("AIF796", f"the server does not know {kind} of {api_version}{served}", hint)
    if found and not lacking:
        yield good(f"the server knows all {len(found)} kinds that are rendered")


def _missing(name: str, sign: Sign, known: Discovery) -> Answer:
    if sign.group in known.failed:
        hint = f"`kubectl get apiservices | grep {sign.group}` says what is wrong with it"
        return doubt("AIF796", f"{name}: the server of its API {sign.group} does not answer", hint)
    hint = f"install {name}, or take it out of the environment's `capabilities`"
    return wrong("AIF796", f"{name} is declared, and the server does not know its {sign.kind} ({sign.group})", hint)


async def _served(subject: Subject, name: str, resource: Resource) -> AsyncIterator[Answer]:
    """`name` ends with the release that the platform file says."""
    if resource.group in NO_CRD:
        yield good(f"{name}: {resource.kind} {resource.version}")
        return
    crd = await subject.found(f"{CRDS}/{resource.plural}.{resource.group}", JSON)
    if crd is None:
        yield unknown(f"{name}: no definition of {resource.kind} is found")
        return
    answers = list(_of_crd(name, resource, crd))
    for answer in answers or [good(f"{name}: {resource.kind} {resource.version}{_release(crd)}")]:
        yield answer


def _of_crd(name: str, resource: Resource, crd: Mapping[str, Any]) -> Iterator[Answer]:
    status = crd.get("status") or {}
    bad = [each for each in status.get("conditions") or () if each["type"] in GOOD and each["status"] != "True"]
    for condition in bad:
        message = f"{name}: the definition of {resource.kind} is not {condition['type']}: {condition.get('message')}"
        yield wrong("AIF796", message, "install it anew; two definitions may want one name")
    served = {each["name"] for each in crd["spec"]["versions"] if each["served"]}
    if gone := sorted(set(status.get("storedVersions") or ()) - served):
        hint = "migrate the stored objects as the operator's upgrade notes say, before its next upgrade"
        yield doubt("AIF796", f"{name}: objects are stored as {', '.join(gone)}, which is not served any more", hint)
    found, wanted = _release(crd).strip(" ()v"), name.rpartition(" ")[2].removeprefix("v")
    if found and not _is_within(found, wanted):
        hint = "write what is installed into `capabilities`, or install what is declared"
        yield doubt("AIF796", f"{name}: {found} is installed", hint)


GOOD = ("Established", "NamesAccepted")


def _release(crd: Mapping[str, Any]) -> str:
    notes = {**(crd["metadata"].get("labels") or {}), **(crd["metadata"].get("annotations") or {})}
    found = next((str(notes[key]) for key in RELEASES if key in notes), "")
    return f" ({found})" if found else ""


def _is_within(found: str, wanted: str) -> bool:
    """1.6.1 is within 1.6."""
    pairs = zip(found.split("."), wanted.split("."), strict=False)
    return all(here == there for here, there in pairs)
