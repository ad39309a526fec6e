from __future__ import annotations

import random
from datetime import datetime
from typing import Any, Final, final
from urllib.parse import quote

import trio

from .. import signals
from .._time import WallClock
from ..telemetry import Listeners
from ._breaker import Admission, Breaker, Breakers, CircuitBreaker
from ._client import Client
from ._delivery import Delivery
from ._errors import DispatchError, MissingExtra, Reason, dispatch_error
from ._events import AttemptFailed, CircuitChanged
from ._http_targets import HTTPTarget, Origin, WebhookTarget
from ._retry import Outcome, delay_before_next
from ._secrets import Secrets, UnknownSecret
from ._signature import EVENT, SIGNATURE, TIMESTAMP, signature

__all__ = ["HTTPSender"]

_SECONDS_TO_CLOSE: Final = 5.0


@final
class HTTPSender:
    """Sends signals over HTTP: what a dispatcher owns for that, and gives back when it is closed.

    It has no task: everything happens in those of its callers.
    """

    def __init__(
        self,
        breaker: CircuitBreaker,
        allowed: frozenset[str] | None,
        secrets: Secrets,
        clock: WallClock,
        telemetry: Listeners,
    ) -> None:
        self._client = Client()
        self._breakers: Breakers[Origin] = Breakers(breaker)
        self._allowed = allowed
        self._secrets = secrets
        self._clock = clock
        self._telemetry = telemetry
        self._random = random.Random()
        self._closed = False
        self._under_way: set[trio.CancelScope] = set()
        self._quiet = trio.Event()

    async def send(self, signal: signals.Signal, target: HTTPTarget, delivery: Delivery) -> None:
        """Delivers a signal, however many attempts that takes; they are counted in `delivery`.

        Raises:
            DispatchError: it could not be delivered.
        """
        if self._allowed is not None and target.origin.host not in self._allowed:
            raise DispatchError(delivery.given, Reason.NOT_ALLOWED, attempts=0)
        with trio.CancelScope() as scope:
            self._under_way.add(scope)
            if self._closed:
                scope.cancel()
            try:
                await self._send(signal, target, delivery)
                return
            finally:
                self._under_way.discard(scope)
                if self._closed and not self._under_way:
                    self._quiet.set()
        # Only `aclose` cancels that scope.
        raise DispatchError(delivery.given, Reason.CLOSED, attempts=delivery.attempts)

    async def aclose(self) -> None:
        """Cancels what is under way, waits for its end, and closes the connections; never longer than five seconds."""
        self._closed = True
        with trio.move_on_after(_SECONDS_TO_CLOSE, shield=True):
            if self._under_way:
                for scope in self._under_way:
                    scope.cancel()
                await self._quiet.wait()
            await self._client.aclose()

    async def _send(self, signal: signals.Signal, target: HTTPTarget, delivery: Delivery) -> None:
        given = delivery.given
        try:
            secret = self._secrets.resolve(target.secret) if isinstance(target, WebhookTarget) else None
            headers, body = signals.to_http(signal, mode=target.mode)
        except (UnknownSecret, signals.SignalError) as error:
            raise DispatchError(given, Reason.RAISED, attempts=0, problem=str(error)) from error
        except Exception as error:  # of a function that was to know the secret, and may show it
            raise DispatchError(given, Reason.RAISED, attempts=0) from error
        headers = {"user-agent": "prunella", **target.headers, **headers}
        if isinstance(target, WebhookTarget):
            headers[EVENT] = target.events.get(signal.type) or quote(signal.type, safe=_AS_THEY_ARE)
        try:
            await self._client.open()
        except ImportError as error:
            raise MissingExtra(given, Reason.RAISED, attempts=0) from error

        breaker = self._breakers.of(target.origin, trio.current_time())
        admission = self._admit(breaker, target.origin)
        if admission is None:
            seconds = breaker.seconds_left(trio.current_time())
            raise DispatchError(given, Reason.CIRCUIT_OPEN, attempts=0, retry_after=seconds)
        while True:
            delivery.attempts += 1
            outcome, cause = await self._attempt(delivery, target, headers, body, secret, breaker, admission)
            if outcome.reason is None:
                return
            delay = delay_before_next(outcome, delivery.attempts, target.retries, self._random.random())
            next_admission = None
            if delay is not None and breaker.openings == admission.openings:
                self._report_retry(delivery, outcome, delay)
                await trio.sleep(delay)
                if breaker.openings == admission.openings:
                    next_admission = self._admit(breaker, target.origin)
            if next_admission is None:
                raise _failure(outcome, delivery) from cause
            admission = next_admission

    async def _attempt(
        self,
        delivery: Delivery,
        target: HTTPTarget,
        headers: dict[str, str],
        body: bytes,
        secret: bytes | None,
        breaker: Breaker,
        admission: Admission,
    ) -> tuple[Outcome, Exception | None]:
        """One attempt, of which the breaker hears in any case."""
        try:
            if secret is not None:
                timestamp = str(int(self._now().timestamp()))
                headers[TIMESTAMP] = timestamp
                headers[SIGNATURE] = signature(secret, timestamp, body)
            outcome, cause = await self._client.exchange(
                target.method, target.url, headers, body, timeout=target.timeout, now=self._now
            )
        except BaseException as error:
            breaker.abandoned(admission)
            if isinstance(error, Exception):
                raise DispatchError(delivery.given, Reason.RAISED, attempts=delivery.attempts) from error
            raise
        before = breaker.state
        if outcome.counts:
            breaker.failed(admission, trio.current_time())
        else:
            breaker.succeeded(admission)
        self._report_circuit(breaker, target.origin, before)
        return outcome, cause

    def _admit(self, breaker: Breaker, origin: Origin) -> Admission | None:
        before = breaker.state
        admission = breaker.admit(trio.current_time())
        self._report_circuit(breaker, origin, before)
        return admission

    def _now(self) -> datetime:
        return self._clock.now(trio.current_time())

    def _report_circuit(self, breaker: Breaker, origin: Origin, before: Any) -> None:
        if breaker.state is not before and self._telemetry:
            self._telemetry.emit(CircuitChanged(time=trio.current_time(), origin=str(origin), state=breaker.state))

    def _report_retry(self, delivery: Delivery, outcome: Outcome, delay: float) -> None:
        if delivery.span is not None:
            assert outcome.reason is not None
            delivery.span.report(
                AttemptFailed,
                attempt=delivery.attempts,
                reason=outcome.reason,
                status=outcome.status,
                delay=delay,
            )


# As in the headers of CloudEvents: everything printable but the quote and the percent sign.
_AS_THEY_ARE: Final = "!#$&'()*+,/:;<=>?@[\\]^_`{|}~-."


def _failure(outcome: Outcome, delivery: Delivery) -> DispatchError:
    assert outcome.reason is not None
    return dispatch_error(
        delivery.given,
        outcome.reason,
        status=outcome.status,
        attempts=delivery.attempts,
        retryable=outcome.retryable,
        retry_after=outcome.retry_after,
    )
