"""The running side of one address: its mailbox, its turns, and who waits for what comes of them.

A server outlives the lives of its agent: a crash, a restart of its group or of its supervisors touches neither the
mailbox nor a ref. It ends when the agent has ended for good. Nothing here waits; what waits is an effect.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trio.lowlevel import disable_ki_protection, enable_ki_protection

from ..agents import (
    Address,
    Agent,
    AgentCrashed,
    AgentError,
    AgentStopped,
    Context,
    Directive,
    InvalidSignalData,
    Rejected,
    Stop,
    UnhandledSignal,
)
from ..agents._turns import definition_of, take_turn
from ..signals import Signal
from ..storage import AgentKey
from ..supervision import Crashed, ExitReason, Normal, Shutdown
from ..supervision._reasons import captured
from ._delivery import Answer, Delivery, OpenAsk, Settling
from ._directives import begin_directive, knows_directive
from ._errors import Overflow, TooManyWaiters
from ._mailbox import Mailbox
from ._policy import EmitErrors, MaxErrors
from ._reason_data import reason_data

if TYPE_CHECKING:
    from ._bonds import Family
    from ._effect import Effect
    from ._life import AgentLife
    from ._reports import TurnSpan
    from ._runtime import Runtime
    from ._spec import AgentSpec

__all__ = ["OUR_CODE", "REFUSALS", "AgentServer", "Waiter", "decide", "settling_for"]

REFUSALS = (Rejected, UnhandledSignal, InvalidSignalData, Overflow)
"""A refused signal is no crash: the state stays, the caller is told, the error policy is asked."""

_MOST_WAITERS = 10_000


class Waiter:
    """Somebody who waits for a state."""

    __slots__ = ("notify", "predicate")

    def __init__(
        self, predicate: Callable[[Any], object], notify: Callable[[Any, BaseException | None], object]
    ) -> None:
        self.predicate = predicate
        self.notify = notify


class AgentServer(Mailbox):
    """What the runtime keeps of one address.

    Attributes:
        runtime: where it runs.
        spec: what it is.
        address: where it is to be found.
        agent: the last committed value.
        life: the present life; None between two, and when it has ended.
        last_life: the latest life, present or not.
        restarts: how many lives came before this one.
        reason: how the last life ended.
        ended: how it ended for good; None as long as it has not.
        family: its parent and children.
        effects: how many of its effects wait or run.
        errors: errors of this life, for `max_errors`.
        sequence: how many turns were committed.
        is_leaving: whether it leaves memory, and can come back.
        active_at: when it last had something to do; None if nobody wants to know.
        askers: how many callers wait for a reply to what they have asked it.
    """

    __slots__ = (
        "_asks", "_asks_policy", "_closing", "_is_stopped", "_waiters", "active_at", "address", "agent", "askers",
        "definition", "effects", "ended", "errors", "family", "is_leaving", "last_life", "life", "reason", "restarts",
        "runtime", "sequence", "spec",
    )  # fmt: skip

    def __init__(self, runtime: Runtime, spec: AgentSpec[Any], address: Address) -> None:
        super().__init__()
        self.runtime = runtime
        self.spec = spec
        self.address = address
        self.definition = definition_of(spec.agent)
        self.agent: Agent = spec._initial
        self.life: AgentLife | None = None
        self.last_life: AgentLife | None = None
        self.restarts = -1
        self.reason: ExitReason | None = None
        self.ended: ExitReason | None = None
        self.family: Family | None = None
        self.effects = 0
        self.errors = 0
        self.sequence = 0
        self.is_leaving = False
        self.active_at: float | None = None
        self.askers = 0
        self._closing: ExitReason | None = None
        self._is_stopped = False
        self._asks_policy = False
        self._waiters: dict[Waiter, None] | None = None
        self._asks: dict[OpenAsk, None] | None = None

    # Lives.

    def begin(self, life: AgentLife) -> None:
        """A new life begins."""
        if self.restarts < 0 or self.spec.restore == "fresh":
            self.agent = self.spec._initial
        self.restarts += 1
        self.errors = 0
        self.life = self.last_life = life
        if not self._is_stopped:
            self._closing = None
        if self.hears("prunella.started"):
            restored = self.restarts > 0 and self.spec.restore == "last"
            data = {"restarts": self.restarts, "reason": reason_data(self.reason), "restored": restored}
            self._put_first(self.runtime.families.first_signal(self, data))
        if self._control or self._inner or self._receive is not None:
            self._wake()
        if self._waiters is not None:
            self._tell_waiters()

    def life_over(self, reason: ExitReason) -> None:
        """The present life is over; what follows is its supervisor's to say."""
        self.life = None
        self.reason = reason
        if self._control is not None:
            # What the runtime had to tell this life is nothing to the next one.
            control, self._control = self._control, None
            for delivery in control:
                if delivery.signal.type in ("prunella.started", "prunella.stopping"):
                    continue
                self._control = self._control or deque()
                self._control.append(delivery)

    def end_for_good(self, reason: ExitReason) -> None:
        """The agent has ended for good: whoever waits is told at once."""
        if self.ended is not None:
            return
        self.ended = reason
        self.life = None
        self._drop_all()
        if self._receive is not None:
            self._receive.close()
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            waiter.notify(None, self.stopped_error())
        asks, self._asks = self._asks, None
        for ask in asks or ():
            ask.end(None, self.stopped_error())
        if self._inner_room is not None:
            self._inner_room.set()
        self.runtime.forget_server(self)

    def stopped_error(self) -> AgentStopped:
        """What a caller hears when it has ended, or is about to."""
        error = AgentStopped(self.ended or self._closing)
        error.address = self.address
        return error

    def about(self, error: Any) -> Any:
        """The error, with the address of this agent."""
        error.address = self.address
        return error

    def close(self, reason: ExitReason, *, by_itself: bool = False) -> None:
        """Refuses new signals, and answers those that wait: it is about to end for good.

        Args:
            reason: what its exit reason is going to be.
            by_itself: whether it has decided so itself; then a crash at the last moment still brings it back.
        """
        if self.ended is None:
            if self._closing is None:
                self._closing = reason
            self._is_stopped = self._is_stopped or not by_itself
            self._drop_all()
            self.runtime.room_in_outbox(self)

    @property
    def is_open(self) -> bool:
        """Whether signals are still taken."""
        return self.ended is None and self._closing is None

    def keep_ask(self, ask: OpenAsk) -> None:
        """Keeps an ask that it has opened: it ends with the agent, if not before."""
        if self._asks is None:
            self._asks = {}
        self._asks[ask] = None

    def forget_ask(self, ask: OpenAsk) -> None:
        """The ask has ended."""
        if self._asks is not None:
            self._asks.pop(ask, None)
            if not self._asks:
                self._asks = None

    # The mailbox.

    def is_idle(self) -> bool:
        """Whether a turn can be taken here and now, without overtaking anybody."""
        life = self.life
        return (
            life is not None
            and self._closing is None
            and not self._queued
            and not life.is_ending
            and not self.suspended
            and self.effects < self.spec.effects
        )

    @property
    def is_quiet(self) -> bool:
        """Whether nothing waits to be handled, and nobody waits for it; its effects apart."""
        life = self.life
        return life is not None and not life.is_ending and not (self.waiting or self._waiters or self._asks)

    @property
    def is_attached(self) -> bool:
        """Whether a caller waits for its reply, or for one that a schedule of it is to bring."""
        return self.askers > 0 or self.runtime.schedules.hold_ask(self.life)

    # Turns.

    @enable_ki_protection
    def handle(self, delivery: Delivery) -> None:
        """One turn: route, run the handlers, commit, hand the directives over. Never raises but an interrupt."""
        signal = delivery.signal
        context: Context | None = None
        runtime = self.runtime
        before = self.agent
        span = runtime.reports.turn_begins(self)

        def make_context() -> Context:
            nonlocal context
            context = runtime.context_of(self, signal)
            return context

        try:
            agent, directives = runtime.turn_context.run(decide, before, signal, make_context, runtime.strict)
            if directives:
                self._check(directives)
        except BaseException as error:
            self._fail(delivery, error, span, context)
        else:
            self._carry_out(delivery, before, agent, directives, span, context)

    @enable_ki_protection
    def call(self, signal: Signal) -> Agent:
        """A whole call, of an idle agent: one turn, and what its caller hears of it.

        Most turns have no directives, and nobody who listens: they need none of what `handle` is made for.

        Returns:
            The agent after it.

        Raises:
            AgentError: the turn was refused, or has crashed.
        """
        runtime = self.runtime
        if runtime.reports.telemetry or self.spec.debug:
            return self._call(signal)

        def make_context() -> Context:
            return runtime.context_of(self, signal)

        try:
            agent, directives = runtime.turn_context.run(decide, self.agent, signal, make_context, runtime.strict)
            if directives:
                self._check(directives)
        except BaseException as error:
            answer = Answer()
            self._fail(Delivery(signal, answer, keep=False), error, None, None)
            answer.taken()
            raise  # It cannot come to this: it was not answered.
        self._commit(agent)
        if directives:
            self._hand_over(directives, Delivery(signal, keep=False))
        return agent

    def _call(self, signal: Signal) -> Agent:
        answer = Answer()
        self.handle(Delivery(signal, answer, keep=False))
        agent: Agent = answer.taken()
        return agent

    def _carry_out(
        self,
        delivery: Delivery,
        before: Agent,
        agent: Agent,
        directives: tuple[Directive, ...],
        span: TurnSpan | None,
        context: Context | None,
    ) -> None:
        """Commits a turn, and does what follows from it."""
        signal = delivery.signal
        if span is not None:
            self.runtime.reports.record_turn(self, signal, context, before, agent, directives)
        self._commit(agent)
        if directives:
            self._hand_over(directives, delivery)
        answer = delivery.answer
        if answer is not None and not (directives and delivery.settle):
            answer.give(agent)
        if span is not None:
            self.runtime.reports.turn_ended(self, signal, span, "committed")

    def _fail(self, delivery: Delivery, error: BaseException, span: TurnSpan | None, context: Context | None) -> None:
        """A turn was refused, or has crashed; what it did is undone. An interrupt goes on to the root."""
        signal, reports = delivery.signal, self.runtime.reports
        if isinstance(error, REFUSALS):
            if span is not None:
                reports.record_turn(self, signal, context, self.agent, self.agent, error=error)
            self._refused(delivery, error)
            reports.turn_ended(self, signal, span, type(error).__name__, error)
        elif isinstance(error, KeyboardInterrupt | SystemExit):
            error.add_note(f"in a turn of agent {self.address}, on signal {signal.type}")
            reports.turn_ended(self, signal, span, "interrupted", error)
            raise error
        else:
            reports.turn_ended(self, signal, span, "crashed", error)
            self._crashed(delivery, error)

    def _check(self, directives: tuple[Directive, ...]) -> None:
        for directive in directives:
            if not knows_directive(self.runtime, directive):
                raise TypeError(f"there is no executor for {type(directive).__name__} in this runtime")
        waiting = self.effects + len(self._inner or ()) + len(directives)
        if waiting > 10 * self.spec.effects:
            raise self.about(Overflow(waiting, self.spec.effects))

    def _commit(self, agent: Agent) -> None:
        self.sequence += 1
        if self.active_at is not None:
            self.active_at = self.runtime.clock.now()
        if agent is not self.agent:
            self.agent = agent
            if self._waiters is not None:
                self._tell_waiters()

    def _hand_over(self, directives: tuple[Directive, ...], delivery: Delivery) -> None:
        settling: Settling | None = None
        if delivery.settle and delivery.answer is not None:
            settling = settling_for(self, delivery)
        life = self.life
        assert life is not None
        delivery.sequence = self.sequence
        life.hands_over()
        for index, directive in enumerate(directives):
            if isinstance(directive, Stop):
                life.end_by_itself(Normal() if directive.reason is None else Shutdown(directive.reason))
            else:
                begin_directive(self, life, directive, delivery, settling, index)
        if settling is not None:
            settling.end()
        life.has_handed_over()

    def _refused(self, delivery: Delivery, error: Any) -> None:
        self.about(error)
        self._told(delivery, error)
        self.apply_policy(error, delivery.signal)

    def _crashed(self, delivery: Delivery, error: BaseException) -> None:
        reason = Crashed(captured(error, skip=OUR_CODE))
        life = self.life
        assert life is not None
        self.runtime.reports.poison(self, delivery.signal, reason)
        life.crash(reason, delivery.signal.data)
        self._told(delivery, self.about(AgentCrashed(reason)))

    def _told(self, delivery: Delivery, error: AgentError) -> None:
        if delivery.answer is not None:
            delivery.answer.fail(error)
        if delivery.ask is not None:
            delivery.ask.error = error

    def apply_policy(self, error: Exception, signal: Signal | None) -> None:
        """Does what the error policy says about a refusal, or a directive that failed."""
        self.errors += 1
        policy = self.spec.error_policy
        life = self.life
        if policy == "log" or self._asks_policy:  # A policy is not asked about what it has asked for itself.
            self.runtime.reports.error(self, error, signal)
        elif policy == "stop":
            if life is not None:
                life.end_by_itself(Shutdown(error))
        elif isinstance(policy, MaxErrors):
            self.runtime.reports.error(self, error, signal)
            if life is not None and self.errors >= policy.number:
                life.end_by_itself(Shutdown(error))
        elif isinstance(policy, EmitErrors):
            if signal is not None and signal.type == policy.signal_type:
                # About its own report it must not report in turn: where it hears that itself, there would be no end.
                self.runtime.reports.error(self, error, signal)
                return
            data = {
                "agent": self.address.id,
                "error": {"type": type(error).__name__, "message": str(error)},
                "signal_type": None if signal is None else signal.type,
            }
            self.runtime.publish(self.runtime.signals.new(policy.signal_type, data))
        elif callable(policy):
            self._ask_policy(policy, error, signal)

    def _ask_policy(self, policy: Callable[..., Any], error: Exception, signal: Signal | None) -> None:
        from ..agents._turns import normalised

        try:
            result = self.runtime.turn_context.run(policy, self.agent, error)
            agent, directives = normalised(self.agent, result, title="the error policy")
            self._check(directives)
        except Exception as failure:
            self.runtime.reports.policy_failure(self, failure)
            return
        if self.spec.debug:
            about = self.runtime.signals.new("prunella.policy", {})
            self.runtime.reports.record_turn(self, about, None, self.agent, agent, directives)
        self._commit(agent)
        if directives and self.life is not None:
            self._asks_policy = True
            try:
                self._hand_over(directives, Delivery(signal or self.runtime.signals.new("prunella.policy", {})))
            finally:
                self._asks_policy = False

    # Effects under way, of which an agent that is durable takes note.

    @property
    def key(self) -> AgentKey:
        """What it is called beyond its runtime."""
        return AgentKey(self.runtime.name, self.address.partition, self.address.id)

    def derived_id(self, place: tuple[int, int], label: str = "") -> str | None:
        """The id of a signal that a directive sends, if it has to be the same whenever that is done."""
        return None

    def is_begun_again(self, place: tuple[int, int]) -> bool:
        """Whether a directive was begun before, in an earlier life or process, and perhaps done."""
        return False

    def effect_begins(self, effect: Effect) -> bool:
        """An effect begins; tells whether whoever waits for it has waited through an earlier try."""
        return False

    def effect_ends(self, effect: Effect) -> None:
        """It has been done, or has failed, or was called off."""

    def effect_stays_open(self, effect: Effect) -> None:
        """It was cut off by the end of a life, and is to be done by the next."""

    # Waiting for states.

    def add_waiter(self, waiter: Waiter) -> None:
        """Lets somebody wait for a state.

        Raises:
            TooManyWaiters: as many wait already as may.
        """
        if self._waiters is None:
            self._waiters = {}
        if len(self._waiters) >= _MOST_WAITERS:
            raise self.about(TooManyWaiters(_MOST_WAITERS))
        self._waiters[waiter] = None

    def remove_waiter(self, waiter: Waiter) -> None:
        """Harmless if it is gone."""
        if self._waiters is not None:
            self._waiters.pop(waiter, None)
            if not self._waiters:
                self._waiters = None

    def _tell_waiters(self) -> None:
        for waiter in tuple(self._waiters or ()):
            try:
                fulfilled = waiter.predicate(self.agent)
            except BaseException as error:
                self.remove_waiter(waiter)
                waiter.notify(None, error)
            else:
                if fulfilled:
                    self.remove_waiter(waiter)
                    waiter.notify(self.agent, None)


decide = disable_ki_protection(take_turn)
"""Decides one turn; Ctrl-C may come meanwhile, for it is the user's code that runs."""

OUR_CODE = frozenset({AgentServer.handle.__code__, AgentServer.call.__code__, take_turn.__code__})


def settling_for(server: AgentServer, delivery: Delivery) -> Settling:
    from ._errors import DirectiveFailed

    answer = delivery.answer
    assert answer is not None
    committed = server.agent

    def settled(failures: tuple[tuple[Directive, BaseException], ...]) -> None:
        if failures:
            answer.fail(server.about(DirectiveFailed(failures)))
        else:
            answer.give(committed)

    return Settling(settled)
