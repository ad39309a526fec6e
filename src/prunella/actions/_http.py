from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, final

import attrs
import trio

from ..errors import InvalidArgument, check_iterable
from ._action import Action, action
from ._errors import ActionError, ActionNotAllowed, InvalidAction

__all__ = ["HTTPResponse", "http_actions"]

_LARGEST: Final = 1_000_000
# The receiver asks to be asked again: 408 Request Timeout, 425 Too Early, 429 Too Many Requests; or has a problem.
_ASK_AGAIN: Final = frozenset({408, 425, 429})


@final
@attrs.frozen
class HTTPResponse:
    """What a server answered.

    Attributes:
        status: the status, from 200 to 299.
        headers: the headers, with names in small letters.
        body: the text of the body.
    """

    status: int
    headers: Mapping[str, str]
    body: str


def http_actions(*, hosts: Iterable[str] = (), timeout: float | None = 30.0) -> Mapping[str, Action[..., Any]]:
    """Actions for HTTP: `http_request`. Needs ``prunella[http]``.

    A status other than 2xx is an error, which may be worth another try if it is 408, 425, 429 or 5xx. Redirects are not
    followed, and a body of more than 1 MB is refused.

    Args:
        hosts: the hosts that may be asked, `example.org` or `example.org:8443`; without any, everything is refused.
        timeout: seconds for one attempt.

    Returns:
        The actions by name.

    Raises:
        InvalidArgument: a host is no text.
    """
    allowed = hosts if isinstance(hosts, str) else check_iterable("http_actions", "hosts", hosts, "names of hosts")
    if isinstance(allowed, str) or not all(isinstance(host, str) and host for host in allowed):
        raise InvalidArgument("http_actions", "hosts", "names of hosts", hosts)
    known = frozenset(host.lower() for host in allowed)
    loaded: list[Any] = []  # httpx and the certificates, which take some hundred milliseconds once

    @action(timeout=timeout, tags=("http", "web"), category="http")
    async def http_request(
        url: str,
        method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET",
        headers: Mapping[str, str] | None = None,
        body: str | None = None,
    ) -> HTTPResponse:
        """Asks a server.

        Args:
            url: what to ask for, with `http://` or `https://`.
            method: how.
            headers: headers to send.
            body: the text to send.
        """
        try:
            httpx, certificates = loaded or await trio.to_thread.run_sync(_load)
        except ImportError as error:
            raise InvalidAction("HTTP needs httpx; install prunella[http]") from error
        loaded[:] = [httpx, certificates]
        try:
            target = httpx.URL(url)
        except (httpx.InvalidURL, ValueError):
            raise ActionError("the url cannot be read") from None
        host = target.host.lower()
        if target.scheme not in ("http", "https") or not {host, f"{host}:{target.port}"} & known:
            raise ActionNotAllowed(f"the host {host[:200]!r} is not open to this action")
        # Deadlines are those of the action; proxies and passwords of the environment are nobody's business.
        async with (
            httpx.AsyncClient(verify=certificates, timeout=None, trust_env=False, follow_redirects=False) as client,
            client.stream(method, target, headers=dict(headers or {}), content=body) as response,
        ):
            content = b""
            with trio.CancelScope() as enough:
                async for chunk in response.aiter_bytes():
                    content += chunk
                    if len(content) > _LARGEST:
                        # Not `break`: of the generators below only the outermost would be closed by that.
                        enough.cancel()
            if len(content) > _LARGEST:
                raise ActionError(f"{host} answered with more than {_LARGEST} bytes")
            if not response.is_success:
                status = response.status_code
                raise ActionError(
                    f"{host} answered with status {status}",
                    retryable=status in _ASK_AGAIN or status >= 500,
                    details={"status": status, "body": content[:1_000].decode(errors="replace")},
                )
            text = content.decode(response.encoding or "utf-8", errors="replace")
            return HTTPResponse(response.status_code, dict(response.headers), text)

    return MappingProxyType({http_request.name: http_request})


def _load() -> list[Any]:
    import httpx

    return [httpx, httpx.create_ssl_context()]
