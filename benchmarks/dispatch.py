"""What dispatch costs: to local targets in calls a second, and over HTTP beside a bare pooled httpx client.

    python benchmarks/dispatch.py [--rounds N]

Every figure is taken several times, ours and the other's in turn, and given as minimum and median. The HTTP server
runs in a process of its own and answers as fast as it can, so that what is measured is the client.
"""

from __future__ import annotations

import argparse
import gc
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import httpx
import trio

from prunella import Signal
from prunella.dispatch import Destination, HTTPTarget, NoopTarget, WebhookTarget, open_dispatcher
from prunella.signals import to_http
from prunella.telemetry import Event

LOCAL_CALLS = 20_000
HTTP_CALLS = 300
LOCAL_BUDGET = 150_000  # calls a second, without listeners
HTTP_BUDGET = 1.3  # times the bare client, by medians

SIGNAL = Signal("ticket.opened", {"ticket": "T-1", "priority": 2, "tags": ["a", "b"]}, source="/desk", subject="T-1")

Measure = Callable[[], Awaitable[float]]


# Local targets: seconds a call.


def plain(signal: Signal) -> None:
    pass


async def async_function(signal: Signal) -> None:
    pass


async def local(target: Destination, *listeners: Callable[[Event], object]) -> float:
    async with open_dispatcher(telemetry=listeners) as dispatcher:
        begin = time.perf_counter()
        for _ in range(LOCAL_CALLS):
            await dispatcher.dispatch(SIGNAL, target)
        return (time.perf_counter() - begin) / LOCAL_CALLS


async def to_channel() -> float:
    send, receive = trio.open_memory_channel[Signal](LOCAL_CALLS)
    with receive:
        return await local(send)


async def bare_call() -> float:
    """What the library is left out of: the function, and Trio's check for cancellation."""
    begin = time.perf_counter()
    for _ in range(LOCAL_CALLS):
        await trio.lowlevel.checkpoint_if_cancelled()
        plain(SIGNAL)
    return (time.perf_counter() - begin) / LOCAL_CALLS


LOCAL: dict[str, Measure] = {
    "bare call": bare_call,
    "function": lambda: local(plain),
    "async function": lambda: local(async_function),
    "channel": to_channel,
    "noop": lambda: local(NoopTarget()),
    "function, one listener": lambda: local(plain, lambda event: None),
}


# HTTP: seconds a request, connections warm.


async def bare_httpx(url: str) -> float:
    """Encoded once: what a client costs that sends bytes."""
    headers, body = to_http(SIGNAL)
    async with httpx.AsyncClient() as client:
        for _ in range(10):
            await client.post(url, content=body, headers=headers)
        begin = time.perf_counter()
        for _ in range(HTTP_CALLS):
            response = await client.post(url, content=body, headers=headers)
            response.raise_for_status()
        return (time.perf_counter() - begin) / HTTP_CALLS


async def over_http(target: Destination) -> float:
    async with open_dispatcher() as dispatcher:
        for _ in range(10):
            await dispatcher.dispatch(SIGNAL, target)
        begin = time.perf_counter()
        for _ in range(HTTP_CALLS):
            await dispatcher.dispatch(SIGNAL, target)
        return (time.perf_counter() - begin) / HTTP_CALLS


async def serve() -> None:
    """Reads requests, however they are cut, and answers each."""
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

    async def one(stream: trio.SocketStream) -> None:
        buffered = b""
        while True:
            head, end, rest = buffered.partition(b"\r\n\r\n")
            if end:
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                if len(rest) >= length:
                    buffered = rest[length:]
                    await stream.send_all(answer)
                    continue
            received = await stream.receive_some()
            if not received:
                return
            buffered += received

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    print(listener.socket.getsockname()[1], flush=True)
    await trio.serve_listeners(one, [listener])


# The report.


def measured(measures: dict[str, Measure], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            gc.collect()
            times[name].append(trio.run(measure))
    return times


def report(title: str, times: dict[str, list[float]]) -> None:
    print(f"\n{title:<28}{'minimum µs':>12}{'median µs':>12}{'a second, median':>18}")
    for name, taken in times.items():
        median = statistics.median(taken)
        print(f"{name:<28}{min(taken) * 1e6:>12.2f}{median * 1e6:>12.2f}{1 / median:>18,.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="how often each figure is taken")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        trio.run(serve)
        return
    print(
        f"{platform.python_implementation()} {platform.python_version()}, trio {trio.__version__}, {platform.machine()}"
    )
    times = measured(LOCAL, arguments.rounds)
    report("local target", times)
    rate = 1 / statistics.median(times["function"])
    print(
        f"budget: {LOCAL_BUDGET:,} a second to a function; {'kept' if rate >= LOCAL_BUDGET else 'MISSED'}: {rate:,.0f}"
    )

    with subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            url = f"http://127.0.0.1:{int(server.stdout.readline())}/hook"
            http: dict[str, Measure] = {
                "bare httpx": lambda: bare_httpx(url),
                "HTTP target": lambda: over_http(HTTPTarget(url)),
                "webhook target": lambda: over_http(WebhookTarget(url, secret=b"between us")),
            }
            times = measured(http, arguments.rounds)
        finally:
            server.terminate()
    report("HTTP, one after another", times)
    bare = statistics.median(times["bare httpx"])
    for name in ("HTTP target", "webhook target"):
        ratio = statistics.median(times[name]) / bare
        print(
            f"budget: {HTTP_BUDGET} × bare httpx; {name}: {'kept' if ratio <= HTTP_BUDGET else 'MISSED'}: {ratio:.2f} ×"
        )


if __name__ == "__main__":
    main()
