"""A release → the service that serves it. The release's facts decide, not today's training section."""

from __future__ import annotations

from aifctl import ir
from aifctl.lowering.placement import Place


def lower(place: Place) -> ir.Service | None:
    """None until something is released, or where the spec serves nothing."""
    unit = place.unit
    serving, release = unit.spec.serving, unit.release
    if serving is None or release is None:
        return None
    entry = release.stable
    bundle = entry.exports[serving.export]  # a check reports an export that the release lacks
    scaling = serving.autoscaling
    accelerator = place.accelerator(serving.resources.accelerator, serving.resources.devices)
    image = entry.image or (place.platform.spec.images.serve if place.platform is not None else None)
    return ir.Service(
        name=unit.name,
        bundle=ir.ReleasedBundle(
            run=entry.run,
            export=serving.export,
            uri=bundle.uri,
            sha256=bundle.sha256,
            format=bundle.format,
            size=bundle.size,
        ),
        image=image or "",
        resources=ir.Resources(cpu=serving.resources.cpu, memory=serving.resources.memory),
        replicas=serving.replicas,
        autoscaling=ir.Autoscaling(min=scaling.min, max=scaling.max, metric=scaling.metric, target=scaling.target)
        if scaling is not None
        else None,
        max_batch=serving.batching.max,
        batch_delay=serving.batching.delay,
        low_confidence=unit.spec.monitoring.alerts.low_confidence,
        accelerator=accelerator,
        variables=place.variables("serve"),
        secrets=place.secrets("serve"),
        log_sample=serving.log.sample,
    )
