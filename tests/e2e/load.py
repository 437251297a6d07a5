"""Runs in a pod: requests at a steady rate, each on a connection of its own, until a file is there; says how they went.

Arguments: URL, body, requests a second, file that ends it. A line `running` tells that the first have been answered.
"""

import asyncio
import json
import os
import sys
import time
import urllib.parse

PATIENCE = 20


async def ask(host: str, port: int, body: bytes) -> tuple[int, str]:
    head = f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nConnection: close\r\n"
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        answer = await reader.read()
    finally:
        writer.close()
    top, _, rest = answer.partition(b"\r\n\r\n")
    status = int(top.split(None, 2)[1])
    return status, str(json.loads(rest).get("version", "")) if status == 200 else rest.decode()


async def main(url: str, text: str, rate: float, end: str) -> None:
    where = urllib.parse.urlsplit(url)
    lost: list[str] = []
    versions: dict[str, int] = {}
    seconds: list[float] = []
    began = time.monotonic()

    async def one() -> None:
        start = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                status, said = await ask(str(where.hostname), where.port or 80, text.encode())
        except (OSError, TimeoutError, IndexError, ValueError) as error:
            lost.append(f"{start - began:.1f} s: {type(error).__name__} {error}")
            return
        seconds.append(time.monotonic() - start)
        if status == 200:
            versions[said] = versions.get(said, 0) + 1
        else:
            lost.append(f"{start - began:.1f} s: {status} {said[:200]}")

    sent, tasks = 0, set()
    while not os.path.exists(end):  # noqa: PTH110
        tasks.add(asyncio.create_task(one()))
        sent += 1
        if sent == 20:
            print("running", flush=True)
        await asyncio.sleep(max(0.0, began + sent / rate - time.monotonic()))
        tasks = {task for task in tasks if not task.done()}
    await asyncio.gather(*tasks)
    seconds.sort()
    p99 = seconds[int(len(seconds) * 0.99)] if seconds else None
    print(json.dumps({"sent": sent, "lost": lost[:20], "versions": versions, "p99": p99}), flush=True)


asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]))
