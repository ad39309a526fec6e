"""The running side of a durable agent: what it decides counts, and is seen, when it is written.

Turns are decided one after another as they are everywhere, on a state that may not be written yet. They wait in the
ledger, the journal writes them, and `publish` does what follows, in their order: the state, the answers, the effects.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trio.lowlevel import enable_ki_protection

from ..agents import (
    Address,
    Agent,
    AgentCrashed,
    AgentError,
    AgentStopped,
    Context,
    Directive,
    Fenced,
    Reply,
    RestoreFailed,
    Run,
    Stop,
    UnhandledSignal,
)
from ..agents._turns import changed_fields, normalised, visible
from ..errors import PrunellaError
from ..signals import Signal
from ..storage import (
    AgentKey,
    DeadLetter,
    ScheduleRecord,
    StorageError,
    StoredAgent,
    StoredSignal,
    commit_of,
    directive_id,
)
from ..supervision import Crashed, ExitReason, Shutdown
from ..supervision._reasons import captured
from ._alarms import Alarms
from ._delivery import Delivery
from ._draft import Decided
from ._durable_mailbox import DurableMailbox
from ._errors import Overflow
from ._ledger import POLICY, RESTORED, Ledger
from ._open_directives import OpenDirectives
from ._reason_data import reason_data
from ._server import OUR_CODE, REFUSALS, decide, settling_for

if TYPE_CHECKING:
    from ._effect import Effect
    from ._journal import Journal
    from ._life import AgentLife
    from ._runtime import Runtime
    from ._spec import AgentSpec

__all__ = ["DurableServer"]


class DurableServer(DurableMailbox):
    """What the runtime keeps of the address of a durable agent.

    Attributes:
        policy: how its turns are kept.
        journal: what writes them.
        open: what is decided and not done.
        alarms: its schedules.
        code: which code decides.
        claim: the number of its owner's claim.
        mark: where it is noted which stored signal is in a turn; None where the storage has no such thing.
        killer: the id of a signal in whose turns enough processes were killed: it goes to the dead letters.
        is_loaded: whether its state was read.
        is_recorded: whether its spec is stored, so that it is started again by itself.
        was_recorded: whether it was before this start.
        to_restore: what of its schedules changes by coming back, and is not decided yet.
    """

    __slots__ = (
        "_crashed_turn", "_is_restored", "_key", "alarms", "claim", "code", "is_loaded",
        "is_recorded", "journal", "killer", "mark", "open", "policy", "to_restore", "was_recorded",
    )  # fmt: skip

    def __init__(self, runtime: Runtime, spec: AgentSpec[Any], address: Address) -> None:
        super().__init__(runtime, spec, address)
        assert runtime.durability is not None
        assert spec.durability is not None
        self.policy = spec.durability
        self.journal: Journal = runtime.durability.journal
        self.ledger = Ledger(self, self.agent)
        self.open = OpenDirectives(self)
        self.alarms = Alarms(self)
        self.code = runtime.durability.code_of(spec.agent)
        self.mark = runtime.durability.mark
        self.killer: str | None = None
        self.claim = 0
        self.is_loaded = False
        self.is_recorded = False
        self.was_recorded = True
        self.to_restore: dict[str, ScheduleRecord | None] = {}
        self._key = AgentKey(runtime.name, address.partition, address.id)
        self._is_restored = False
        self._crashed_turn: tuple[Delivery, Crashed] | None = None

    @property
    def key(self) -> AgentKey:
        """What it is called in the storage."""
        return self._key

    def directive_id(self, place: tuple[int, int]) -> str:
        """The id of one of its directives."""
        return directive_id(self._key, *place)

    # Coming back.

    def restore(self, agent: Agent, sequence: int, stored: StoredAgent) -> None:
        """Takes over what was stored. Nothing is done yet; the life that follows begins with it.

        Raises:
            RestoreFailed: something of it cannot be read.
        """
        self.alarms = Alarms(self)
        self.open = OpenDirectives(self)
        try:
            self.to_restore = self.alarms.restore(stored.schedules, [each.signal for each in stored.waiting])
            self.open.restore(stored.directives, RESTORED)
        except PrunellaError as error:
            raise RestoreFailed(f"what was decided cannot be read: {error}") from error
        self.agent = agent
        self.sequence = sequence
        self.ledger.begin(agent, sequence, sequence if stored.snapshot is None else stored.snapshot.sequence)
        self._is_restored = True

    def begins_first(self) -> None:
        """It is the first start ever."""
        self.to_restore = self.alarms.restore((), ())

    def begin(self, life: AgentLife) -> None:
        restored = self._is_restored or self.restarts >= 0
        self.restarts += 1
        self.errors = 0
        self.life = self.last_life = life
        if not self._is_stopped:
            self._closing = None
        if self.quarantine is not None:
            return
        if self.restarts:
            self.to_restore = self.alarms.declared_again()
        if self.hears("prunella.started"):
            data = {"restarts": self.restarts, "reason": reason_data(self.reason), "restored": restored}
            self._put_first(self.runtime.families.first_signal(self, data))
        self._restored_turn()
        self.alarms.arm()
        self.open.begin_all()
        if self.mail.is_suspicious:
            life.begin_suspects()  # type: ignore[attr-defined]  # it is durable
        if self.waiting or self.ledger.has_unwritten:
            self._wake()
            self.ledger.dirty()
        if self._waiters is not None:
            self._tell_waiters()

    def begin_open(self) -> None:
        """Begins what is to be done: everybody to whom it may be sent is known."""
        self.open.begin_all()

    def _restored_turn(self) -> None:
        """What changes by its coming back is a turn of its own."""
        changes, self.to_restore = self.to_restore, {}
        if changes:
            turn = self._turn(Delivery(self.runtime.signals.new(RESTORED, {})))
            turn.schedules = changes
            self._write(turn)

    def released(self) -> None:
        """It was quarantined, and can be read again."""
        self.quarantine = None
        life = self.life
        if life is not None:
            self.restarts -= 1
            self.begin(life)

    def never_began(self, failure: BaseException | None) -> None:
        """Its first life could not begin: there is no such agent. Whoever waits for it is told why."""
        if self.restarts >= 0:
            return
        if self.ended is None:
            known = isinstance(failure, AgentError | StorageError)
            error: Any = failure if known else self.about(AgentStopped(Shutdown()))
            self.ledger.abandon(error)
            self.mail.drop_all(error)
            self.runtime.unborn(self)
            self.ledger.settle()
        self.journal.start_failed(self)

    @property
    def is_attached(self) -> bool:
        return self.askers > 0 or self.alarms.hold_ask()

    # Deciding.

    def _may_run(self) -> bool:
        return (
            super()._may_run()
            and self.ledger.has_room
            and self._crashed_turn is None
            and self.quarantine is None
            and self.fence is None
        )

    def _turn(self, delivery: Delivery) -> Decided:
        """A turn that changes nothing yet."""
        ledger = self.ledger
        signal = visible(delivery.signal)
        turn = Decided(delivery, signal, ledger.head, ledger.head_sequence + 1, self.runtime.clock.wall_now())
        family = self.family
        if family is not None:
            turn.parent = None if family.bond is None else family.bond.parent
            turn.children = family.children
        return turn

    @enable_ki_protection
    def handle(self, delivery: Delivery) -> None:
        """Decides one turn. Never raises but an interrupt."""
        if self.fence is not None or self.quarantine is not None:
            return  # The last signal of a life that has nothing more to say.
        if self.killer is not None and delivery.signal.id == self.killer:
            self.killer = None
            self._bury(delivery, _KILLED)
            return
        runtime = self.runtime
        turn = self._turn(delivery)
        mark = self.mark if delivery.deliveries >= 0 else None

        def make_context() -> Context:
            context = turn.context = Context(
                self.address.id, self.address.partition, turn.now, None, turn.parent, turn.children, turn.signal
            )
            turn.seed = context.seed
            return context

        turn.span = runtime.reports.turn_begins(self)
        try:
            if mark is not None:
                mark.begin(self._key, delivery.signal.id)
            try:
                agent, directives = runtime.turn_context.run(
                    decide, turn.before, delivery.signal, make_context, runtime.strict
                )
            finally:
                if mark is not None:
                    mark.end()
            if directives:
                self._check(directives)
            self._decided(turn, agent, directives)
        except REFUSALS as error:
            self._decided_against(turn, error)
        except (KeyboardInterrupt, SystemExit) as interrupt:
            interrupt.add_note(f"in a turn of agent {self.address}, on signal {delivery.signal.type}")
            runtime.reports.turn_ended(self, delivery.signal, turn.span, "interrupted", interrupt)
            raise
        except BaseException as error:
            runtime.reports.turn_ended(self, delivery.signal, turn.span, "crashed", error)
            self._crash(delivery, Crashed(captured(error, skip=_OUR_CODE)))
            return
        runtime.reports.turn_waits(turn.span)

    def _decided(self, turn: Decided, agent: Agent, directives: tuple[Directive, ...]) -> None:
        """Takes note of what a turn has come to.

        Raises:
            NotSerialisable, ConversionError: it cannot be written; nothing was taken note of.
        """
        turn.changes = changed_fields(turn.before, agent)
        turn.directives = directives
        turn.after = agent
        if directives:
            turn.done = self.open.done_by(turn, self.ledger.turns)
        self._write(turn)
        if directives and isinstance(directives[-1], Stop):
            self.ledger.holds = True

    def _decided_against(self, turn: Decided, error: Any) -> None:
        """Takes note of a refusal."""
        turn.error = self.about(error)
        turn.outcome = "unhandled" if isinstance(error, UnhandledSignal) else "rejected"
        self._write(turn, is_commit=not isinstance(error, Overflow))
        self.ledger.holds = True  # What the error policy makes of it comes before the next turn.

    def _write(self, turn: Decided, *, is_commit: bool = True) -> None:
        """Has a turn written.

        Args:
            turn: the turn.
            is_commit: whether it is stored; no handler has decided that there are too many effects.
        """
        if is_commit:
            if turn.directives or self.alarms or self.ledger.turns:
                turn.schedules = {**self._schedules(turn), **turn.schedules}
            turn.commit = commit_of(
                turn,  # type: ignore[arg-type]  # it has all that a Turn has
                self.claim,
                self.code,
                done=turn.done,
                schedules=turn.schedules,
                answers=self._answers(turn),
            )
        if turn.delivery.answer is not None:
            turn.delivery.answer.held = self._cancelled
        self.ledger.add(turn)

    def _schedules(self, turn: Decided) -> dict[str, ScheduleRecord | None]:
        """What the turn changes of the schedules, counting what those before it do."""
        ahead = {key for each in self.ledger.turns for key in each.schedules}
        changes = self.alarms.changes(turn.signal, turn.directives, turn.sequence, turn.now, ahead)
        for directive in turn.directives:
            if (
                isinstance(directive, Run)
                and directive.key
                and (directive.key in self.alarms or directive.key in ahead)
            ):
                changes[directive.key] = None
        return changes

    def _answers(self, turn: Decided) -> dict[str, Any]:
        """What the turn replies to signals that this agent has handled."""
        ask = turn.delivery.ask
        if ask is None or ask.signal is None or ask.asked != self.address:
            return {}
        replies = [each.value for each in turn.directives if isinstance(each, Reply)]
        return {ask.signal.id: replies[0]} if replies else {}

    def _check(self, directives: tuple[Directive, ...]) -> None:
        super()._check(directives)
        decided = sum(len(turn.directives) for turn in self.ledger.turns) + len(self.ledger.draft.arrivals)
        if self.effects + decided + len(directives) > 10 * self.spec.effects:
            raise self.about(Overflow(self.effects + decided, self.spec.effects))

    def _ask_policy(self, policy: Callable[..., Any], error: Exception, signal: Signal | None) -> None:
        turn = self._turn(Delivery(self.runtime.signals.new(POLICY, {})))
        try:
            result = self.runtime.turn_context.run(policy, turn.before, error)
            agent, directives = normalised(turn.before, result, title="the error policy")
            self._check(directives)
            if agent is not turn.before or directives:
                self._decided(turn, agent, directives)
        except Exception as failure:
            self.runtime.reports.policy_failure(self, failure)

    # Crashing.

    def _crash(self, delivery: Delivery, reason: Crashed) -> None:
        """A turn has crashed. What was decided before it is written and done first."""
        self._crashed_turn = delivery, reason
        if not self.ledger.turns:
            self._crash_now()

    def _crash_now(self) -> None:
        assert self._crashed_turn is not None
        (delivery, reason), self._crashed_turn = self._crashed_turn, None
        life = self.life
        self.runtime.reports.poison(self, delivery.signal, reason)
        if delivery.deliveries >= 0:
            self._put_aside(delivery, reason)
        if life is not None:
            life.crash(reason, delivery.signal.data)
        self._told(delivery, self.about(AgentCrashed(reason)))
        self._release(delivery)

    def _put_aside(self, delivery: Delivery, reason: Crashed) -> None:
        """A stored signal has crashed: it is put behind the others, or to the dead letters."""
        delivery.deliveries += 1
        if delivery.deliveries < self.policy.max_deliveries:
            self.ledger.draft.postponed.append(delivery.signal.id)
            again = Delivery(delivery.signal, key=delivery.key)
            again.deliveries = delivery.deliveries
            self.mail.put(again)
            self.ledger.dirty()
        else:
            self._bury(delivery, f"{reason.type.__name__}: {reason.message}")

    def bury(self, stored: StoredSignal) -> None:
        """A stored signal goes to the dead letters, because processes have died of it."""
        delivery = Delivery(stored.signal)
        delivery.deliveries = stored.deliveries
        self.mail.known.add(stored.signal.id)
        self._bury(delivery, _KILLED)

    def _bury(self, delivery: Delivery, why: str) -> None:
        """That is a turn that changes nothing."""
        turn = self._turn(delivery)
        turn.outcome = "dead"
        turn.dead = DeadLetter(turn.signal, why, delivery.deliveries, turn.now)
        self._write(turn)

    # What is written.

    def publish(self, turn: Decided) -> None:
        """A turn is written: from now on it counts, is seen, and is carried out."""
        reports = self.runtime.reports
        delivery = turn.delivery
        if turn.finished:
            self.mail.known.discard(turn.signal.id)
        if turn.commit is not None:
            self.sequence = turn.sequence
        reports.turn_goes_on(turn.span)
        delivery.sequence = turn.sequence
        self.alarms.apply(turn.schedules, turn.signal, turn.directives, delivery.ask, delivery.key)
        if turn.error is None:
            reports.record_turn(
                self, delivery.signal, turn.context, turn.before, turn.after, turn.directives, outcome=turn.outcome
            )
            self._publish_state(turn)
            outcome = turn.outcome
        else:
            reports.record_turn(self, delivery.signal, turn.context, turn.before, turn.before, error=turn.error)
            self._told(delivery, turn.error)
            self.apply_policy(turn.error, delivery.signal)
            outcome = type(turn.error).__name__
        if turn.span is not None:
            reports.turn_ended(self, delivery.signal, turn.span, outcome, turn.error)
        self._release(delivery)

    def _publish_state(self, turn: Decided) -> None:
        delivery = turn.delivery
        if turn.after is not self.agent:
            self.agent = turn.after
            if self._waiters is not None:
                self._tell_waiters()
        answer = delivery.answer
        settling = None
        if turn.directives:
            if delivery.settle and answer is not None:
                settling = settling_for(self, delivery)
            self.open.begin_turn(turn, settling)
        if settling is not None:
            settling.end()
        elif answer is not None:
            answer.give(turn.after)

    def has_published(self) -> None:
        """A write is done, and all that follows from it."""
        self._has_turned()
        if self.active_at is not None:
            self.active_at = self.runtime.clock.now()
        if self._crashed_turn is not None and not self.ledger.turns:
            self._crash_now()
        self._wake()

    def goes_on(self) -> None:
        """The storage has said what is so."""
        self._restored_turn()
        if self._crashed_turn is not None and not self.ledger.turns:
            self._crash_now()
        self._wake()

    def lost(self, error: RestoreFailed) -> None:
        """What is stored cannot be read any more."""
        self.quarantined(error)

    def quarantined(self, error: RestoreFailed) -> None:
        """What is stored cannot be read: whoever waits is told, and nothing is taken."""
        self.quarantine = self.about(error)
        self.runtime.reports.quarantined(self, error)
        self.ledger.abandon(self.quarantine)
        self.mail.drop_all(self.quarantine)
        self.ledger.settle()

    def fenced(self, error: Fenced) -> None:
        """Another owner has claimed the agent: what is not written never counts, and nothing is done any more."""
        if self.fence is not None or self.ended is not None:
            return
        self.fence = self.about(error)
        self._crashed_turn = None
        self.ledger.abandon(self.fence)
        self.runtime.reports.fenced(self, self.fence)
        self.alarms.disarm()
        life = self.life
        self.runtime.begin_stop(self, self.fence)
        if life is not None:
            life.cut_off()
        self.ledger.settle()

    # Its end.

    def leaves(self) -> None:
        """It leaves memory; its family stays as it is."""
        self.is_leaving = True
        self.runtime.families.leaves(self)

    def end_for_good(self, reason: ExitReason) -> None:
        if self.ended is not None:
            return
        self.alarms.disarm()
        super().end_for_good(reason)
        error = self.stopped_error()
        self.open.give_up(error)
        if self.fence is None:
            for turn in self.ledger.turns:
                turn.delivery.drop(error)
        self.mail.has_room()
        if self.restarts >= 0:
            self.journal.ended(self, is_final=not (self.is_leaving or self.runtime.is_closing))

    # Effects.

    def directive_done(self, place: tuple[int, int]) -> None:
        """One of its directives is done: that is written with whatever is written next."""
        self.ledger.draft.done.append(self.directive_id(place))
        self.ledger.dirty()

    def derived_id(self, place: tuple[int, int], label: str = "") -> str | None:
        return self.open.derived_id(place, label)

    def is_begun_again(self, place: tuple[int, int]) -> bool:
        return self.open.is_begun_again(place)

    def effect_begins(self, effect: Effect) -> bool:
        return self.open.effect_begins(effect)

    def effect_ends(self, effect: Effect) -> None:
        self.open.effect_ends(effect)

    def effect_stays_open(self, effect: Effect) -> None:
        self.open.effect_stays_open(effect)


_KILLED = "the process ended during its turn"

_OUR_CODE = OUR_CODE | {DurableServer.handle.__code__}
