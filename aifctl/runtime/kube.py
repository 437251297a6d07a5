"""The few calls to an API server that running steps as Jobs takes: plain values in and out, four kinds of trouble.

Uses the `kubernetes` package (0.6 s to import, so it is imported when a `Kube` is made). One namespace.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import pydantic

Object = dict[str, Any]
"""A Kubernetes object as the API writes it."""
TIMEOUT = (10.0, 30.0)
"""Seconds to connect, and to read."""
WAIT_SLACK = 15.0
"""Seconds that a watch may stay silent beyond its own end before the connection counts as lost."""


class Unavailable(OSError):
    """Nobody answered, or not now: worth another try."""


class Refused(Exception):
    """The API server has said no, and will again."""


class Missing(Exception):
    """There is no such object."""


class Exists(Exception):
    """An object of this name is there already."""


class Expired(Exception):
    """A watch can't go on from its resourceVersion: list again."""


class Api(Protocol):
    """Every method raises Unavailable and Refused, and what it names."""

    def create_job(self, body: Mapping[str, Any]) -> Object:
        """Raises Exists."""
        ...

    def get_job(self, name: str) -> Object:
        """Raises Missing."""
        ...

    def delete_job(self, name: str, grace: int | None) -> None:
        """Its pods go first, `grace` seconds after they were asked to (None: as they say). Raises Missing."""
        ...

    def list_jobs(self, selector: str) -> tuple[list[Object], str]:
        """Jobs, and the resourceVersion to watch from."""
        ...

    def watch_jobs(self, selector: str, version: str, seconds: int) -> Iterator[tuple[str, Object]]:
        """(ADDED, MODIFIED, DELETED or BOOKMARK, object) for at most `seconds`. Raises Expired."""
        ...

    def pods_of(self, job: str) -> list[Object]: ...

    def log(self, pod: str, lines: int, since: int | None = None) -> str:
        """Its last lines, of the last `since` seconds. Raises Missing."""
        ...


class Kube:
    """An `Api`: of the cluster this pod is in, or that of KUBECONFIG."""

    def __init__(self, namespace: str) -> None:
        """Raises Refused where there is no cluster to talk to."""
        from kubernetes import client, config

        settings = client.Configuration()
        try:
            if os.environ.get("KUBERNETES_SERVICE_HOST"):
                config.load_incluster_config(client_configuration=settings)
            else:
                config.load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=settings)
        except config.ConfigException as error:
            raise Refused(str(error)) from error
        connection = client.ApiClient(settings)
        self._namespace = namespace
        self._batch, self._core = client.BatchV1Api(connection), client.CoreV1Api(connection)

    def create_job(self, body: Mapping[str, Any]) -> Object:
        return _object(self._batch.create_namespaced_job, self._namespace, dict(body), field_validation="Strict")

    def get_job(self, name: str) -> Object:
        return _object(self._batch.read_namespaced_job, name, self._namespace)

    def delete_job(self, name: str, grace: int | None) -> None:
        options = {} if grace is None else {"grace_period_seconds": grace}
        _answer(self._batch.delete_namespaced_job, name, self._namespace, propagation_policy="Foreground", **options)

    def list_jobs(self, selector: str) -> tuple[list[Object], str]:
        found = _object(self._batch.list_namespaced_job, self._namespace, label_selector=selector)
        return found["items"], found["metadata"]["resourceVersion"]

    def watch_jobs(self, selector: str, version: str, seconds: int) -> Iterator[tuple[str, Object]]:
        from kubernetes import client, watch
        from urllib3.exceptions import HTTPError

        stream = watch.Watch().stream(
            self._batch.list_namespaced_job, self._namespace, label_selector=selector, resource_version=version,
            allow_watch_bookmarks=True, timeout_seconds=seconds, _request_timeout=(TIMEOUT[0], seconds + WAIT_SLACK),
        )  # fmt: skip
        try:
            for event in stream:
                yield event["type"], event["raw_object"]
        except client.ApiException as error:
            raise _trouble(error) from error
        except (HTTPError, ValueError, OSError) as error:  # a line that was cut short is no JSON
            raise Unavailable(str(error)) from error

    def pods_of(self, job: str) -> list[Object]:
        selector = f"batch.kubernetes.io/job-name={job}"
        items: list[Object] = _object(self._core.list_namespaced_pod, self._namespace, label_selector=selector)["items"]
        return items

    def log(self, pod: str, lines: int, since: int | None = None) -> str:
        options = {} if since is None else {"since_seconds": since}
        found = _answer(self._core.read_namespaced_pod_log, pod, self._namespace, tail_lines=lines, **options)
        return found.decode("utf-8", "backslashreplace")


def _object(call: Callable[..., Any], *given: Any, **options: Any) -> Object:
    found: Object = json.loads(_answer(call, *given, **options))
    return found


def _answer(call: Callable[..., Any], *given: Any, **options: Any) -> bytes:
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        # The library's models are passed by: plain values are what is rendered, recorded and tested with.
        answer: bytes = call(*given, **options, _preload_content=False, _request_timeout=TIMEOUT).data
    except ApiException as error:
        raise _trouble(error) from error
    except pydantic.ValidationError as error:  # the library knows the API's fields, and sends nothing else
        raise Refused("; ".join(f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors())) from error
    except (HTTPError, OSError) as error:
        raise Unavailable(str(error)) from error
    return answer


TROUBLE: Mapping[int, type[Exception]] = {404: Missing, 409: Exists, 410: Expired}
LATER: Sequence[int] = (401, 408, 425, 429)
"""Too many requests, and a token that is just being renewed; 5xx besides."""


def _trouble(error: Any) -> Exception:
    """What an ApiException stands for, with the server's own words."""
    words = _words(error)
    status = error.status or 0
    if status in TROUBLE:
        return TROUBLE[status](words)
    waits = status in LATER or status >= 500 or status == 0 or "exceeded quota" in words
    return Unavailable(words) if waits else Refused(words)


def _words(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return f"{error.status} {error.reason}"
