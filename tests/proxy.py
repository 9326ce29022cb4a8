"""A proxy before an object store that counts requests, answers late, and fails where it is told to.

A process of its own: some calls of deltalake hold the interpreter while they wait for the network.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import sys
import urllib.request
from collections import Counter
from contextlib import suppress
from types import TracebackType
from typing import Self

REQUEST = re.compile(rb"(GET|PUT|HEAD|POST|DELETE) (\S+) HTTP/1\.1\r\n")
BUSY = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n"
FAULTS = ("busy", "cut before", "cut after", "stall")


class Proxy:
    """Stand between a client and a server on this machine; TCP as it is, but for what is asked for.

    Args:
        port: The server's.
        delay: Seconds by which each request comes later.
        faults: The share of requests that are answered 503, cut off before or after the server has seen them, or
            stand still for a second.
        seed: Another seed, other faults.
    """

    def __init__(self, port: int, delay: float = 0.0, faults: float = 0.0, seed: int = 0) -> None:
        self._arguments = [sys.executable, __file__, *map(str, (port, delay, faults, seed))]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._arguments, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.communicate()

    def count(self) -> Counter[str]:
        """The requests by method, those for files of raw/, and the faults, since this was last asked.

        `milliseconds` is how long requests stood waiting for the delay; side by side counts once.
        """
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.url}/-/count", timeout=10) as answer:
            return Counter(json.loads(answer.read()))


async def serve(port: int, delay: float, faults: float, chance: random.Random) -> None:
    """Pass on what comes, until the process is ended."""
    seen: Counter[str] = Counter()
    until = 0.0

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            there, out = await asyncio.open_connection("127.0.0.1", port)
            answers = asyncio.create_task(answer(there, writer))
            with suppress(ConnectionError):
                await ask(reader, out, writer)
            out.close()
            answers.cancel()
        writer.close()

    async def ask(reader: asyncio.StreamReader, out: asyncio.StreamWriter, back: asyncio.StreamWriter) -> None:
        nonlocal until
        while data := await reader.read(2**16):
            if found := REQUEST.match(data):
                if found[2] == b"/-/count":
                    told = json.dumps(seen).encode()
                    seen.clear()
                    back.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(told), told))
                    await back.drain()
                    return
                seen[found[1].decode()] += 1
                seen["of a raw file"] += b"/raw/" in found[2]
                now = asyncio.get_running_loop().time()
                seen["milliseconds"] += round(1000 * (now + delay - max(now, until)))
                until = now + delay
                await asyncio.sleep(delay)
                if chance.random() < faults:
                    seen[fault := chance.choice(FAULTS)] += 1
                    if fault == "busy":
                        back.write(BUSY)
                        await back.drain()
                    elif fault == "cut after":
                        out.write(data)
                        await out.drain()
                        await asyncio.sleep(0.05)
                    if fault != "stall":
                        return
                    await asyncio.sleep(1)
            out.write(data)
            await out.drain()

    async def answer(there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await there.read(2**16):
                writer.write(data)
                await writer.drain()
            writer.close()

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), random.Random(int(sys.argv[4]))))
