"""export: writes the trained model in the format asked for and publishes it as a bundle (`runtime.bundle`)."""

from __future__ import annotations

from typing import Any

from aifctl.contract import ExportConfig, Kind
from aifctl.runtime import archives, bundle, frameworks, preprocessing
from aifctl.runtime.bundle import About
from aifctl.runtime.frameworks import Trained
from aifctl.runtime.job import Job


def run(job: Job) -> dict[str, Any]:
    """Raises Report: AIF820 for a format the framework has no exporter for, AIF831 where the export fails."""
    config = job.config(ExportConfig)
    if config.quantize is not None:
        hint = "leave `quantize` out"
        raise frameworks.unsupported(f"this runtime can't quantize (`{config.quantize}`) yet", hint)
    export = frameworks.exporter(config.framework, config.format)
    train = job.input(Kind.TRAIN)
    trained = frameworks.open_trained(train.path, job.code).placed(config.serve)
    model = export(trained, config, job.path)
    _add_server_side(job, trained)
    sha256 = bundle.write(job.path, about(trained, config, model, {"train": train.digest, "export": job.digest}))
    size = sum(file.stat().st_size for file in job.path.rglob("*") if file.is_file())
    job.log(format=config.format, size=size, bundle=sha256[:10])
    return {"format": config.format, "sha256": sha256, "size": size, "signature": trained.signature.to_json()}


def about(trained: Trained, config: ExportConfig, model: str, made_of: dict[str, str]) -> About:
    prep = trained.config.preprocessing
    return About(
        format=config.format,
        framework=config.framework,
        model=model,
        signature=trained.signature,
        preprocessing=None if prep is None else bundle.Preprocessing(serve=prep.serve, cls=prep.cls),
        predict=None if trained.config.custom is None else trained.config.custom.predict,
        made_of=made_of,
    )


def _add_server_side(job: Job, trained: Trained) -> None:
    """What runs beside the model when it serves: the user's code, and the state of its preprocessing."""
    at_server = trained.placement == "server"
    if at_server:
        preprocessing.save(trained.preprocessing, job.path / preprocessing.FILE)
    if job.code is not None and (at_server or trained.config.custom is not None):
        archives.copy_tree(job.code, job.path / bundle.CODE)
