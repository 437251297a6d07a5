"""What Jobs of one run look like now, kept by a thread: one list, then a watch that is renewed as long as it is needed.

A cut connection, a server that is away and a resourceVersion that has expired are waited for or listed anew; what is
known stays until the server says otherwise.
"""

from __future__ import annotations

import threading

from aifctl.runtime.kube import Api, Expired, Missing, Object, Refused, Unavailable

WINDOW = 50
"""Seconds that one watch lasts."""
PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before the next try, by the number of those that failed."""


class JobWatch:
    def __init__(self, api: Api, selector: str) -> None:
        self._api, self._selector = api, selector
        self._jobs: dict[str, Object] = {}
        self._changed = threading.Condition()
        self._news = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="job-watch", daemon=True)
        self._thread.start()

    def get(self, name: str) -> Object | None:
        """The Job as it was last seen; None once the server says that it is gone. Raises Unavailable, Refused."""
        with self._changed:
            known = self._jobs.get(name)
        if known is not None:
            return known
        try:
            # Not in the list: it is gone, or younger than the list.
            found = self._api.get_job(name)
        except Missing:
            return None
        self.know(found)
        return found

    def know(self, job: Object) -> None:
        """Takes a Job over that was just created or read, unless a later state is known."""
        with self._changed:
            known = self._jobs.get(job["metadata"]["name"])
            if known is None or known["metadata"].get("uid") != job["metadata"].get("uid"):
                self._jobs[job["metadata"]["name"]] = job

    def wait(self, timeout: float) -> None:
        """Returns at the next change, or when there was one since the last call; at the latest after the timeout."""
        with self._changed:
            if not self._news:
                self._changed.wait(timeout)
            self._news = False

    def close(self) -> None:
        """The thread ends with its watch; nobody needs to wait for it."""
        self._closed.set()

    def _keep(self) -> None:
        failures, version = 0, ""
        while not self._closed.is_set():
            try:
                if not version:
                    version = self._list()
                version = self._follow(version)
                failures = 0
            except Expired:
                version = ""
            except (Unavailable, Refused):
                self._closed.wait(PAUSES[min(failures, len(PAUSES) - 1)])
                failures += 1

    def _list(self) -> str:
        items, version = self._api.list_jobs(self._selector)
        with self._changed:
            self._jobs = {job["metadata"]["name"]: job for job in items}
            self._tell()
        return version

    def _follow(self, version: str) -> str:
        for kind, job in self._api.watch_jobs(self._selector, version, WINDOW):
            version = job["metadata"]["resourceVersion"]
            if kind != "BOOKMARK":
                self._take(kind, job)
            if self._closed.is_set():
                break
        return version

    def _take(self, kind: str, job: Object) -> None:
        with self._changed:
            if kind == "DELETED":
                self._jobs.pop(job["metadata"]["name"], None)
            else:
                self._jobs[job["metadata"]["name"]] = job
            self._tell()

    def _tell(self) -> None:
        self._news = True
        self._changed.notify_all()
