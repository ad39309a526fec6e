from __future__ import annotations

import math
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar, Final, NamedTuple

import attrs

from ..conversion import Map
from ..errors import InvalidArgument
from ..signals import HTTPMode

__all__ = ["HTTPMethod", "HTTPTarget", "Origin", "WebhookTarget"]

_LONGEST_URL: Final = 8_000
_LONGEST_TIMEOUT: Final = 60.0
_MOST_RETRIES: Final = 10

# Narrower than RFC 3986, so that no two parsers can disagree about which host it names: no credentials, no
# fragment, no backslash, nothing but ASCII (an international host is written in its `xn--` form).
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9](?:[a-z0-9._-]*)|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[!-\"$->@-\[\]-~]*)?(?P<query>\?[!-\"$-\[\]-~]*)?",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?|")

# What says how long a message is and who it is for is nobody's but the client's.
_FRAMING: Final = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class HTTPMethod(StrEnum):
    """The methods that carry a signal."""

    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"


class Origin(NamedTuple):
    """Who answers: scheme, host and port (RFC 6454)."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def _without_query(url: str) -> str:
    before, mark, _ = url.partition("?")
    return before + ("?…" if mark else "")


def _repr_of_url(url: str) -> str:
    return repr(_without_query(url))


def _names(headers: Mapping[str, str]) -> str:
    return repr(sorted(headers))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _method(value: Any) -> HTTPMethod:
    try:
        return HTTPMethod(value.upper())
    except (ValueError, AttributeError):
        raise InvalidArgument("HTTPTarget", "method", "'POST', 'PUT' or 'PATCH'", value) from None


def _mode(value: Any) -> HTTPMode:
    try:
        return HTTPMode(value)
    except ValueError:
        raise InvalidArgument("HTTPTarget", "mode", "'structured' or 'binary'", value) from None


def _headers(value: Any) -> Map[str, str]:
    if not isinstance(value, Mapping):
        raise InvalidArgument("HTTPTarget", "headers", "a mapping of names to values", type(value))
    headers: dict[str, str] = {}
    for name, text in value.items():
        if not isinstance(name, str) or not _TOKEN.fullmatch(name) or name.lower() in _FRAMING:
            raise InvalidArgument("HTTPTarget", "headers", "names of headers, none that frames the message", name)
        if not isinstance(text, str) or not _VALUE.fullmatch(text):
            raise InvalidArgument("HTTPTarget", f"headers[{name!r}]", "printable ASCII text", type(text))
        if name.lower() in headers:
            raise InvalidArgument("HTTPTarget", "headers", "names that differ by more than case", name)
        headers[name.lower()] = text
    return Map(headers)


def _events(value: Any) -> Map[str, str]:
    if not isinstance(value, Mapping):
        raise InvalidArgument("WebhookTarget", "events", "a mapping of signal types to event names", type(value))
    for type_, name in value.items():
        if not isinstance(type_, str) or not isinstance(name, str) or not name or not _VALUE.fullmatch(name):
            raise InvalidArgument("WebhookTarget", "events", "types and names of printable ASCII text", (type_, name))
    return Map(value)


@attrs.frozen
class HTTPTarget:
    """Sends the signal as a CloudEvent over HTTP; an answer of 2xx means that it is delivered.

    Connection errors, timeouts and the statuses 408, 425, 429 and 5xx are tried again, after a delay that doubles
    and has jitter, or after what `Retry-After` asks for if that is longer. So a receiver may get a signal more
    than once; its id tells. Redirects are not followed. What the library itself puts into the headers
    (`content-type`, those of CloudEvents) goes before `headers`.

    Args:
        url: http or https; without credentials and fragment, in ASCII.
        method: `POST`, `PUT` or `PATCH`.
        headers: further headers. Their values are shown in no repr.
        timeout: seconds for one attempt, at most 60.
        retries: how many further attempts there may be after the first, at most 10.
        mode: `structured` (all of the signal in the body) or `binary` (attributes as headers).

    Raises:
        InvalidArgument: one of these is not so.
    """

    _dispatch_kind: ClassVar[str] = "http"
    _written_fields: ClassVar[tuple[str, ...]] = ("url", "method", "headers", "timeout", "retries", "mode")

    url: str = attrs.field(repr=_repr_of_url)
    method: HTTPMethod = attrs.field(default=HTTPMethod.POST, kw_only=True, converter=_method)
    headers: Mapping[str, str] = attrs.field(
        factory=dict,
        kw_only=True,
        converter=_headers,
        repr=_names,
    )
    timeout: float = attrs.field(default=5.0, kw_only=True)
    retries: int = attrs.field(default=2, kw_only=True)
    mode: HTTPMode = attrs.field(default=HTTPMode.STRUCTURED, kw_only=True, converter=_mode)
    origin: Origin = attrs.field(init=False, eq=False, repr=False)
    """Who the signal goes to."""

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "origin", _origin(self._owner, self.url))
        timeout, retries = self.timeout, self.retries
        if not _is_number(timeout) or not 0 < timeout <= _LONGEST_TIMEOUT:
            raise InvalidArgument(self._owner, "timeout", "a number of seconds, above 0 and at most 60", timeout)
        if not isinstance(retries, int) or isinstance(retries, bool) or not 0 <= retries <= _MOST_RETRIES:
            raise InvalidArgument(self._owner, "retries", "an int from 0 to 10", retries)

    @property
    def _owner(self) -> str:
        return type(self).__name__

    def __str__(self) -> str:
        return f"{self._dispatch_kind} {self.method} {_without_query(self.url)}"


@attrs.frozen
class WebhookTarget(HTTPTarget):
    """Sends the signal like an `HTTPTarget`, and signs it, so that the receiver knows whom it is from.

    Three headers say so, and `headers` cannot replace them: `x-webhook-timestamp` (Unix seconds, of each attempt),
    `x-webhook-event` (the signal's type, or what `events` has for it), and `x-webhook-signature`, the HMAC-SHA256
    over ``timestamp + "." + body`` in hexadecimal digits. `verify` is the receiver's side.

    Args:
        secret: the key as `bytes`, or the name of one that the dispatcher knows. It is in no repr. Where targets
            are stored, use a name.
        events: event names by signal type.

    Raises:
        InvalidArgument: one of these is not so.
    """

    _dispatch_kind: ClassVar[str] = "webhook"
    _written_fields: ClassVar[tuple[str, ...]] = (*HTTPTarget._written_fields, "secret", "events")

    secret: bytes | str = attrs.field(kw_only=True, repr=False)
    events: Mapping[str, str] = attrs.field(factory=dict, kw_only=True, converter=_events)

    def __attrs_post_init__(self) -> None:
        HTTPTarget.__attrs_post_init__(self)
        if not isinstance(self.secret, bytes | str) or not self.secret:
            # Its type only: what came may well be the secret.
            raise InvalidArgument(self._owner, "secret", "bytes, or the name of a secret, not empty", type(self.secret))

    __str__ = HTTPTarget.__str__


def _origin(owner: str, url: object) -> Origin:
    match = _URL.fullmatch(url) if isinstance(url, str) and len(url) <= _LONGEST_URL else None
    if match is None:
        # Not the text itself: it may hold credentials.
        raise InvalidArgument(
            owner,
            "url",
            "an http or https URL in ASCII, without credentials, spaces or fragment",
            type(url) if not isinstance(url, str) else f"one of {len(url)} characters that is not",
        )
    scheme = match["scheme"].lower()
    port = int(match["port"]) if match["port"] else 443 if scheme == "https" else 80
    if not 0 < port < 65_536:
        raise InvalidArgument(owner, "url", "a URL with a port from 1 to 65535", port)
    return Origin(scheme, match["host"].lower().strip("[]"), port)
