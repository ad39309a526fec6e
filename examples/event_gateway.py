"""An event gateway: CloudEvents in over HTTP, routed by type, and out again as signed webhooks.

    GATEWAY_SECRET=... python examples/event_gateway.py --bind 127.0.0.1:8080 --forward http://localhost:9000/hook

It takes `POST /events` in both modes of HTTP that CloudEvents knows (structured, and binary with `ce-` headers). What
is not signed by the secret is refused, and read only after that. Tickets go to the webhook, and everything goes to the
log. An answer of 202 means that all targets have taken the event; 502 that one has not, so that the sender tries again.

Needs `prunella[http,web]`.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route as HTTPRoute

from prunella.dispatch import Dispatcher, InvalidSignature, LoggerTarget, WebhookTarget, open_dispatcher, verify
from prunella.signals import DecodeError, PayloadTooLarge, Route, Router, from_http

LIMIT = 1_000_000


def gateway(router: Router[Any], dispatcher: Dispatcher, secret: bytes) -> Starlette:
    """The web application: it verifies, decodes, routes and dispatches what comes in."""

    async def events(request: Request) -> Response:
        body = b""
        async with aclosing(request.stream()) as chunks:
            async for chunk in chunks:
                body += chunk
                if len(body) > LIMIT:
                    return problem(413, f"more than {LIMIT} bytes")
        try:
            verify(secret, request.headers, body)
            signal = from_http(request.headers, body, limit=LIMIT)
        except InvalidSignature as error:
            return problem(401, str(error))
        except PayloadTooLarge as error:
            return problem(413, str(error))
        except DecodeError as error:
            return problem(400, str(error))
        results = await dispatcher.dispatch_all(signal, router.route(signal))
        failed = [str(result.error) for result in results if not result.ok]
        if failed:
            logging.getLogger("gateway").warning("%s: %s", signal.id, "; ".join(failed))
            return problem(502, f"{len(failed)} of {len(results)} targets did not take it")
        return JSONResponse({"id": signal.id, "targets": len(results)}, 202)

    return Starlette(routes=[HTTPRoute("/events", events, methods=["POST"])])


def problem(status: int, text: str) -> Response:
    """An answer that says what is wrong."""
    return JSONResponse({"error": text}, status)


async def run(
    bind: str,
    forward: str,
    secret: bytes,
    *,
    shutdown: Callable[[], Awaitable[None]] = trio.sleep_forever,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves until `shutdown` returns; `task_status` gets the URLs that it listens on."""
    config = Config()
    config.bind = [bind]
    config.errorlog = logging.getLogger("hypercorn")
    router: Router[Any] = Router(
        [
            Route("ticket.**", WebhookTarget(forward, secret="out", events={"ticket.opened": "opened"})),
            Route("**", LoggerTarget(), priority=-10),
        ]
    )
    async with open_dispatcher(secrets={"out": secret}) as dispatcher:
        app = gateway(router, dispatcher, secret)
        await serve(app, config, shutdown_trigger=shutdown, task_status=task_status)  # type: ignore[arg-type]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--bind", default="127.0.0.1:8080", help="where to listen")
    arguments.add_argument("--forward", required=True, help="the URL of the webhook")
    chosen = arguments.parse_args()
    logging.basicConfig(level=logging.INFO)
    trio.run(run, chosen.bind, chosen.forward, os.environb[b"GATEWAY_SECRET"])


if __name__ == "__main__":
    main()
