from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, TypeVar, overload

from ..conversion import defining_namespace, summary
from ._errors import InvalidAction
from ._options import DEFAULT_BACKOFF, Options, checked_overrides
from ._signature import Kind, Signature, compile_signature
from ._undo import check_compensation

if TYPE_CHECKING:
    from ..supervision import Backoff

__all__ = ["Action", "Hooks", "action"]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Hooks:
    """What a class-based action does beside `run`; each is None if it is not there."""

    __slots__ = ("after_run", "after_validate", "before_validate")

    def __init__(self, owner: str, instance: object) -> None:
        self.before_validate = _hook(owner, instance, "before_validate")
        self.after_validate = _hook(owner, instance, "after_validate")
        self.after_run = _hook(owner, instance, "after_run")


def _hook(owner: str, instance: object, name: str) -> Callable[[Any], Any] | None:
    function = getattr(instance, name, None)
    if function is None:
        return None
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise InvalidAction(f"{owner}: {name} is a plain method of one argument, it cannot wait")
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        raise InvalidAction(f"{owner}: {name} is called with one argument: {error}") from None
    hook: Callable[[Any], Any] = function
    return hook


class Action(Generic[P, R_co]):
    """A named, validated function that does real work; made by `action`, never directly.

    Called directly it is the plain function: nothing is validated, timed or tried again. `run` does all that.

    Attributes:
        name: its name, for catalogs, tools and telemetry.
        description: what it does; the first paragraph of the docstring if nothing else is said.
        tags: words to find it by.
        category: what it belongs to.
        version: of the action.
        options: how it is run, where the run does not say otherwise.
        max_concurrency: how many runs of it there may be at a time in one runner; None for no limit.
        kind: how it does its work.
        signature: its parameters and its result.
        function: the plain function.
    """

    def __init__(
        self,
        name: str,
        function: Callable[P, R_co],
        kind: Kind,
        signature: Signature,
        options: Options,
        *,
        description: str = "",
        tags: tuple[str, ...] = (),
        category: str | None = None,
        version: str | None = None,
        max_concurrency: int | None = None,
        hooks: Hooks | None = None,
        docstring: str | None = None,
    ) -> None:
        functools.update_wrapper(self, function, updated=())
        if docstring is not None:
            self.__doc__ = docstring
        self.name = name
        self.function = function
        self.kind = kind
        self.signature = signature
        self.options = options
        self.description = description
        self.tags = tags
        self.category = category
        self.version = version
        self.max_concurrency = max_concurrency
        self.hooks = hooks
        if kind is Kind.ASYNC and sys.version_info >= (3, 12):
            inspect.markcoroutinefunction(self)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        return self.function(*args, **kwargs)

    @functools.cached_property
    def input_schema(self) -> dict[str, Any]:
        """The JSON Schema (draft 2020-12) of its parameters."""
        return self.signature.fields.schema()

    @functools.cached_property
    def output_schema(self) -> dict[str, Any]:
        """The JSON Schema (draft 2020-12) of its result."""
        return self.signature.output_schema()

    def check_options(self, options: Options) -> None:
        """Refuses options of a run that do not fit this action."""
        if options.compensate is not None and options.compensate is not self.options.compensate:
            check_compensation(self.name, options.compensate, (*self.signature.parameters, *self.signature.handed_in))

    def __reduce__(self) -> str:
        return self.__qualname__  # found again by name, as a function is

    def __repr__(self) -> str:
        return f"<Action {self.name!r}>"

    if TYPE_CHECKING:
        __name__: str
        __qualname__: str


class _Decorator:
    """What `action(...)` returns: turns a function, or a class with a method `run`, into an action."""

    if TYPE_CHECKING:

        def __call__(self, function: Callable[P, R]) -> Action[P, R]: ...


