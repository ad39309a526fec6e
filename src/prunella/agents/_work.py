"""Directives that have work done beside the agent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, final

import attrs

from ..conversion import Map
from ..errors import InvalidArgument
from ._directive import (
    EMPTY,
    Directive,
    Event,
    callable_argument,
    choice,
    keyword_mapping,
    optional_text,
    positive_seconds,
    signal_type,
)
from ._order import Order, is_order

__all__ = ["RESTARTS", "Run", "SpawnTask"]

RESTARTS: Final = ("permanent", "transient", "temporary")


@final
@attrs.frozen(init=False)
class Run(Directive):
    """Runs an action; what comes of it comes back as signals.

    Args:
        action: an action, be it a function, a chain or a plan, or an `Instruction`; or a plain function, sync or
            async, or an async generator. It is called with `params` as keywords.
        params: its arguments; they are laid over those of an instruction.
        then: the type of the signal that brings its result: `{"result": value, **carry}`.
        catch: the type of the signal that tells of its failure: `{"error": {"type", "message", "retryable"},
            "attempts": n, **carry}`. Without it the error policy is asked.
        each: the type of the signals that bring what an async generator yields: `{"value": value, "index": i,
            **carry}`.
        carry: goes into the data of all of these; without it a handler cannot know which request a result
            belongs to.
        key: a name for `Cancel`; another directive with the key cancels this one.
        timeout: seconds for each attempt; `None` leaves it to the action.
        retries: further attempts: of an action after failures that are worth one, of a plain function after all.
            `None` leaves it to the action.

    Raises:
        InvalidArgument: one of these is of another kind.
    """

    action: Callable[..., Any] | Order
    params: Map[str, Any]
    then: str | None
    catch: str | None
    each: str | None
    carry: Map[str, Any]
    key: str | None
    timeout: float | None
    retries: int | None

    def __init__(
        self,
        action: Callable[..., Any] | Order,
        params: Mapping[str, Any] = EMPTY,
        /,
        *,
        then: Event | None = None,
        catch: Event | None = None,
        each: Event | None = None,
        carry: Mapping[str, Any] = EMPTY,
        key: str | None = None,
        timeout: float | None = None,
        retries: int | None = None,
    ) -> None:
        if retries is not None and (not isinstance(retries, int) or isinstance(retries, bool) or retries < 0):
            raise InvalidArgument("Run", "retries", "an int of at least 0, or None", retries)
        self.__attrs_init__(
            action if is_order(action) else callable_argument("Run", "action", action),
            keyword_mapping("Run", "params", params),
            signal_type("Run", "then", then),
            signal_type("Run", "catch", catch),
            signal_type("Run", "each", each),
            keyword_mapping("Run", "carry", carry),
            optional_text("Run", "key", key),
            positive_seconds("Run", "timeout", timeout),
            retries,
        )


@final
@attrs.frozen(init=False)
class SpawnTask(Directive):
    """Starts a task of the agent's own: it ends with the agent, and its crash stays its own.

    Args:
        function: an async function, called with `params` as keywords.
        params: its arguments.
        restart: `permanent`, `transient` or `temporary`: whether it is started again when it ends.
        catch: the type of the signal that tells of its failure. Without it the error policy is asked.

    Raises:
        InvalidArgument: one of these is of another kind.
    """

    function: Callable[..., Any]
    params: Map[str, Any]
    restart: str
    catch: str | None

    def __init__(
        self,
        function: Callable[..., Any],
        params: Mapping[str, Any] = EMPTY,
        /,
        *,
        restart: Literal["permanent", "transient", "temporary"] = "temporary",
        catch: Event | None = None,
    ) -> None:
        self.__attrs_init__(
            callable_argument("SpawnTask", "function", function),
            keyword_mapping("SpawnTask", "params", params),
            choice("SpawnTask", "restart", restart, RESTARTS),
            signal_type("SpawnTask", "catch", catch),
        )
