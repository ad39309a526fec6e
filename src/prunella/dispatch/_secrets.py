from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import iscoroutinefunction
from typing import TypeAlias, final

from ..conversion import Map
from ..errors import InvalidArgument
from ..signals._errors import Words

__all__ = ["SecretSource", "Secrets", "UnknownSecret"]

SecretSource: TypeAlias = Mapping[str, bytes] | Callable[[str], bytes]


class UnknownSecret(InvalidArgument):
    """Nobody knows a secret of this name. It shows the names that are known, and no secret."""


@final
class Secrets:
    """Finds secrets by name. Neither its repr nor its errors show one, nor a name that it does not know.

    A name that nobody knows may be a secret that somebody took for one.

    Args:
        source: a mapping, or a plain function of a name.
        owner: what it was given to.

    Raises:
        InvalidArgument: it is neither, or the mapping has other things than names and non-empty bytes.
    """

    __slots__ = ("_source",)

    def __init__(self, source: SecretSource, owner: str) -> None:
        self._source: SecretSource
        if isinstance(source, Mapping):
            for name, secret in source.items():
                if not isinstance(name, str) or not isinstance(secret, bytes) or not secret:
                    raise InvalidArgument(owner, "secrets", "names and non-empty bytes", (type(name), type(secret)))
            self._source = Map(source)
        elif callable(source) and not iscoroutinefunction(source):
            self._source = source
        else:
            raise InvalidArgument(owner, "secrets", "a mapping, or a plain function of a name", type(source))

    def resolve(self, secret: bytes | str) -> bytes:
        """The secret itself: it, or what has this name.

        Raises:
            UnknownSecret: nothing has this name.
            Exception: what the function raised that was to know it.
        """
        if isinstance(secret, bytes):
            return secret
        if isinstance(self._source, Mapping):
            found = self._source.get(secret)
            known = ", ".join(map(repr, sorted(self._source))) or "none"
            expected = f"a name that secrets= has ({known})"
        else:
            found = self._source(secret)
            expected = "a name for which the function secrets= returns bytes"
        if not isinstance(found, bytes) or not found:
            raise UnknownSecret("WebhookTarget", "secret", expected, Words("another"))
        return found

    def __repr__(self) -> str:
        return "<Secrets>"
