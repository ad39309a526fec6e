from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from tests.dispatch.http_server import Answer, HTTPServer


@pytest.fixture
async def serve(nursery: trio.Nursery) -> Callable[..., object]:
    """Starts an HTTP server on loopback whose answers are given, one after another; the last one stays."""

    async def start(*answers: Answer) -> HTTPServer:
        server = HTTPServer(*answers)
        await nursery.start(server.run)
        return server

    return start


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Delays that a test on the real clock can wait for."""
    monkeypatch.setattr("prunella.dispatch._retry._FIRST_DELAY", 0.001)