@overload
def action(function: Callable[P, R], /) -> Action[P, R]: ...
@overload
def action(
    *,
    name: str | None = None,
    description: str | None = None,
    tags: tuple[str, ...] | list[str] = (),
    category: str | None = None,
    version: str | None = None,
    timeout: float | None = None,
    total_timeout: float | None = None,
    retries: int = 0,
    backoff: Backoff = DEFAULT_BACKOFF,
    idempotent: bool = False,
    cpu: bool = False,
    compensate: Callable[..., Any] | None = None,
    compensate_timeout: float = 5.0,
    open: bool = False,
    max_concurrency: int | None = None,
) -> _Decorator: ...
def action(
    function: Any = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    tags: tuple[str, ...] | list[str] = (),
    category: str | None = None,
    version: str | None = None,
    timeout: float | None = None,
    total_timeout: float | None = None,
    retries: int = 0,
    backoff: Backoff = DEFAULT_BACKOFF,
    idempotent: bool = False,
    cpu: bool = False,
    compensate: Callable[..., Any] | None = None,
    compensate_timeout: float = 5.0,
    open: bool = False,
    max_concurrency: int | None = None,
) -> Any:
    """Makes an action of a function: sync, async or an async generator; or of a class with a method `run`.

    Args:
        name: letters, digits, `_` and `-`, at most 64; the function's name if left out.
        description: what it does, for people and models; the docstring's first paragraph if left out.
        tags: words to find it by.
        category: what it belongs to.
        version: of the action.
        timeout: seconds for one attempt; None for no limit.
        total_timeout: seconds for all attempts and the waits between them; None for no limit.
        retries: further attempts, after failures that are worth it.
        backoff: the waits between attempts.
        idempotent: whether a second attempt does no harm after one that took too long.
        cpu: runs a sync function of a module in a worker process, which is killed when the run is cancelled
            (extra ``prunella[actions]``).
        compensate: a function, sync or async, that undoes what a failed run may have done. It takes any of the
            action's parameters by name, defaults too, and `error`. A sync one runs where the action does: in a thread
            if that is sync, else in the event loop, where it must not block.
        compensate_timeout: seconds for that.
        open: hands unknown keys to `**rest`; else they are refused.
        max_concurrency: how many runs of it there may be at a time in one runner; further ones wait. One that would
            wait for a run that it is itself inside of is refused.

    Raises:
        InvalidAction: something about it is wrong.
    """
    namespace = defining_namespace(1)
    given = {
        "timeout": timeout,
        "total_timeout": total_timeout,
        "retries": retries,
        "backoff": backoff,
        "idempotent": idempotent,
        "compensate": compensate,
        "compensate_timeout": compensate_timeout,
    }

    def decorate(decorated: Any) -> Action[..., Any]:
        owner = _owner(decorated)
        plain, hooks = decorated, None
        options = dict(given)
        if isinstance(decorated, type):
            instance = _instance(owner, decorated)
            plain, hooks = instance.run, Hooks(owner, instance)
            options["compensate"] = compensate or getattr(instance, "compensate", None)
        if not isinstance(open, bool):
            raise InvalidAction(f"{owner}: open must be True or False, got {open!r:.80}")
        kind = _kind(owner, plain, cpu=cpu)
        chosen = decorated.__name__ if name is None else name
        check_name(owner, chosen)
        docstring = inspect.getdoc(decorated)
        signature = compile_signature(owner, plain, kind, docstring, open=open, namespace=namespace)
        checked = checked_overrides(owner, options)
        if options["compensate"] is not None:
            check_compensation(owner, checked["compensate"], (*signature.parameters, *signature.handed_in))
        described = summary(docstring) if description is None else description
        check_labels(owner, described, tags, category, version, max_concurrency)
        made: Action[..., Any] = Action(
            chosen,
            plain,
            kind,
            signature,
            Options(**checked),
            description=described,
            tags=tuple(tags),
            category=category,
            version=version,
            max_concurrency=max_concurrency,
            hooks=hooks,
            docstring=docstring,
        )
        if isinstance(decorated, type):
            made.__name__, made.__qualname__ = decorated.__name__, decorated.__qualname__
            made.__module__ = decorated.__module__
        return made

    return decorate if function is None else decorate(function)


def check_name(owner: str, name: object) -> None:
    """Refuses a name that a tool could not have."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidAction(f"{owner}: a name is 1 to 64 letters, digits, '_' and '-', got {name!r:.100}")


def check_labels(
    owner: str, description: object, tags: object, category: object, version: object, max_concurrency: object
) -> None:
    """Refuses labels that are of another kind."""
    for field, value in (("description", description), ("category", category), ("version", version)):
        if value is not None and not isinstance(value, str):
            raise InvalidAction(f"{owner}: {field} must be a text, got a {type(value).__name__}")
    if not isinstance(tags, tuple | list) or not all(isinstance(tag, str) and tag for tag in tags):
        raise InvalidAction(f"{owner}: tags must be a tuple of texts, got {tags!r:.80}")
    check_concurrency(owner, max_concurrency)


def check_concurrency(owner: str, value: object) -> None:
    """Refuses a limit that is none."""
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise InvalidAction(
            f"{owner}: max_concurrency must be a whole number of at least 1, or None, got {value!r:.80}"
        )


def _owner(decorated: object) -> str:
    if isinstance(decorated, Action):
        raise InvalidAction(f"{decorated.name!r} is an action already")
    if not isinstance(decorated, type | FunctionType):
        raise InvalidAction(f"an action is made of a function or a class, not of a {type(decorated).__name__}")
    return decorated.__qualname__


def _instance(owner: str, cls: type) -> Any:
    if not callable(getattr(cls, "run", None)):
        raise InvalidAction(f"{owner}: a class that is an action has a method run")
    try:
        return cls()
    except Exception as error:
        raise InvalidAction(
            f"{owner}: it is made without arguments when it is defined, and that failed: {error}"
        ) from error


def _kind(owner: str, function: Callable[..., Any], *, cpu: bool) -> Kind:
    if inspect.isasyncgenfunction(function):
        kind = Kind.STREAM
    elif inspect.iscoroutinefunction(function):
        kind = Kind.ASYNC
    elif inspect.isgeneratorfunction(function):
        raise InvalidAction(f"{owner}: a generator is no action; make it an async one, or return a tuple")
    else:
        kind = Kind.SYNC
    if not isinstance(cpu, bool):
        raise InvalidAction(f"{owner}: cpu must be True or False, got {cpu!r:.80}")
    if not cpu:
        return kind
    if kind is not Kind.SYNC:
        raise InvalidAction(f"{owner}: cpu=True is for sync functions; what waits needs no process")
    if not isinstance(function, FunctionType) or function.__name__ != function.__qualname__:
        raise InvalidAction(f"{owner}: a worker process finds functions by name, so cpu=True needs one of a module")
    return Kind.PROCESS
