from __future__ import annotations

import collections
import inspect
import sys
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, MutableSet
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from ..errors import DefinitionError

__all__ = ["check_immutable", "defining_namespace", "is_union", "resolve_annotations", "unwrapped"]

_INSTEAD: dict[Any, str] = {
    list: "tuple",
    collections.deque: "tuple",
    MutableSequence: "tuple",
    dict: "Mapping",
    collections.defaultdict: "Mapping",
    collections.OrderedDict: "Mapping",
    collections.Counter: "Mapping",
    MutableMapping: "Mapping",
    set: "frozenset",
    MutableSet: "frozenset",
    bytearray: "bytes",
}


def defining_namespace(depth: int = 1) -> dict[str, Any]:
    """The names that stand where a class is being made: globals and locals of that frame.

    Args:
        depth: how many frames above the caller the definition stands; frames of `__init_subclass__` and of
            metaclasses' `__new__` in between do not count.
    """
    frame = sys._getframe(depth + 1)
    while frame.f_code.co_name in ("__init_subclass__", "__new__", "__init__") and frame.f_back is not None:
        frame = frame.f_back
    return {**frame.f_globals, **frame.f_locals}


def resolve_annotations(
    definition: type | Callable[..., Any], *, namespace: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The annotations of a class (its bases' included) or a function, as types.

    Text is evaluated with the globals of the module, then with `namespace`; a class knows its own name.

    Args:
        definition: the class or function.
        namespace: further names, such as the locals of the function in which it is made.

    Raises:
        DefinitionError: an annotation does not resolve; the message names it, and says what to do.
    """
    resolved: dict[str, Any] = {}
    if not isinstance(definition, type):
        # Of a partial, a bound method or a decorated function the one underneath has the annotations.
        function = getattr(definition, "__func__", definition)
        names = getattr(function, "__globals__", None) or vars(sys.modules.get(function.__module__, sys))
        for name, annotation in getattr(function, "__annotations__", {}).items():
            resolved[name] = _resolved(function.__qualname__, name, annotation, names, namespace or {})
        return resolved
    for base in reversed(definition.__mro__):
        names = vars(sys.modules[base.__module__]) if base.__module__ in sys.modules else {}
        known = _known(base, definition, names, namespace or {})
        for name, annotation in inspect.get_annotations(base).items():
            resolved[name] = _resolved(definition.__qualname__, name, annotation, names, known)
    return resolved


def _known(base: type, definition: type, names: Mapping[str, Any], namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The names that an annotation in `base` can use beside the globals of its module."""
    known = {name: value for name, value in vars(base).items() if isinstance(value, type) and name not in names}
    if base.__module__ == definition.__module__:
        known |= namespace
    else:  # a base from elsewhere means its own module's names
        known |= {name: value for name, value in namespace.items() if name not in names}
    known |= {definition.__name__: definition, base.__name__: base}
    return known | {variable.__name__: variable for variable in getattr(base, "__type_params__", ())}


def _resolved(owner: str, name: str, annotation: Any, names: Mapping[str, Any], known: Mapping[str, Any]) -> Any:
    # The common case, which has no text in it; `list["Node"]` is a class too.
    if annotation is None or (isinstance(annotation, type) and get_origin(annotation) is None):
        return annotation
    holder = type("_Holder", (), {"__annotations__": {name: annotation}})
    try:
        return get_type_hints(holder, dict(names), dict(known), include_extras=True)[name]
    except Exception as error:
        text = annotation if isinstance(annotation, str) else repr(annotation)
        raise DefinitionError(
            f"{owner}: the annotation {text!r} of {name!r} does not resolve: {error}. "
            f"Import what it names outside TYPE_CHECKING, or define it before {owner}."
        ) from None


def check_immutable(owner: str, field: str, annotation: Any) -> None:
    """Refuses annotations whose values could be changed in place, also inside of others.

    Args:
        owner: the class, for the message.
        field: the field, for the message.
        annotation: its resolved annotation.

    Raises:
        DefinitionError: there is a `list`, `dict`, `set`, `bytearray` or the like in it; the message names
            what to write instead.
    """
    annotation = unwrapped(annotation)
    origin = get_origin(annotation)
    if origin is ClassVar or origin is Literal:
        return
    found = annotation if origin is None else origin
    instead = _INSTEAD.get(found) if isinstance(found, type) else None
    if instead is not None:
        raise DefinitionError(
            f"{owner}: {field!r} is annotated {found.__name__}, which can be changed in place; "
            f"write {instead} (tuple for list, Mapping for dict, frozenset for set, bytes for bytearray)"
        )
    if found is Callable or (isinstance(found, type) and issubclass(found, type)):
        return
    for part in get_args(annotation):
        check_immutable(owner, field, part)


def unwrapped(annotation: Any) -> Any:
    """An annotation without what says nothing about its values: `Annotated`, `Final`, `NewType`, aliases."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated or (not isinstance(origin, type) and getattr(origin, "__name__", None) in _QUALIFIERS):
            annotation = get_args(annotation)[0]
        elif hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":  # of Python 3.12
            annotation = annotation.__value__
        else:
            return annotation


_QUALIFIERS = frozenset({"Required", "NotRequired", "ReadOnly", "Final"})


def is_union(annotation: Any) -> bool:
    """Whether it is `A | B`, or `Union[A, B]`."""
    return get_origin(annotation) in (Union, UnionType)
