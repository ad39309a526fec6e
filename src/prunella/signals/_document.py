"""The attributes of a signal as the flat mapping that every format of CloudEvents writes, and back."""

from __future__ import annotations

from typing import Any

from ._attributes import parse_time, time_text
from ._errors import DecodeError, InvalidSignal
from ._signal import Signal

__all__ = ["SPECVERSION", "attributes_of", "signal_of"]

SPECVERSION = "1.0"


def attributes_of(signal: Signal) -> dict[str, Any]:
    """The attributes by name, without data, without those that are absent; time as text."""
    attributes: dict[str, Any] = {
        "specversion": SPECVERSION,
        "id": signal.id,
        "source": signal.source,
        "type": signal.type,
    }
    if signal.subject is not None:
        attributes["subject"] = signal.subject
    if signal.time is not None:
        attributes["time"] = time_text(signal.time)
    if signal.datacontenttype is not None:
        attributes["datacontenttype"] = signal.datacontenttype
    if signal.dataschema is not None:
        attributes["dataschema"] = signal.dataschema
    if signal.extensions:
        # A Map has an order of its own, which differs from process to process; the same signal shall be the
        # same bytes.
        for name in sorted(signal.extensions):
            attributes[name] = signal.extensions[name]
    return attributes


def signal_of(attributes: dict[str, Any], data: Any, path: str, prefix: str = "") -> Signal:
    """The signal that the attributes of a document describe; those nobody knows become extensions.

    Args:
        attributes: all of them, but no data; it is used up. `None` is absent.
        path: where in the document they stand.
        prefix: what the document puts before their names.

    Raises:
        DecodeError: one is missing or wrong.
    """

    def refuse(name: str, problem: str) -> DecodeError:
        step = prefix + name[:100]
        return DecodeError(f"{path}.{step}" if path else step, problem)

    version = attributes.pop("specversion", None)
    if version != SPECVERSION or not isinstance(version, str):
        raise refuse("specversion", f'expected "{SPECVERSION}", got {"nothing" if version is None else "another"}')
    required = []
    for name in ("type", "source", "id"):
        value = attributes.pop(name, None)
        if value is None:
            raise refuse(name, "it is missing")
        required.append(value)
    type, source, id = required
    time = attributes.pop("time", None)
    if time is not None:
        if not isinstance(time, str):
            raise refuse("time", f"expected text, got {time.__class__.__name__}")
        try:
            time = parse_time(time)
        except ValueError as error:
            raise refuse("time", f"expected {error}, got other text") from None
    pop = attributes.pop
    try:
        return Signal(
            type,
            data,
            source=source,
            id=id,
            time=time,
            subject=pop("subject", None),
            datacontenttype=pop("datacontenttype", None),
            dataschema=pop("dataschema", None),
            extensions={name: value for name, value in attributes.items() if value is not None},
        )
    except InvalidSignal as error:
        if error.field == "extensions":
            raise refuse(str(error.got), f"expected a name {error.expected[6:]}") from None
        name = error.field.removeprefix("extensions.")
        raise refuse(name, f"expected {error.expected}, got {_got(error.got)}") from None


def _got(value: object) -> str:
    return "other text" if isinstance(value, str) else f"a value of type {value.__class__.__name__}"
