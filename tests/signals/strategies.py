"""Signals of every valid kind, and what they are made of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from prunella.signals import Signal

CORE_NAMES = {"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data"}

attribute_texts = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=20)
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
json_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
json_values: st.SearchStrategy[Any] = st.recursive(
    json_scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
extension_names = st.text("abcxyz019", min_size=1, max_size=8).filter(lambda name: name not in CORE_NAMES)
extension_values = st.booleans() | st.integers(-(2**31), 2**31 - 1) | attribute_texts
content_types = st.sampled_from(
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/vnd.x+json",
        "text/json",
        "text/plain",
        "text/plain; charset=utf-8",
        "text/plain; charset=latin-1",
        "application/octet-stream",
        "application/xml",
        "application/cloudevents+json",
        " padded ",
        "ünusual",
    ]
)
zones = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=23, minutes=59))])
times = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=zones)


@st.composite
def signals(draw: st.DrawFn, extension_values: st.SearchStrategy[Any] = extension_values) -> Signal:
    optional: dict[str, Any] = {}
    for name in ("subject", "dataschema"):
        optional[name] = draw(st.none() | attribute_texts)
    for name, values in {
        "id": attribute_texts,
        "time": st.none() | times,
        "datacontenttype": st.none() | content_types,
    }.items():
        if draw(st.booleans()):
            optional[name] = draw(values)
    return Signal(
        draw(attribute_texts),
        draw(json_values | st.binary(max_size=20)),
        source=draw(attribute_texts),
        extensions=draw(st.dictionaries(extension_names, extension_values, max_size=3)),
        **optional,
    )
