"""Rules across sections: what each lets pass and what it finds, one small change at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aifctl.diagnostics import Severity
from tests.checks.conftest import IMAGES, LAB, PROD, SHA, Setting

DIGEST = "ab" * 32


def put(setting: Setting, path: str, value: Any) -> Setting:
    """Sets a value of the spec; `-` appends to a list."""
    here: Any = setting.spec
    *most, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in most:
        here = here[step] if not isinstance(here, dict) else here.setdefault(step, {})
    if last == "-":
        here.append(value)
    else:
        here[last] = value
    return setting


@pytest.mark.parametrize("environment", ["local", "lab", "prod"])
def test_a_right_spec_passes_everywhere(setting: Setting, environment: str) -> None:
    assert setting.on_clusters().findings(environment) == []


def test_without_a_platform_too(setting: Setting) -> None:
    assert setting.findings() == []


@pytest.mark.parametrize(
    ("path", "value", "codes"),
    [
        ("training.dataset", "iris", []),
        ("training.dataset", "rows", ["AIF310"]),
        ("serving.export", "other", ["AIF310"]),
        ("env", {"A": {"value": "x", "steps": ["train", "prepare", "verify", "export-onnx", "serve"]}}, []),
        ("env", {"A": {"value": "x", "steps": ["export-other"]}}, ["AIF310"]),
        ("env", {"A": {"value": "x", "steps": ["prepare-iris"]}}, ["AIF310"]),
        ("secrets", [{"env": "A", "from": "a/b", "steps": ["nothing"]}], ["AIF310"]),
        ("secrets", [{"env": "A", "from": "a/b"}, {"env": "A", "from": "a/c"}], ["AIF311"]),
        ("secrets", [{"env": "A", "from": f"{s}/b", "steps": [s]} for s in ("train", "serve")], []),
        ("export.-", {"name": "onnx", "format": "onnx"}, ["AIF311"]),
        ("env", {"AIF_PARAMS": {"value": "x"}}, ["AIF312"]),
        ("steps", [{"name": "clean", "call": "net:f", "inputs": {"raw": "iris"}, "outputs": {"t": "csv"}}], []),
        ("steps", [{"name": "verify-x", "call": "net:f"}], ["AIF312"]),
        ("steps", [{"name": "clean", "call": "net:f", "inputs": {"raw": "other.t"}}], ["AIF310"]),
        ("steps", [{"name": "a", "call": "net:f", "inputs": {"x": "a.t"}, "outputs": {"t": "csv"}}], ["AIF313"]),
        ("datasets.-", {"name": "more", "source": {"path": "iris.csv"}}, ["AIF314"]),
    ],
)  # fmt: skip
def test_names_and_references(setting: Setting, path: str, value: Any, codes: list[str]) -> None:
    assert put(setting, path, value).codes() == codes


def test_a_circle_through_a_dataset_that_a_step_makes(setting: Setting) -> None:
    put(setting, "datasets.0.source", {"step": "clean.t"})
    put(setting, "steps", [{"name": "clean", "call": "net:f", "inputs": {"raw": "iris"}, "outputs": {"t": "csv"}}])
    (found,) = setting.findings()
    assert found.code == "AIF313"
    assert "dataset `iris`" in found.message


@pytest.mark.parametrize(
    ("path", "value", "codes"),
    [
        ("split", {"train": 0.7, "validation": 0.1, "test": 0.2}, []),
        ("split", {"train": 0.1, "validation": 0.2, "test": 0.7}, []),
        ("split", {"train": 0.8, "validation": 0.1, "test": 0.1000001}, []),
        ("split", {"train": 0.8, "validation": 0.1, "test": 0.2}, ["AIF320"]),
        ("split", {"train": 0.8}, ["AIF320"]),
        ("split", {"seed": 3, "by": {"column": "part"}}, []),
        ("split", {"train": 1.0, "by": {"column": "part"}}, ["AIF321"]),
        ("split", {"train": 1.0}, ["AIF322"]),
        ("split", {"train": 0.5, "test": 0.5}, []),
        ("features", {"x": {"type": "tensor", "columns": "p0..p63", "shape": [8, 8]}}, []),
        ("features", {"x": {"type": "tensor", "columns": ["p0..p31", "q0..q31"], "shape": [2, 32]}}, []),
        ("features", {"x": {"type": "tensor", "columns": "p0..p62", "shape": [8, 8]}}, ["AIF323"]),
        ("features", {"x": {"type": "number"}, "y": {"type": "category", "columns": "c", "values": [1, "a"]}}, []),
        ("features", {"y": {"type": "category", "columns": ["c", "d"]}}, ["AIF323"]),
        ("features", {"x": {"type": "tensor", "columns": ["p0..p3", "p2"]}}, ["AIF324"]),
        ("features", {"x": {"type": "tensor", "columns": "p9..p0"}}, ["AIF324"]),
        ("features", {}, ["AIF325"]),
        ("features", {"species": {"type": "category"}}, ["AIF327"]),
        ("features", {"x": {"type": "tensor", "columns": "s0..s9"}}, []),
        ("features", {"x": {"type": "number", "values": [1]}}, ["AIF329"]),
        ("label", None, ["AIF325"]),
        ("label", {"column": "y", "classes": 2, "names": ["a", "b"]}, []),
        ("label", {"column": "y", "classes": 3, "names": ["a", "b"]}, ["AIF326"]),
        ("label", {"column": "y", "names": ["a", "a"]}, ["AIF326"]),
        ("source", {"path": "iris"}, ["AIF328", "AIF351"]),
        ("source", {"call": "net:load"}, []),
        ("source", {"path": "none.csv"}, ["AIF351"]),
        ("source", {"path": "../iris.csv"}, ["AIF351"]),
        ("source", {"path": "iris.csv", "sha256": DIGEST}, ["AIF364"]),
    ],
)  # fmt: skip
def test_data(setting: Setting, path: str, value: Any, codes: list[str]) -> None:
    if value is None:
        del setting.spec["datasets"][0][path]
    else:
        put(setting, f"datasets.0.{path}", value)
    assert setting.codes() == codes


def test_a_regression_has_no_classes(setting: Setting) -> None:
    put(setting, "task", "regression")
    assert setting.codes() == []
    put(setting, "datasets.0.label", {"column": "y", "classes": 2})
    assert setting.codes() == ["AIF326"]


@pytest.mark.parametrize(
    ("path", "value", "codes"),
    [
        ("evaluation.metrics", ["accuracy", "roc_auc"], []),
        ("evaluation.metrics", ["acuracy"], ["AIF330"]),
        ("evaluation.metrics", ["rmse"], ["AIF331"]),
        ("evaluation", {"metrics": ["roc_auc"], "gate": {"roc_auc": {"min": 0.5}}}, []),
        ("evaluation.gate", {"roc_auc": {"min": 0.5}}, ["AIF332"]),
        ("evaluation.gate", {"accuracy": {"min": 0.9}, "log_loss": {"max": 3}}, []),
        ("evaluation.gate", {"accuracy": {}}, ["AIF333"]),
        ("evaluation.gate", {"accuracy": {"min": 0.9, "max": 0.8}}, ["AIF333"]),
        ("evaluation.gate", {"accuracy": {"min": 1.5}}, ["AIF333"]),
        ("evaluation.gate", {"log_loss": {"max": -1}}, ["AIF333"]),
        ("training.checkpoint.select", {"best": "val_loss"}, []),
        ("training.checkpoint.select", {"best": "val_loss", "goal": "maximize"}, ["AIF335"]),
        ("training.checkpoint.select", {"best": "my_score"}, ["AIF330"]),
    ],
)
def test_metrics(setting: Setting, path: str, value: Any, codes: list[str]) -> None:
    assert put(setting, path, value).codes() == codes


def test_an_own_loop_logs_what_it_likes(setting: Setting) -> None:
    put(setting, "training.checkpoint.select", {"best": "my_score"})
    assert put(setting, "training.loop", "net:fit").codes() == []


def test_an_objective_against_its_goal(setting: Setting) -> None:
    tuning = {"trials": 2, "objective": {"metric": "log_loss", "goal": "maximize"}, "search": {}}
    assert put(setting, "tuning", tuning).codes() == ["AIF335", "AIF390"]


@pytest.mark.parametrize(
    ("framework", "formats", "codes"),
    [
        ("pytorch", ["onnx"], []),
        ("pytorch", ["savedmodel"], ["AIF340"]),
        ("tensorflow", ["savedmodel", "onnx"], []),
        ("tensorflow", ["custom"], ["AIF340"]),
        ("pytorch", ["torchscript"], ["AIF341", "AIF390"]),
    ],
)
def test_frameworks_and_exports(setting: Setting, framework: str, formats: list[str], codes: list[str]) -> None:
    put(setting, "training.framework", framework)
    put(setting, "export", [{"name": name, "format": name} for name in formats])
    assert put(setting, "serving.export", formats[0]).codes() == codes


@pytest.mark.parametrize(
    ("runtime", "format_", "codes"),
    [
        ("tf-serving", "savedmodel", []),
        ("tf-serving", "onnx", ["AIF341"]),
        ("triton", "onnx", []),
        ("aif", "h5", ["AIF342"]),
        ("aif", "keras", ["AIF342"]),
        ("torchserve", "onnx", ["AIF341", "AIF343"]),
    ],
)
def test_servers_on_a_cluster(setting: Setting, runtime: str, format_: str, codes: list[str]) -> None:
    put(setting, "training.framework", "tensorflow")
    put(setting, "export", [{"name": "e", "format": format_}])
    put(setting, "serving", {"export": "e", "runtime": runtime})
    assert [code for code in setting.on_clusters().codes("prod") if code != "AIF390"] == codes


@pytest.mark.parametrize(("level", "severities"), [("error", ["error"]), ("warning", ["warning"]), ("off", [])])
def test_policies_set_how_grave_it_is(setting: Setting, level: str, severities: list[str]) -> None:
    images = {**IMAGES, "pytorch": {"cpu": "r.example/torch:2.9"}}
    setting.on_clusters(images=images, policies={"pinned-images": level})
    assert [str(found.severity) for found in setting.findings("lab")] == severities
    setting.on_clusters(policies={"gate-required": level, "resource-limits": level})
    assert [(f.code, str(f.severity)) for f in setting.findings("lab")] == [
        (code, each) for code in ("AIF334", "AIF307") for each in severities
    ]


def test_an_archive_is_no_error_where_the_policy_lowers_it_but_still_can_not_be_read(setting: Setting) -> None:
    put(setting, "training.framework", "tensorflow")
    put(setting, "export", [{"name": "onnx", "format": "h5"}])
    found = setting.on_clusters(policies={"keras-archive-in-production": "warning"}).findings("prod")
    assert [(f.code, f.severity) for f in found] == [("AIF341", Severity.ERROR), ("AIF342", Severity.WARNING)]


@pytest.mark.parametrize(
    ("serve", "runtime", "codes"),
    [("graph", "triton", []), ("server", "aif", []), ("server", "triton", ["AIF344"]), ("client", "triton", [])],
)
def test_where_preprocessing_runs(setting: Setting, serve: str, runtime: str, codes: list[str]) -> None:
    put(setting, "preprocessing", {"class": "net:Prep", "serve": serve})
    put(setting, "serving.runtime", runtime)
    assert [code for code in setting.on_clusters().codes("prod") if code != "AIF390"] == codes


@pytest.mark.parametrize(
    ("framework", "opset", "codes"),
    [
        ("pytorch", 17, ["AIF348"]),
        ("pytorch", 18, []),
        ("pytorch", 26, []),
        ("pytorch", None, []),
        ("tensorflow", 13, []),
        ("tensorflow", 18, []),
        ("tensorflow", 19, ["AIF348"]),
        ("tensorflow", None, []),
    ],
)
def test_opsets(setting: Setting, framework: str, opset: int | None, codes: list[str]) -> None:
    put(setting, "training.framework", framework)
    put(setting, "export", [{"name": "onnx", "format": "onnx"} | ({} if opset is None else {"opset": opset})])
    assert setting.codes() == codes


def test_an_opset_is_said_once_where_there_is_none_to_choose(setting: Setting) -> None:
    put(setting, "export.-", {"name": "script", "format": "torchscript", "opset": 17})
    assert [code for code in setting.codes() if code != "AIF390"] == ["AIF347"]


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("http://mlflow.aif-system:5000", False),
        ("https://mlflow.example.com", False),
        ("postgresql+psycopg2://mlflow@db/mlflow", False),
        ("sqlite:////mnt/mlflow.db", False),
        ("file:///mnt/mlruns", True),
        ("./mlruns", True),
        ("s3://bucket/mlruns", True),
    ],
)
def test_where_mlflow_tracks_to(setting: Setting, uri: str, told: bool) -> None:
    found = setting.on_clusters(tracking={"mlflow": uri}).findings("lab")
    assert [(f.code, f.severity) for f in found] == ([("AIF381", Severity.WARNING)] if told else [])
    assert [f.where.path for f in found if f.where is not None] == ([("spec", "tracking", "mlflow")] if told else [])
    assert setting.codes("prod") == [], "nothing is tracked where nothing trains"


def release(run: str = "iris-0123456789", format_: str = "onnx", image: str | None = None) -> dict[str, Any]:
    bundle = {"uri": "s3://m/1", "sha256": DIGEST, "format": format_, "size": 1}
    entry = {"run": run, "train": DIGEST, "signature": {}, "exports": {"onnx": bundle}}
    return {"stable": entry if image is None else {**entry, "image": image}}


@pytest.mark.parametrize(
    ("released", "environment", "export", "codes"),
    [
        (release(), "prod", "onnx", []),
        (release(), "prod", "other", ["AIF345"]),
        (release(format_="h5"), "prod", "onnx", ["AIF341"]),
        (release("local-iris-0123456789"), "prod", "onnx", ["AIF346"]),
        (release("local-iris-0123456789"), "local", "onnx", []),
        (release(), "lab", "other", []),
        (release(image="r.example/serve:latest"), "prod", "onnx", ["AIF355"]),
    ],
)  # fmt: skip
def test_releases(setting: Setting, released: dict[str, Any], environment: str, export: str, codes: list[str]) -> None:
    put(setting, "export.-", {"name": "other", "format": "onnx", "opset": 19})
    put(setting, "serving.export", export)
    setting.release = released
    assert setting.on_clusters().codes(environment) == codes


def test_without_code_the_first_entry_point_is_told(setting: Setting) -> None:
    del setting.spec["code"]
    assert setting.codes() == ["AIF350"]


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ("net:build", []),
        ("net.cnn:build", [("AIF356", "error")]),
        ("nett:build", [("AIF356", "error")]),
        ("torchvision.models:resnet18", [("AIF356", "warning")]),
    ],
)
def test_modules(setting: Setting, entry: str, found: list[tuple[str, str]]) -> None:
    put(setting, "training.model", entry)
    assert [(f.code, str(f.severity)) for f in setting.findings()] == found


@pytest.mark.parametrize(
    ("lines", "environment", "codes"),
    [
        ("numpy>=2\ntorch\nscikit_learn==1.6\n", "lab", []),
        ("numpy\nxgboost\n", "lab", ["AIF352"]),
        ("xgboost\n", "local", []),
        ("xgboost\n", "prod", []),
    ],
)
def test_requirements(setting: Setting, lines: str, environment: str, codes: list[str]) -> None:
    Path("requirements.txt").write_text(lines)
    put(setting, "code.requirements", "requirements.txt")
    assert setting.on_clusters().codes(environment) == codes


def test_an_image_of_ones_own_has_locked_requirements(setting: Setting) -> None:
    Path("requirements.txt").write_text("xgboost\n")
    setting.on_clusters().spec["code"] = {
        "path": "src",
        "requirements": "requirements.txt",
        "image": f"r.example/i{SHA}",
    }
    assert setting.codes("lab") == ["AIF353"]
    from aifctl import digest

    setting.lock = {"requirements": {"source": digest.of_value(["xgboost"]), "packages": []}}
    assert setting.codes("lab") == []
    Path("requirements.txt").write_text("xgboost\nlightgbm\n")
    assert setting.codes("lab") == ["AIF361"]


def locked(source: str = "path:iris.csv", sha256: str = DIGEST, name: str = "iris") -> dict[str, Any]:
    return {"datasets": {name: {"source": source, "sha256": sha256}}}


def test_locks_follow_the_file_and_the_source(setting: Setting) -> None:
    from aifctl import digest

    now = digest.of_file(Path("iris.csv"))
    setting.lock = locked(sha256=now)
    assert setting.codes() == []
    setting.lock = locked()
    assert setting.codes() == ["AIF361"]
    setting.lock = locked("path:other.csv", now)
    assert setting.codes() == ["AIF361"]
    setting.lock = locked(name="gone", sha256=now)
    assert setting.codes() == ["AIF365"]
    setting.lock = locked(sha256=now)
    assert put(setting, "datasets.0.pinned", False).codes() == ["AIF365"]


@pytest.mark.parametrize(
    ("source", "pinned", "environment", "codes"),
    [
        ({"uri": "s3://b/iris.csv"}, True, "lab", ["AIF360"]),
        ({"uri": "s3://b/iris.csv"}, False, "lab", []),
        ({"uri": "s3://b/iris.csv", "version": "7"}, True, "lab", []),
        ({"uri": "s3://b/iris.csv", "sha256": DIGEST}, True, "lab", []),
        ({"uri": "s3://b/iris.csv"}, True, "local", []),
        ({"uri": "s3://b/iris.csv"}, True, "prod", []),
    ],
)
def test_what_moves_is_pinned_where_a_cluster_trains(
    setting: Setting, source: dict[str, str], pinned: bool, environment: str, codes: list[str]
) -> None:
    put(setting, "datasets.0.source", source)
    put(setting, "datasets.0.pinned", pinned)
    assert setting.on_clusters().codes(environment) == codes


def test_a_lock_pins_what_moves(setting: Setting) -> None:
    put(setting, "datasets.0.source", {"uri": "s3://b/iris.csv"})
    setting.lock = locked("uri:s3://b/iris.csv")
    assert setting.on_clusters().codes("lab") == []


def test_a_schedule_needs_data_that_changes(setting: Setting) -> None:
    put(setting, "schedule", {"cron": "0 3 * * *"})
    assert setting.codes() == ["AIF363"]
    assert put(setting, "datasets.0.pinned", False).codes() == []


FLAVOURS = [
    {"name": "l4", "resource": "nvidia.com/gpu", "per_node": [1, 2, 4], "nodes": 2},
    {"name": "mi300", "resource": "amd.com/gpu", "per_node": [8]},
]


@pytest.mark.parametrize(
    ("hardware", "codes", "hint"),
    [
        ({"accelerator": "l4"}, [], None),
        ({"accelerator": "l40"}, ["AIF302"], "did you mean `l4`?"),
        (
            {"accelerator": "l4", "per_node": 8},
            ["AIF301"],
            "the catalogue offers 1, 2 or 4; use `per_node: 4, nodes: 2`",
        ),
        ({"accelerator": "l4", "per_node": 3}, ["AIF301"], "the catalogue offers 1, 2 or 4"),
        ({"accelerator": "l4", "nodes": 3}, ["AIF303"], "that is 8 devices at most"),
        ({"accelerator": "mi300"}, ["AIF301", "AIF354"], "the catalogue offers 8 only"),
        ({"accelerator": "l4", "spot": True}, ["AIF306"], "write one now and then: `checkpoint: {every: 10m}`"),
    ],
)
def test_accelerators(setting: Setting, hardware: dict[str, Any], codes: list[str], hint: str | None) -> None:
    put(setting, "training.hardware", hardware)
    found = [f for f in setting.on_clusters(hardware=FLAVOURS).findings("lab") if f.code != "AIF390"]
    assert [f.code for f in found] == codes
    assert hint in [None, *(f.hint for f in found)]
    assert setting.codes("local") == []


def test_every_stage_is_looked_at(setting: Setting) -> None:
    none = {"accelerator": "none"}
    put(setting, "steps", [{"name": "s", "call": "net:f", "hardware": none}])
    put(setting, "datasets.0.hardware", none)
    put(setting, "evaluation", {"hardware": none})
    put(setting, "export.0.hardware", none)
    assert setting.on_clusters(hardware=FLAVOURS).codes("lab") == ["AIF302"] * 4


def test_quotas_count_replicas_and_nodes(setting: Setting) -> None:
    tenants = [{"name": "t", "quota": {"l4": 2, "cpu": 4, "memory": "8Gi"}}]
    setting.metadata["tenant"] = "t"
    setting.on_clusters(hardware=FLAVOURS, tenants=tenants)
    put(setting, "training.hardware", {"accelerator": "l4", "per_node": 2, "cpu": 4, "memory": "8Gi"})
    put(setting, "serving", {"export": "onnx", "resources": {"cpu": 2, "memory": "2Gi"}, "replicas": 2})
    assert [code for code in [*setting.codes("lab"), *setting.codes("prod")] if code != "AIF390"] == []
    put(setting, "training.hardware", {"accelerator": "l4", "per_node": 4, "cpu": 5, "memory": "9Gi"})
    put(setting, "serving.autoscaling", {"max": 5})
    assert [code for code in setting.codes("lab") if code != "AIF390"] == ["AIF304"] * 3
    assert setting.codes("prod") == ["AIF304"] * 2


@pytest.mark.parametrize(("tenant", "codes"), [("t", []), ("u", ["AIF305"]), (None, ["AIF305"])])
def test_tenants(setting: Setting, tenant: str | None, codes: list[str]) -> None:
    if tenant is not None:
        setting.metadata["tenant"] = tenant
    setting.on_clusters(tenants=[{"name": "t"}])
    assert (setting.codes("lab"), setting.codes("local")) == (codes, [])


@pytest.mark.parametrize(
    ("serving", "codes"),
    [
        ({"autoscaling": {"min": 1, "max": 3}}, []),
        ({"autoscaling": {"min": 4, "max": 3}}, ["AIF372"]),
        ({"autoscaling": {"min": 0, "max": 3}}, ["AIF373"]),
        ({"autoscaling": {"max": 3, "metric": "concurrency"}}, ["AIF374"]),
        ({"rollout": {"strategy": "canary"}}, ["AIF375"]),
        ({"rollout": {"steps": [{"weight": 1, "pause": "1m"}]}}, ["AIF375"]),
        ({"rollout": {"strategy": "canary", "steps": [{"weight": 1, "pause": "1m"}] * 2}}, ["AIF375"]),
    ],
)
def test_scaling_and_rollout(setting: Setting, serving: dict[str, Any], codes: list[str]) -> None:
    put(setting, "serving", {"export": "onnx", **serving})
    assert [code for code in setting.on_clusters().codes("prod") if code != "AIF390"] == codes


@pytest.mark.parametrize(
    ("environment", "lack", "codes"),
    [(LAB, "capabilities", []), (LAB, "store", ["AIF371"]), (PROD, "store", []), (LAB, "none", [])],
)
def test_environments(setting: Setting, environment: dict[str, Any], lack: str, codes: list[str]) -> None:
    less = {name: value for name, value in environment.items() if name != lack}
    setting.platform = {"environments": [less], "images": IMAGES}
    assert setting.codes(str(environment["name"])) == codes


def test_images_the_platform_lacks(setting: Setting) -> None:
    setting.on_clusters(images={})
    assert (setting.codes("lab"), setting.codes("prod"), setting.codes("local")) == (["AIF354"], ["AIF354"], [])


def test_a_finding_in_the_platform_is_placed_there(setting: Setting) -> None:
    setting.on_clusters(images={**IMAGES, "serve": "r.example/serve:1"})
    (found,) = setting.findings("prod")
    assert found.where is not None
    assert (found.where.file, found.where.path) == ("platform.yaml", ("spec", "images", "serve"))
