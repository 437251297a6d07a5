"""Hand-made IR of the shapes that render has to deal with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aifctl import contract, digest, ir
from aifctl.contract import Kind, StepSpec

IMAGE = "registry.example/aif/pytorch@sha256:" + "ab" * 32
CODE = {
    "digits/__init__.py": "",
    "digits/cnn.py": 'import torch\n\n\ndef build(params, given):\n    """A net."""\n\treturn torch.nn.Linear(8, 2)\n',
    "digits/Ünïcode name.py": "X = '{{workflow.name}} → ☃ 🎉'\n",
}


def code(delivery: str = "inline") -> ir.Code:
    files = tuple(ir.CodeFile(path=path, text=text) for path, text in sorted(CODE.items()))
    found = digest.of_files({path: digest.of_text(text) for path, text in CODE.items()})
    return ir.Code(digest=found, delivery=delivery, files=files if delivery == "inline" else ())


def step(name: str, kind: Kind, inputs: dict[str, str | None], **values: Any) -> ir.Step:
    needs = values.pop("needs", {})
    config = values.pop("config", {"task": "classification", "text": "a {{workflow.name}} $(HOME) 'b' \"c\""})
    own = digest.of_text(name)
    spec = StepSpec(
        name=name, kind=kind, model="digits", tenant="vision", own=own, inputs=inputs, needs=needs, config=config,
        digest=contract.step_digest(kind, own, inputs), code=values.pop("code", None),
    )  # fmt: skip
    fields = {"image": IMAGE, "resources": ir.Resources(cpu=0.5, memory=1 << 30), **values}
    return ir.Step(spec=spec, parts={"spec.a": "0123456789", "spec.b": "abcdefabcd"}, **fields)


def steps(pin: str | None = "sha256:" + "cd" * 32, tree: str | None = None) -> tuple[ir.Step, ...]:
    """prepare, train, evaluate, gate, export, verify, register; unpinned data where `pin` is None."""
    gpu = ir.Accelerator(
        name="nvidia-h100", resource="nvidia.com/gpu", per_node=2, node_selector={"gpu": "h100"},
        tolerations=({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},),
    )  # fmt: skip
    variables = (ir.Variable(name="OMP_NUM_THREADS", value="4"), ir.Variable(name="GREETING", value="no"))
    secrets = (ir.SecretVariable(name="HF_TOKEN", secret="hf-credentials", key="token"),)
    prepare = step("prepare", Kind.PREPARE, {"data:digits": pin})
    train = step(
        "train", Kind.TRAIN, {"prepare": prepare.spec.digest}, code=tree, accelerator=gpu, timeout=3600.4,
        resources=ir.Resources(cpu=8, memory=32 << 30), variables=variables, secrets=secrets,
    )  # fmt: skip
    known = train.spec.digest
    evaluate = step("evaluate", Kind.EVALUATE, {"train": known, "prepare": prepare.spec.digest}, code=tree)
    gate = step("gate", Kind.GATE, {"evaluate": evaluate.spec.digest}, retries=0)
    export = step("export-onnx", Kind.EXPORT, {"train": known}, code=tree)
    verify = step("verify-onnx", Kind.VERIFY, {"export-onnx": export.spec.digest}, needs={"gate": gate.spec.digest})
    register = step(
        "register", Kind.REGISTER, {"export-onnx": export.spec.digest}, needs={"verify-onnx": verify.spec.digest}
    )
    return (prepare, train, evaluate, gate, export, verify, register)


def run(delivery: str | None = "inline", pin: str | None = "sha256:" + "cd" * 32) -> ir.Run:
    tree = code(delivery) if delivery is not None else None
    found = steps(pin, tree.digest if tree is not None else None)
    whole = digest.of_value([each.spec.own for each in found])
    return ir.Run(name=f"digits-{whole[:10]}", digest=whole, attempt=1, steps=found, code=tree)


def scheduled() -> ir.Run:
    return replace(run(pin=None), schedule=ir.Schedule(cron="0 3 * * *", timezone="Europe/Berlin"))


def service(**values: Any) -> ir.Service:
    bundle = ir.ReleasedBundle(
        run="digits-0123456789", export="onnx", uri="s3://acme-models/steps/" + "ef" * 32, sha256="12" * 32,
        format="onnx", size=12_345_678,
    )  # fmt: skip
    fields: dict[str, Any] = {
        "name": "digits", "bundle": bundle, "image": IMAGE, "resources": ir.Resources(cpu=1.5, memory=1 << 30),
        "replicas": 1, "autoscaling": ir.Autoscaling(min=2, max=4, metric="concurrency", target=20), "max_batch": 32,
        "batch_delay": 0.005, "low_confidence": 0.5, "log_sample": 0.01,
        "variables": (ir.Variable(name="AWS_ENDPOINT_URL", value="http://minio.storage:9000"),),
        "secrets": (ir.SecretVariable(name="KEY", secret="serve-key", key="value"),),
    }  # fmt: skip
    return ir.Service(**{**fields, **values})


def target(**values: Any) -> ir.Target:
    fields: dict[str, Any] = {
        "environment": "lab", "namespace": "vision", "deliverer": "argocd", "pod_security": "restricted",
        "capabilities": {"argo-workflows": "4.1"},
        "store": "s3://acme-models", "store_secret": "s3-writer", "tracking": "http://mlflow.aif-system:5000",
    }  # fmt: skip
    return ir.Target(**{**fields, **values})


def bundle(**values: Any) -> ir.Bundle:
    fields: dict[str, Any] = {
        "model": "digits",
        "tenant": "vision",
        "source": "models/digits/model.yaml",
        "target": target(),
    }
    return ir.Bundle(**{**fields, **values})


def everything() -> ir.Bundle:
    return bundle(run=run(), service=service())
