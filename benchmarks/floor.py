"""What the server alone needs: every object of a rendered tree, sent ready-made by one bare connection pool.

    python benchmarks/floor.py FOLDER

Objects of a folder `rendered/` go to the cluster of KUBECONFIG as server-side applies, as many at a time as aifctl
sends. Nothing is compiled, compared, recorded or read; the seconds printed count from the first request to the last
answer. No client that sends a request an object can be faster on this machine.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import aiohttp
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from aifctl.cluster import access, discovery
from aifctl.cluster.client import APPLY, CONNECTIONS, Client

APPLYING = {"fieldManager": "floor", "fieldValidation": "Strict", "force": "true"}


async def floor(folder: Path) -> float:
    """Seconds for all objects below the folder; its namespaces must be there. Raises RuntimeError for a refusal."""
    objects = [yaml.load(path.read_bytes(), yaml.CSafeLoader) for path in sorted(folder.rglob("*.yaml"))]
    reached = access.find("test", None)
    async with Client(reached) as client:
        kinds = await discovery.discover(client)
        requests = []
        for each in objects:
            resource = kinds.find(each["apiVersion"], each["kind"])
            assert resource is not None, each["kind"]
            path = resource.path(each["metadata"].get("namespace", ""), each["metadata"]["name"])
            requests.append((f"{reached.server}{path}", json.dumps(each).encode()))
        slots = asyncio.Semaphore(CONNECTIONS)
        connection = client._open()
        headers = {**client._headers(connection), "Content-Type": APPLY}

        async def send(url: str, body: bytes) -> None:
            async with slots, connection.session.patch(
                url, params=APPLYING, data=body, headers=headers, ssl=connection.tls
            ) as answer:  # fmt: skip
                if answer.status >= aiohttp.http.HTTPStatus.BAD_REQUEST:
                    raise RuntimeError(await answer.text())
                await answer.read()

        began = time.perf_counter()
        await asyncio.gather(*(send(url, body) for url, body in requests))
        return time.perf_counter() - began


if __name__ == "__main__":
    print(f"{asyncio.run(floor(Path(sys.argv[1]))):.3f}")
