"""Put load on a text service: requests a second, and how long they take.

    python examples/load.py http://localhost:8000/classify --clients 16
    python examples/load.py http://localhost:8000/classify --rate 50

With `--clients` each client sends its next request when the last one is
answered. That finds the most that a service can do, but hides a queue: a
slow service is asked less often. With `--rate` requests come at random
moments, so many a second on average, whether or not earlier ones are
answered, as users do; a request's time runs from the moment at which it was
due. Python's standard library is all that this needs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

TEXTS = (
    "a gorgeous, witty, seductive movie",
    "it 's slow -- very , very slow",
    "not once does it come to life",
)


@dataclass
class Load:
    """Seconds of each request answered, how many failed, seconds of all."""

    seconds: float = 0.0
    times: list[float] = field(default_factory=list)
    failed: int = 0

    @property
    def per_second(self) -> float:
        """Requests answered in a second."""
        return len(self.times) / self.seconds

    def percentile(self, share: float) -> float:
        """Milliseconds within which `share` per cent of requests end."""
        ranked = sorted(self.times)
        return (
            1e3
            * ranked[min(len(ranked) - 1, int(share / 100 * len(ranked)))]
        )

    def __str__(self) -> str:
        if not self.times:
            return f"no request was answered, {self.failed} failed"
        shares = ", ".join(
            f"p{share} {self.percentile(share):.1f} ms"
            for share in (50, 95, 99)
        )
        counts = f"{len(self.times)} answered, {self.failed} failed"
        return (
            f"{self.per_second:.1f} requests a second; {shares}; {counts}"
        )


class Connection:
    """One connection that is kept open from request to request."""

    def __init__(self, url: str) -> None:
        self.place = urlsplit(url)
        self.streams: (
            tuple[asyncio.StreamReader, asyncio.StreamWriter] | None
        ) = None

    async def ask(self, text: str) -> bool:
        """Send one text; whether it was answered with status 200."""
        try:
            if self.streams is None:
                port = self.place.port or 80
                self.streams = await asyncio.open_connection(
                    self.place.hostname, port
                )
            reader, writer = self.streams
            body = json.dumps({"text": text}).encode()
            lines = [
                f"POST {self.place.path or '/'} HTTP/1.1",
                f"Host: {self.place.netloc}",
                "Content-Type: application/json",
                f"Content-Length: {len(body)}",
            ]
            head = "\r\n".join([*lines, "", ""])
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            fields = dict(
                line.lower().split(": ", 1)
                for line in answer.decode().split("\r\n")[1:]
                if ": " in line
            )
            await reader.readexactly(int(fields["content-length"]))
            return answer.split(b" ", 2)[1] == b"200"
        except (OSError, asyncio.IncompleteReadError, KeyError):
            await self.close()
            return False

    async def close(self) -> None:
        """End it; the next request opens another."""
        if self.streams is not None:
            self.streams[1].close()
            with contextlib.suppress(OSError):
                await self.streams[1].wait_closed()
            self.streams = None


async def _timed(
    connection: Connection, text: str, due: float, load: Load
) -> None:
    if await connection.ask(text):
        load.times.append(time.perf_counter() - due)
    else:
        load.failed += 1


async def closed(
    url: str,
    texts: Sequence[str],
    seconds: float,
    clients: int,
    requests: float = float("inf"),
) -> Load:
    """So many clients; each waits for its answer, then asks again.

    It ends after `seconds`, or when `requests` have been sent.
    """
    load, begun = Load(), time.perf_counter()
    connections = [Connection(url) for _ in range(clients)]

    async def client(number: int) -> None:
        while number < requests and time.perf_counter() < begun + seconds:
            text = texts[number % len(texts)]
            await _timed(
                connections[number % clients],
                text,
                time.perf_counter(),
                load,
            )
            number += clients
            if load.failed and not load.times:
                return

    await asyncio.gather(*(client(number) for number in range(clients)))
    load.seconds = time.perf_counter() - begun
    for connection in connections:
        await connection.close()
    return load


async def open_ended(
    url: str,
    texts: Sequence[str],
    seconds: float,
    rate: float,
    seed: int = 0,
) -> Load:
    """Requests at random moments, `rate` a second on average."""
    load, begun, draw = Load(), time.perf_counter(), random.Random(seed)
    idle: list[Connection] = []
    tasks = []

    async def one(text: str, due: float) -> None:
        connection = idle.pop() if idle else Connection(url)
        await _timed(connection, text, due, load)
        idle.append(connection)

    due, number = begun + draw.expovariate(rate), 0
    while due < begun + seconds:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(
            asyncio.create_task(one(texts[number % len(texts)], due))
        )
        due, number = due + draw.expovariate(rate), number + 1
    await asyncio.gather(*tasks)
    load.seconds = time.perf_counter() - begun
    for connection in idle:
        await connection.close()
    return load


def main() -> None:
    """Load and report."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("url")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument(
        "--rate",
        type=float,
        help="requests a second, in place of --clients",
    )
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument(
        "--texts",
        type=Path,
        help="a file, one text a line; default: three short ones",
    )
    options = parser.parse_args()
    lines = (
        options.texts.read_text(encoding="utf-8").splitlines()
        if options.texts
        else TEXTS
    )
    texts = [line for line in lines if line.strip()]
    words = statistics.mean(len(text.split()) for text in texts)
    print(f"{len(texts)} texts, {words:.0f} words on average")
    if options.rate:
        print(
            asyncio.run(
                open_ended(
                    options.url, texts, options.seconds, options.rate
                )
            )
        )
    else:
        print(
            asyncio.run(
                closed(options.url, texts, options.seconds, options.clients)
            )
        )


if __name__ == "__main__":
    main()
