from __future__ import annotations

import ssl
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, final

import trio

from ._retry import TIMED_OUT, UNREACHABLE, Outcome, answered

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    import httpx

__all__ = ["Client"]

_MOST_IDLE_CONNECTIONS: Final = 100
_SECONDS_IDLE: Final = 30.0

# The body of an answer is of no use to us; it is read, within these limits, so that the connection can be used again.
_MOST_READ: Final = 65_536
_SECONDS_READING: Final = 1.0


@final
class Client:
    """One pool of connections, opened when it is first needed.

    It is httpx's transport and not its client: no redirects, no cookies kept from one receiver for the next, no
    proxies and passwords from the environment, no log with whole URLs. There are never more connections in use than
    calls of `exchange`, which are its callers' to limit; those that wait for nobody are limited here.
    """

    __slots__ = ("_httpx", "_opening", "_transport")

    def __init__(self) -> None:
        self._opening = trio.Lock()
        self._httpx: Any = None
        self._transport: httpx.AsyncHTTPTransport | None = None

    async def open(self) -> None:
        """Gets ready, if it is not.

        Raises:
            ImportError: httpx is not installed.
        """
        if self._transport is not None:
            return
        async with self._opening:
            if self._transport is None:
                # In a thread: the import and the certificates take some hundred milliseconds.
                self._httpx, context = await trio.to_thread.run_sync(_load)
                limits = self._httpx.Limits(
                    max_connections=None,
                    max_keepalive_connections=_MOST_IDLE_CONNECTIONS,
                    keepalive_expiry=_SECONDS_IDLE,
                )
                self._transport = self._httpx.AsyncHTTPTransport(verify=context, trust_env=False, limits=limits)

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        timeout: float,
        now: Callable[[], datetime],
    ) -> tuple[Outcome, Exception | None]:
        """Makes one attempt.

        Args:
            method, url, headers, body: what to send.
            timeout: seconds for all of it.
            now: the time on the wall, asked for when an answer is there.

        Returns:
            What it came to, and the exception that says more, if there is one.

        Raises:
            Exception: what no other attempt would cure.
        """
        httpx = self._httpx
        assert self._transport is not None
        request = httpx.Request(method, url, headers=headers, content=body)
        outcome: Outcome | None = None
        with trio.move_on_after(timeout):
            try:
                response = await self._transport.handle_async_request(request)
            except httpx.TimeoutException as error:
                return TIMED_OUT, error
            except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
                return UNREACHABLE, error
            outcome = answered(response.status_code, response.headers.get_list("retry-after"), now())
            await self._finish(response)
        # Once the status is there, the receiver has answered, whatever becomes of the rest.
        return outcome or TIMED_OUT, None

    async def _finish(self, response: httpx.Response) -> None:
        read = 0
        try:
            with trio.move_on_after(_SECONDS_READING) as scope:
                async for chunk in response.aiter_raw():
                    read += len(chunk)
                    if read > _MOST_READ:
                        # Not `break`: of the generators below only the outermost would be closed by that.
                        scope.cancel()
        except self._httpx.TransportError:
            pass
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Closes the connections."""
        if self._transport is not None:
            await self._transport.aclose()


def _load() -> tuple[ModuleType, ssl.SSLContext]:
    import httpx

    return httpx, httpx.create_ssl_context()
