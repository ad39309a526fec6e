from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

from ..errors import DefinitionError

__all__ = ["Migration", "compile_migrations", "migrate"]

Data = dict[str, Any]


@final
class Migration:
    """A function from the data of one version of a state to that of the next; a static method of the class."""

    def __init__(self, from_version: int, function: Callable[[Data], Data]) -> None:
        self.from_version = from_version
        self.function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: object, owner: type | None = None) -> Callable[[Data], Data]:
        return self.function


def migrate(from_version: int) -> Callable[[Callable[[Data], Data]], Migration]:
    """Declares how stored state of an older version becomes that of the next one.

    The function stands in the class body, takes plain data and returns plain data; it has no `self`::

        class Desk(Agent, name="desk", version=2):
            waiting: tuple[str, ...] = ()

            @migrate(1)
            def rename_open(data):
                return {"waiting": data["open"]}

    When a durable agent is started, its stored state is taken through all of them, from its version to that of the
    class, before it is converted; the result is stored as a turn ``prunella.migrated``. If that fails, the agent is
    quarantined and what is stored stays as it is; so it is with a state that is older than a gap in the chain.

    Args:
        from_version: the version that the data is of; the result is of the next.

    Raises:
        DefinitionError: that is no version, or what is decorated is no function.
    """
    if not isinstance(from_version, int) or isinstance(from_version, bool) or from_version < 1:
        raise DefinitionError(
            f"migrate() takes the version that data is of, an int of at least 1, got {from_version!r}"
        )

    def declare(function: Callable[[Data], Data]) -> Migration:
        inner = function.__func__ if isinstance(function, staticmethod) else function
        if not callable(inner) or isinstance(inner, (classmethod, Migration)):
            raise DefinitionError(f"migrate({from_version}) decorates a function of the data, got {inner!r}")
        return Migration(from_version, inner)

    return declare


def compile_migrations(cls: type, owner: str, version: int) -> Mapping[int, Callable[[Data], Data]]:
    """The migrations of a class by the version they begin at, its bases' included.

    There may be gaps: what is stored may be younger than they are.

    Raises:
        DefinitionError: two begin at one version, or one begins at the class's own version or later.
    """
    found: dict[int, Callable[[Data], Data]] = {}
    for base in reversed(cls.__mro__):
        own: dict[int, str] = {}
        for name, value in base.__dict__.items():
            if not isinstance(value, Migration):
                continue
            start = value.from_version
            if start in own:
                raise DefinitionError(f"{owner}: {own[start]!r} and {name!r} both migrate from version {start}")
            if base is cls and start >= version:
                raise DefinitionError(
                    f"{owner}: {name!r} migrates from version {start}, but the class is of version {version}; "
                    f"write version={start + 1} where the class is made"
                )
            own[start] = name
            found[start] = value.function
    chain = sorted(start for start in found if start < version)  # later ones are of bases with their own versions
    return {start: found[start] for start in chain}
