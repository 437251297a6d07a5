"""Images that steps and servers run in: named by the platform, pinned by digest."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aifctl.checks.subject import Subject
from aifctl.diagnostics import Diagnostic, Where
from aifctl.spec.models.platform import Platform

PINNED = re.compile(r"@sha256:[0-9a-f]{64}$")
IMAGES_OF = {"lightning": "pytorch", "huggingface": "pytorch"}
"""Frameworks that run in another's image."""


def check(subject: Subject) -> Iterator[Diagnostic]:
    code = subject.spec.code
    if code is not None and code.image is not None and not subject.environment.local:
        yield from _pinned(subject, code.image, subject.at("code", "image"))
    if subject.platform is None:
        return
    if subject.trains_on_cluster:
        yield from _training(subject, subject.platform)
    if subject.serves_on_cluster and subject.spec.serving is not None:
        yield from _serving(subject, subject.platform)


def _pinned(subject: Subject, image: str, where: Where) -> Iterator[Diagnostic]:
    level = subject.policy("pinned-images")
    if level is not None and PINNED.search(image) is None:
        message = f"the image `{image}` is not pinned by digest"
        hint = "what a tag names can change: write `…@sha256:…`"
        yield Diagnostic("AIF355", message, hint, where, severity=level)


def _training(subject: Subject, platform: Platform) -> Iterator[Diagnostic]:
    """Steps that run no user code take the runtime image even where `code.image` is given."""
    framework = subject.spec.training.framework
    section = IMAGES_OF.get(framework, framework)
    images = getattr(platform.spec.images, section)
    for vendor in dict.fromkeys(["cpu", *_vendors(subject, platform)]):
        image = getattr(images, vendor)
        if image is None:
            message = f"the platform has no image for `{framework}` on `{vendor}`"
            hint = f"platform engineers add it: `images: {{{section}: {{{vendor}: …@sha256:…}}}}`"
            yield Diagnostic("AIF354", message, hint, _needs(subject, vendor))
        else:
            yield from _pinned(subject, image, subject.at_platform("images", section, vendor))


def _vendors(subject: Subject, platform: Platform) -> list[str]:
    wanted = {hardware.accelerator for _, hardware in subject.stages()}
    return [flavour.vendor for flavour in platform.spec.hardware if flavour.name in wanted]


def _needs(subject: Subject, vendor: str) -> Where:
    if vendor == "cpu" or subject.spec.training.hardware.accelerator is None:
        return subject.at("training", "framework")
    return subject.at("training", "hardware", "accelerator")


def _serving(subject: Subject, platform: Platform) -> Iterator[Diagnostic]:
    release = subject.unit.release
    released = release.stable.image if release is not None else None
    if released is not None:
        yield from _pinned(subject, released, subject.at("serving", on_key=True))
    elif platform.spec.images.serve is None:
        hint = "platform engineers add it: `images: {serve: …@sha256:…}`"
        yield Diagnostic("AIF354", "the platform has no image to serve with", hint, subject.at("serving", on_key=True))
    else:
        yield from _pinned(subject, platform.spec.images.serve, subject.at_platform("images", "serve"))
