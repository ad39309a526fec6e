from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import iscoroutinefunction
from typing import TypeAlias, final

from ..conversion import Map
from ..errors import InvalidArgument

__all__ = ["SecretSource", "Secrets"]

SecretSource: TypeAlias = Mapping[str, bytes] | Callable[[str], bytes]


@final
class Secrets:
    """Finds secrets by name. Neither its repr nor its errors show one, nor a name that it does not know.

    A name that nobody knows may be a secret that somebody took for one.
    """

    __slots__ = ("_source",)

    def __init__(self, source: SecretSource) -> None:
        self._source: SecretSource
        if isinstance(source, Mapping):
            for name, secret in source.items():
                if not isinstance(name, str) or not isinstance(secret, bytes) or not secret:
                    raise InvalidArgument(
                        "open_dispatcher", "secrets", "names and non-empty bytes", (type(name), type(secret))
                    )
            self._source = Map(source)
        elif callable(source) and not iscoroutinefunction(source):
            self._source = source
        else:
            raise InvalidArgument(
                "open_dispatcher", "secrets", "a mapping, or a plain function of a name", type(source)
            )

    def resolve(self, secret: bytes | str) -> bytes:
        """The secret itself: it, or what has this name.

        Raises:
            InvalidArgument: nothing has this name.
            Exception: what the function raised that was to know it.
        """
        if isinstance(secret, bytes):
            return secret
        if isinstance(self._source, Mapping):
            found = self._source.get(secret)
            expected = f"the name of a secret that the dispatcher knows: {', '.join(sorted(self._source)) or 'none'}"
        else:
            found = self._source(secret)
            expected = "a name for which the function given as secrets= returns bytes"
        if not isinstance(found, bytes) or not found:
            raise InvalidArgument("WebhookTarget", "secret", expected, "another")
        return found

    def __repr__(self) -> str:
        return "<Secrets>"
