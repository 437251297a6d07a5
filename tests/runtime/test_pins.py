"""What a remote dataset is now: its version where the store tells one, else its content."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from aifctl.diagnostics import Report
from aifctl.runtime import pins
from aifctl.runtime.pins import Pin

DATA = b"a,b\n1,2\n" * 200_000


class Handler(http.server.BaseHTTPRequestHandler):
    tag: str | None = None

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        if self.path != "/data.csv":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(DATA)))
        if self.tag is not None:
            self.send_header("ETag", self.tag)
        self.end_headers()
        if body:
            self.wfile.write(DATA)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    Handler.tag = None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()


def refused(uri: str) -> str:
    with pytest.raises(Report) as caught:
        pins.look_up(uri)
    (found,) = caught.value.diagnostics
    assert found.code == "AIF124"
    assert uri in found.message
    return found.message


def test_a_file_has_no_version_but_content(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(DATA)
    pin = pins.look_up(f"file://{tmp_path}/data.csv")
    assert pin == Pin(hashlib.sha256(DATA).hexdigest(), None, len(DATA))


def test_of_http_it_is_the_etag(server: str) -> None:
    Handler.tag = '"abc-1"'
    assert pins.look_up(f"{server}/data.csv") == Pin(None, "abc-1", len(DATA))


def test_of_http_without_an_etag_the_content(server: str) -> None:
    assert pins.look_up(f"{server}/data.csv") == Pin(hashlib.sha256(DATA).hexdigest(), None, len(DATA))


def test_the_most_exact_version_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 tells a VersionId beside the ETag, and only the first names one object for ever."""
    from fsspec.implementations.memory import MemoryFileSystem

    info = {"name": "/b/data.csv", "size": 3, "type": "file", "ETag": '"e"', "VersionId": "v7"}
    monkeypatch.setattr(MemoryFileSystem, "info", lambda self, path: info)
    assert pins.look_up("memory://b/data.csv") == Pin(None, "v7", 3)


def test_what_is_not_there(server: str, tmp_path: Path) -> None:
    refused(f"{server}/other.csv")
    refused(f"file://{tmp_path}/none.csv")
    refused("memory://nowhere/none.csv")


def test_what_can_not_be_reached() -> None:
    refused("http://127.0.0.1:9/data.csv")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    refused(f"file://{tmp_path}")


@pytest.mark.parametrize("uri", ["nowhere://x/y", "://", "s3+x://a"])
def test_schemes_that_nothing_reads(uri: str) -> None:
    refused(uri)


def test_a_scheme_whose_package_is_not_installed() -> None:
    missing = next((s for s in ("gs", "abfs", "oci") if not _installed(s)), None)
    assert missing is not None, "all back ends are installed: this test needs one that is not"
    assert "nstall" in refused(f"{missing}://bucket/data.csv")


def _installed(scheme: str) -> bool:
    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError:
        return False
    return True
