"""A real S3 API on this machine: moto's server as a process of its own, and the environment that clients need."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SCRIPT = """
import logging, sys
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
SCOPE = "AKIAIOSFODNN7EXAMPLE/20300101/us-east-1/s3/aws4_request"


@dataclass(frozen=True)
class Bucket:
    """A bucket of its own; `environment` is what a process needs to use it, and nothing of this machine's."""

    name: str
    url: str
    environment: dict[str, str]

    @property
    def uri(self) -> str:
        return f"s3://{self.name}/models"

    def ask(self, method: str, path: str, data: bytes | None = None) -> bytes:
        """One request, with a signature that nobody checks. Raises HTTPError."""
        headers = {"Content-Type": "application/octet-stream"}
        headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders=host, Signature=0"
        request = urllib.request.Request(f"{self.url}/{path}", method=method, data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: bytes = answer.read()
        return found

    def objects(self) -> list[str]:
        """Names of all objects, in order."""
        return re.findall("<Key>([^<]+)</Key>", self.ask("GET", f"{self.name}?list-type=2").decode())


@contextmanager
def server(**environment: str) -> Iterator[str]:
    """The URL of an S3 server that ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(30)


def bucket(url: str, name: str, home: Path, key: str | None = "AKIAIOSFODNN7EXAMPLE") -> Bucket:
    """A new bucket; `home` holds no configuration, so no credentials but `key` are found."""
    environment = {
        "AWS_ENDPOINT_URL": url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(home / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "credentials"),
    }
    if key is not None:
        environment |= {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
    made = Bucket(name, url, environment)
    for _ in range(50):
        try:
            made.ask("PUT", name)
        except urllib.error.URLError:
            time.sleep(0.1)
        else:
            return made
    raise TimeoutError(f"{url} makes no bucket")
