from __future__ import annotations

from ..errors import InvalidArgument

__all__ = ["ConversionError", "Mismatch", "step"]


class ConversionError(InvalidArgument):
    """A value from outside does not fit, or one from inside has no form as data. It never holds the value.

    As an `InvalidArgument` it has `field`, which is the path, `expected` and `got`.

    Args:
        path: where: `customer.visits[2]`, empty for the value as a whole.
        expected: what would have fitted, in words.
        got: the name of the type that came; "nothing" if it is missing.
    """

    got: str

    def __init__(self, path: str, expected: str, got: str) -> None:
        super().__init__("", path, expected, got)
        self.args = (path, expected, got)

    @property
    def path(self) -> str:
        """Where it is: the same as `field`."""
        return self.field

    def __str__(self) -> str:
        return f"{self.path or 'the value'}: expected {self.expected}, got {self.got}"


class Mismatch(Exception):
    """A `ConversionError` on its way out: each level that it passes adds its step to the path."""

    def __init__(self, expected: str, got: str, path: str = "") -> None:
        super().__init__(expected, got, path)
        self.expected = expected
        self.got = got
        self.path = path

    @classmethod
    def of(cls, expected: str, value: object) -> Mismatch:
        return cls(expected, "None" if value is None else type(value).__name__)

    def under(self, before: str) -> Mismatch:
        self.path = before + self.path
        return self

    def error(self) -> ConversionError:
        return ConversionError(self.path.removeprefix("."), self.expected, self.got)


def step(key: object) -> str:
    """A key as a step of a path. Keys come from outside too: bounded, quoted unless plain names."""
    if isinstance(key, str):
        return f".{key}" if key.isidentifier() and len(key) <= 40 else f"[{key[:40]!r}]"
    return f"[{repr(key)[:40]}]" if isinstance(key, (int, float)) else f"[a {type(key).__name__}]"
