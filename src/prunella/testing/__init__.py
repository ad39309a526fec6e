"""What helps to test agents: assertions about directives, crashes on purpose, waiting until all is quiet.

What an agent decides is tested without any of the running parts, and without Trio:

.. code-block:: python

    from prunella import Agent, Emit, on
    from prunella.testing import assert_emits

    class Support(Agent, name="support"):
        open: tuple[str, ...] = ()

        @on("ticket.opened")
        def opened(self, ticket: str):
            return self.set(open=(*self.open, ticket)), Emit("ticket.accepted", {"ticket": ticket})

    agent, directives = Support().cmd("ticket.opened", ticket="T-1")
    assert agent.open == ("T-1",)
    assert_emits(directives, "ticket.accepted", {"ticket": "T-1"})

For agents that run there are the fixtures `runtime`, `signals` and `clock`. They are there in every test once
``prunella[testing]`` is installed: pytest finds the plugin by itself, and it turns strict mode on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._crash import InducedCrash as InducedCrash
    from ._crash import crash as crash
    from ._directives import assert_emits as assert_emits
    from ._directives import assert_replies as assert_replies
    from ._directives import assert_runs as assert_runs
    from ._directives import only as only
    from ._published import PublishedSignals as PublishedSignals
    from ._settle import settle as settle

# Resolved when they are first used: pytest loads the plugin, and with it this package, in every session there is, also
# in those that have nothing to do with agents; and the helpers that are pure must not bring Trio along.
_MODULES = {
    "InducedCrash": "_crash",
    "PublishedSignals": "_published",
    "assert_emits": "_directives",
    "assert_replies": "_directives",
    "assert_runs": "_directives",
    "crash": "_crash",
    "only": "_directives",
    "settle": "_settle",
}

__all__ = [*_MODULES]


if not TYPE_CHECKING:  # A type checker would take it as: the package has every attribute.

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
