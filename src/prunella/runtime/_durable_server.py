"""The running side of a durable agent: what it decides counts, and is seen, when it is written.

Turns are decided one after another as they are everywhere, on a state that may not be written yet, at most 64 ahead.
The journal writes them; `written` publishes them in order: the state, the answers, the effects. Whatever fails on the
way takes back what was decided, and the storage says what is so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

import trio
from trio.lowlevel import enable_ki_protection

from ..agents import (
    Address,
    Agent,
    AgentCrashed,
    Cancel,
    Context,
    Cron,
    Directive,
    Fail,
    Fenced,
    Reply,
    RestoreFailed,
    Run,
    Schedule,
    Stop,
    UnhandledSignal,
    directive_from_data,
)
from ..agents._turns import changed_fields, visible
from ..errors import PrunellaError
from ..signals import Signal
from ..storage import (
    AgentKey,
    CommitFailed,
    DeadLetter,
    Duplicate,
    ScheduleRecord,
    StorageError,
    StorageUnavailable,
    StoredAgent,
    StoredDirective,
    StoredSignal,
    Write,
    code_of,
    commit_of,
    directive_id,
    snapshot_of,
)
from ..supervision import Crashed, ExitReason, Normal, Shutdown
from ..supervision._reasons import captured
from ._alarms import Alarms
from ._delivery import Answer, Delivery
from ._derived import derived_id
from ._directives import begin_directive
from ._draft import Arrival, Decided, Draft, OpenDirective
from ._errors import Overflow
from ._server import OUR_CODE, REFUSALS, AgentServer, decide, reason_data, settling_for

if TYPE_CHECKING:
    from ._effect import Effect
    from ._journal import Journal
    from ._life import AgentLife
    from ._runtime import Runtime
    from ._spec import AgentSpec

__all__ = ["DurableServer"]

_MOST_AHEAD = 64
_SECONDS_TO_FINISH = 10.0
_RESTORED = "prunella.restored"
_POLICY = "prunella.policy"
_INSTANT = (Reply, Fail, Schedule, Cron, Cancel)
"""Done with the turn itself: the callers of a process do not outlive it, and schedules are stored with the turn."""


class DurableServer(AgentServer):
    """What the runtime keeps of the address of a durable agent.

    Attributes:
        key: what it is called in the storage.
        code: which code decides.
        claim: the number of its owner's claim.
        is_loaded: whether its state was read.
        quarantine: why its state cannot be read; None if it can.
        fence: that another owner has claimed it; None if none has.
        alarms: its schedules.
    """

    is_durable: ClassVar[bool] = True

    __slots__ = (
        "_behind", "_crashed_turn", "_down", "_draft", "_failure", "_head", "_head_sequence", "_holds",
        "_ids", "_in_flight", "_is_restored", "_mail", "_on_settled", "_open", "_pending", "_room", "_solo",
        "_to_restore", "_turned", "alarms", "claim", "code", "fence", "is_loaded", "is_recorded", "journal", "key_",
        "policy", "quarantine", "snapshot_at", "suspects",
    )  # fmt: skip

    def __init__(self, runtime: Runtime, spec: AgentSpec[Any], address: Address) -> None:
        super().__init__(runtime, spec, address)
        assert runtime.durability is not None
        assert spec.durability is not None
        self.policy = spec.durability
        self.journal: Journal = runtime.durability.journal
        self.key_ = AgentKey(runtime.name, address.partition, address.id)
        self.code = code_of(spec.agent)
        self.claim = 0
        self.is_loaded = False
        self.is_recorded = False
        self.quarantine: RestoreFailed | None = None
        self.fence: Fenced | None = None
        self.alarms = Alarms(self)
        self.snapshot_at = 0
        self._is_restored = False
        self._to_restore: dict[str, ScheduleRecord | None] = {}
        self._head: Agent = self.agent
        self._head_sequence = 0
        self._pending: list[Decided] = []
        self._draft = Draft()
        self._in_flight: Draft | None = None
        self._failure: Exception | None = None
        self._down: StorageError | None = None
        self._solo = 0
        self._holds = False
        self._crashed_turn: tuple[Delivery, Crashed] | None = None
        self._on_settled: Callable[[], object] | None = None
        self._mail: deque[Delivery] = deque()
        self._room: trio.Event | None = None
        self._ids: set[str] = set()
        self._open: dict[tuple[int, int], OpenDirective] = {}
        self.suspects: deque[StoredSignal] = deque()
        self._behind: list[Delivery] | None = None
        self._turned: trio.Event | None = None

    @property
    def key(self) -> AgentKey:
        """What it is called in the storage."""
        return self.key_

    def directive_id(self, place: tuple[int, int]) -> str:
        """The id of one of its directives."""
        return directive_id(self.key_, *place)

    # Coming back.

    def restore(self, agent: Agent, sequence: int, stored: StoredAgent) -> None:
        """Takes over what was stored. Nothing is done yet; the life that follows begins with it.

        Raises:
            RestoreFailed: something of it cannot be read.
        """
        self.alarms = Alarms(self)
        self._open.clear()
        try:
            self._to_restore = self.alarms.restore(stored.schedules, [each.signal for each in stored.waiting])
            for directive in stored.directives:
                self._reopen(directive)
        except PrunellaError as error:
            raise RestoreFailed(f"what was decided cannot be read: {error}") from error
        self.agent = self._head = agent
        self.sequence = self._head_sequence = sequence
        self.snapshot_at = sequence if stored.snapshot is None else stored.snapshot.sequence
        self._is_restored = True
        self.is_loaded = True

    def begins_first(self) -> None:
        """It is the first start ever."""
        self._to_restore = self.alarms.restore((), ())
        self.is_loaded = True

    def _reopen(self, stored: StoredDirective) -> None:
        delivery = Delivery(Signal(_RESTORED, {}, time=stored.now))
        delivery.sequence = stored.sequence
        directive = directive_from_data(stored.directive)
        self._open[stored.sequence, stored.index] = OpenDirective(directive, delivery, None, stored.index, stored.now)

    def causes(self) -> list[int]:
        """The turns that have asked for what is open."""
        return sorted({place[0] for place in self._open})

    def cause_found(self, sequence: int, signal: Signal) -> None:
        """The signal of such a turn is still kept."""
        for place, entry in self._open.items():
            if place[0] == sequence:
                entry.delivery.signal = signal

    def take_mail(self, signal: Signal, deliveries: int) -> None:
        """A signal that waits in the storage comes into memory, unless it is there."""
        if signal.id not in self._ids:
            delivery = Delivery(signal)
            delivery.deliveries = deliveries
            self._ids.add(signal.id)
            self._mail.append(delivery)
            self._wake()

    # Signals that may have been the death of the process.

    def suspect(self, waiting: Iterable[StoredSignal]) -> None:
        """These waited when the process of the last owner ended: each is counted before it is handled, alone."""
        self.suspects.extend(waiting)
        self._behind = []

    def cleared(self) -> None:
        """There are no more of them: what came behind them is handled."""
        behind, self._behind = self._behind, None
        self._mail.extend(behind or ())
        self._wake()

    async def until_handled(self, id: str) -> None:
        """Waits until the turn of a stored signal is written."""
        while id in self._ids:
            if self._turned is None:
                self._turned = trio.Event()
            await self._turned.wait()

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
            self._to_restore = self.alarms.declared_again()
        if self.definition.hears_lifecycle:
            data = {"restarts": self.restarts, "reason": reason_data(self.reason), "restored": restored}
            self._put_first(self.runtime.families.first_signal(self, data))
        if self._to_restore:
            self._restored_turn()
        self.alarms.arm()
        self.begin_open()
        if self.waiting or self._pending or self._draft:
            self._wake()
            self._dirty()
        if self._waiters is not None:
            self._tell_waiters()

    def begin_open(self) -> None:
        """Begins what is to be done, as soon as everybody to whom it may be sent is known."""
        life = self.life
        if life is not None and not life.is_ending and self._may_send():
            for entry in tuple(self._open.values()):
                if not entry.parts:
                    self._begin_directive(entry, life)

    def _may_send(self) -> bool:
        durability = self.runtime.durability
        return durability is not None and durability.has_begun

    def _restored_turn(self) -> None:
        """What changes by its coming back is a turn of its own."""
        changes, self._to_restore = self._to_restore, {}
        turn = self._turn(Delivery(self.runtime.signals.new(_RESTORED, {})), Signal(_RESTORED, {}))
        turn.schedules = changes
        self._add(turn)

    @property
    def is_open(self) -> bool:
        return self.ended is None and self._closing is None

    # The mailbox.

    def is_idle(self) -> bool:
        return False  # No turn is taken in a caller's task: it would have to be written there.

    @property
    def is_quiet(self) -> bool:
        busy = self.has_unwritten or self._failure is not None or self.suspects or self._behind is not None
        return super().is_quiet and not busy

    async def until_quiet(self) -> None:
        """Waits until something has changed that may be the last."""
        if self._turned is None:
            self._turned = trio.Event()
        await self._turned.wait()

    def leaves(self) -> None:
        """It leaves memory; its family stays as it is."""
        self.is_leaving = True
        self.runtime.families.leaves(self)

    def released(self) -> None:
        """It was quarantined, and can be read again."""
        self.quarantine = None
        life = self.life
        if life is not None:
            self.restarts -= 1
            self.begin(life)

    @property
    def waiting(self) -> int:
        return len(self._control or ()) + len(self._inner or ()) + len(self._mail)

    def _refuse(self) -> None:
        """Raises why nothing is taken now, if that is so."""
        error = self.quarantine or self._down
        if not self.is_open:
            error = self.stopped_error()
        if error is not None:
            raise error.with_traceback(None)  # the same for many

    def stopped_error(self) -> Any:
        return super().stopped_error() if self.fence is None else self.fence

    def _has_room(self) -> bool:
        return len(self._mail) + len(self._draft.arrivals) < self.spec.mailbox

    def offer(self, delivery: Delivery) -> bool:
        if delivery.keep:
            return False
        self._refuse()
        if not self._has_room():
            return False
        if delivery.ask is not None:
            delivery.ask.hold()
        self._mail.append(delivery)
        self._wake()
        return True

    def offer_nowait(self, delivery: Delivery) -> bool:
        self._refuse()
        if not self._has_room():
            return False
        if not delivery.keep:
            return self.offer(delivery)
        self._store(delivery, None, is_own=False)
        return True

    @enable_ki_protection
    async def accept(self, delivery: Delivery) -> None:
        """Puts a signal into the mailbox; one that is to be kept is stored when this returns.

        Raises:
            AgentStopped, Fenced, RestoreFailed: nothing is handled here any more.
            StorageError: it could not be stored.
        """
        self._refuse()
        while not self._has_room():
            if self._room is None:
                self._room = trio.Event()
            await self._room.wait()
            self._refuse()
        if not delivery.keep:
            self.offer(delivery)
            return
        ack = Answer()
        ack.held = self._cancelled
        self._store(delivery, ack, is_own=False)
        await ack.wait()

    def put(self, delivery: Delivery) -> None:
        if self.ended is not None or self.fence is not None:
            super().put(delivery)
            return
        self._store(delivery, None, is_own=True)

    def _store(self, delivery: Delivery, ack: Answer | None, *, is_own: bool) -> None:
        if delivery.ask is not None:
            delivery.ask.hold()
        self._draft.arrivals.append(Arrival(delivery, ack, is_own=is_own))
        self._dirty()

    def _received(self) -> Delivery | None:
        if not self._mail:
            return None
        delivery = self._mail.popleft()
        self._make_room()
        return delivery

    def _make_room(self) -> None:
        if self._room is not None and (self._has_room() or not self.is_open):
            self._room.set()
            self._room = None

    def _drop_all(self) -> None:
        # What is stored stays stored: it is handled when the agent comes back. An ask does not wait for that.
        queues = (self._mail, self._inner or ())
        kept, kept_inner = ([each for each in queue if each.deliveries >= 0] for queue in queues)
        self._mail = deque([each for each in self._mail if each.deliveries < 0])
        self._inner = None
        super()._drop_all()
        for delivery in (*kept, *kept_inner):
            if delivery.ask is not None:
                delivery.ask.error = self.stopped_error()
                delivery.ask.release()
                delivery.ask = None
        self._mail = deque(kept)
        self._inner = deque(kept_inner) if kept_inner else None

    def close(self, reason: ExitReason, *, by_itself: bool = False) -> None:
        super().close(reason, by_itself=by_itself)
        self._make_room()

    def _cancelled(self, answer: Answer) -> None:
        """Whoever waits for something that is being written was cancelled: it has ten seconds to be finished."""
        answer.held = _has_gone
        late = CommitFailed(f"the storage has not answered for {_SECONDS_TO_FINISH:g} s", in_doubt=True)
        when = self.runtime.clock.now() + _SECONDS_TO_FINISH

        def give_up() -> None:
            answer.fail(late)

        self.runtime.service.call_at(when, give_up)

    # Deciding.

    def _may_run(self) -> bool:
        return (
            super()._may_run()
            and len(self._pending) < _MOST_AHEAD
            and not self._holds
            and self._crashed_turn is None
            and self._failure is None
            and self.quarantine is None
            and self.fence is None
        )

    def _turn(self, delivery: Delivery, signal: Signal) -> Decided:
        """A turn that changes nothing yet."""
        turn = Decided(delivery, signal, self._head, self._head_sequence + 1, self.runtime.clock.wall_now())
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
        runtime = self.runtime
        turn = self._turn(delivery, visible(delivery.signal))

        def make_context() -> Context:
            context = turn.context = Context(
                self.address.id, self.address.partition, turn.now, None, turn.parent, turn.children, turn.signal
            )
            turn.seed = context.seed
            return context

        turn.span = runtime.reports.turn_begins(self)
        try:
            agent, directives = runtime.turn_context.run(
                decide, self._head, delivery.signal, make_context, runtime.strict
            )
            if directives:
                self._check(directives)
            self._decided(turn, agent, directives)
        except REFUSALS as error:
            turn.error = self.about(error)
            turn.outcome = "unhandled" if isinstance(error, UnhandledSignal) else "rejected"
            if self.alarms:
                turn.schedules = self.alarms.changes(turn.signal, (), turn.sequence, turn.now)
            self._add(turn, is_written=not isinstance(error, Overflow))
            self._holds = True  # What the error policy makes of it comes before the next turn.
        except (KeyboardInterrupt, SystemExit) as interrupt:
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
        turn.changes = changed_fields(self._head, agent)
        turn.directives = directives
        if directives or self.alarms:
            turn.schedules = self.alarms.changes(turn.signal, directives, turn.sequence, turn.now)
        if directives:
            turn.done = self._done_by(turn)
        turn.after = agent
        self._add(turn)
        if directives and isinstance(directives[-1], Stop):
            self._holds = True

    def _done_by(self, turn: Decided) -> tuple[str, ...]:
        """Which directives are done with a turn: its own that are carried out at once, and those it calls off."""
        done = []
        for index, directive in enumerate(turn.directives):
            if isinstance(directive, _INSTANT):
                done.append(self.directive_id((turn.sequence, index)))
            key = getattr(directive, "key", None)
            if key is not None and isinstance(directive, Cancel | Run | Schedule | Cron):
                done += [self.directive_id(place) for place in self._places_of(key)]
                if isinstance(directive, Run) and key in self.alarms:
                    turn.schedules = {**turn.schedules, key: None}
        return tuple(done)

    def _places_of(self, key: str) -> list[tuple[int, int]]:
        """The work under way, or decided, that has a key."""
        found = [
            place
            for place, entry in self._open.items()
            if isinstance(entry.directive, Run) and entry.directive.key == key
        ]
        for turn in self._pending:
            found += [
                (turn.sequence, index)
                for index, directive in enumerate(turn.directives)
                if isinstance(directive, Run) and directive.key == key
            ]
        return found

    def _add(self, turn: Decided, *, is_written: bool = True) -> None:
        """Puts a turn behind those that wait to be written."""
        if is_written:
            turn.commit = commit_of(
                turn,  # type: ignore[arg-type]  # it has all that a Turn has
                self.claim,
                self.code,
                done=turn.done,
                schedules=turn.schedules,
                answers=self._answers(turn),
            )
            self._head = turn.after
            self._head_sequence = turn.sequence
        if turn.delivery.answer is not None:
            turn.delivery.answer.held = self._cancelled
        self._pending.append(turn)
        self._dirty()

    def _answers(self, turn: Decided) -> dict[str, Any]:
        """What the turn replies to signals that this agent has handled."""
        ask = turn.delivery.ask
        if ask is None or ask.signal is None or ask.asked != self.address:
            return {}
        replies = [each.value for each in turn.directives if isinstance(each, Reply)]
        return {ask.signal.id: replies[0]} if replies else {}

    def _check(self, directives: tuple[Directive, ...]) -> None:
        super()._check(directives)
        decided = sum(len(turn.directives) for turn in self._pending) + len(self._draft.arrivals)
        if self.effects + decided + len(directives) > 10 * self.spec.effects:
            raise self.about(Overflow(self.effects + decided, self.spec.effects))

    def _ask_policy(self, policy: Callable[..., Any], error: Exception, signal: Signal | None) -> None:
        from ..agents._turns import normalised

        turn = self._turn(
            Delivery(signal or self.runtime.signals.new(_POLICY, {})), self.runtime.signals.new(_POLICY, {})
        )
        try:
            result = self.runtime.turn_context.run(policy, self._head, error)
            agent, directives = normalised(self._head, result, title="the error policy")
            self._check(directives)
            if agent is self._head and not directives:
                return
            self._decided(turn, agent, directives)
        except Exception as failure:
            self.runtime.reports.policy_failure(self, failure)

    # Crashing.

    def _crash(self, delivery: Delivery, reason: Crashed) -> None:
        """A turn has crashed. What was decided before it is written and done first."""
        self._crashed_turn = delivery, reason
        if not self._pending:
            self._crash_now()

    def _crash_now(self) -> None:
        assert self._crashed_turn is not None
        (delivery, reason), self._crashed_turn = self._crashed_turn, None
        life = self.life
        self.runtime.reports.poison(self, delivery.signal, reason)
        if delivery.deliveries >= 0:
            self._put_aside(delivery, reason)
        if life is not None:
            life.crash(reason)
        self._told(delivery, self.about(AgentCrashed(reason)))
        self._release(delivery)

    def _put_aside(self, delivery: Delivery, reason: Crashed) -> None:
        """A stored signal has crashed: it is put behind the others, or to the dead letters."""
        delivery.deliveries += 1
        if delivery.deliveries < self.policy.max_deliveries:
            self._draft.postponed.append(delivery.signal.id)
            again = Delivery(delivery.signal, key=delivery.key)
            again.deliveries = delivery.deliveries
            self._mail.append(again)
            self._dirty()
        else:
            self.bury(delivery, f"{reason.type.__name__}: {reason.message}")

    def bury_stored(self, stored: StoredSignal) -> None:
        """A stored signal goes to the dead letters, because processes have died of it."""
        delivery = Delivery(stored.signal)
        delivery.deliveries = stored.deliveries
        self._ids.add(stored.signal.id)
        self.bury(delivery, "the process ended during its turn")

    def bury(self, delivery: Delivery, why: str) -> None:
        """A signal goes to the dead letters; that is a turn that changes nothing."""
        turn = self._turn(delivery, visible(delivery.signal))
        turn.outcome = "dead"
        turn.schedules = self.alarms.changes(turn.signal, (), turn.sequence, turn.now)
        turn.dead = DeadLetter(turn.signal, why, delivery.deliveries, turn.now)
        self._add(turn)

    def _release(self, delivery: Delivery) -> None:
        if delivery.ask is not None:
            delivery.ask.release()

    # Writing.

    def _dirty(self) -> None:
        self.journal.add(self)

    @property
    def is_urgent(self) -> bool:
        """Whether somebody may be waiting for what is to be written."""
        return bool(self._pending) or self._draft.is_urgent

    @property
    def has_unwritten(self) -> bool:
        """Whether anything is to be written, or being written."""
        return self._in_flight is not None or bool(self._pending) or bool(self._draft)

    def take_write(self, now: datetime) -> Write | None:
        """What is to be written now; None if nothing is, or may be."""
        if self._in_flight is not None or self._failure is not None or self.fence is not None or not self.is_loaded:
            return None
        draft, turns = self._draft, self._pending
        if not draft and not turns:
            return None
        if self._solo:
            turns = turns[:1]
        self._draft = Draft()
        self._in_flight = draft
        draft.turns = list(turns)
        commits = tuple([turn.commit for turn in turns if turn.commit is not None])
        snapshot = None
        if commits and commits[-1].sequence - self.snapshot_at >= self.policy.snapshot_every:
            last = turns[-1]  # one that is not written has the state of the one before
            snapshot = snapshot_of(last.after, commits[-1].sequence, last.now)
            draft.has_snapshot = True
        return Write(
            self.key_,
            self.claim,
            now,
            commits,
            snapshot,
            tuple(draft.done),
            tuple([arrival.delivery.signal for arrival in draft.arrivals]),
            (*[turn.signal.id for turn in turns if turn.finished and turn.dead is None], *draft.finished),
            tuple(draft.postponed),
            tuple([turn.dead for turn in turns if turn.dead is not None]),
        )

    def written(self, outcome: Exception | None) -> None:
        """What the journal took was written, or was not."""
        draft = self._in_flight
        if draft is None:
            return
        if outcome is None:
            self._in_flight = None
            self._publish(draft)
        elif isinstance(outcome, Fenced):
            self.fenced(outcome)
        elif isinstance(outcome, StorageError) and not isinstance(outcome, CommitFailed) and draft.turns:
            self._refused_by_storage(draft, outcome)
        else:
            # Nothing is handled until the storage has said what is so.
            self._failure = outcome
            self.journal.heal(self)

    def _publish(self, draft: Draft) -> None:
        """What was written counts from now on, and is seen."""
        del self._pending[: len(draft.turns)]
        self._solo = max(0, self._solo - len(draft.turns))
        for turn in draft.turns:
            self._publish_turn(turn)
        if draft.has_snapshot:
            self.snapshot_at = self.sequence
            self.journal.trim(self)
        for arrival in draft.arrivals:
            self._arrived(arrival)
        if not self._pending:
            self._holds = False
            if self._crashed_turn is not None:
                self._crash_now()
        self._wake()
        if self._turned is not None:
            self._turned.set()
            self._turned = None
        if self.active_at is not None:
            self.active_at = self.runtime.clock.now()
        if self._draft or self._pending:
            self._dirty()
        elif self._on_settled is not None:
            settled, self._on_settled = self._on_settled, None
            settled()

    def _arrived(self, arrival: Arrival) -> None:
        """A signal is stored, and waits in memory too."""
        delivery = arrival.delivery
        if delivery.signal.id in self._ids or self.ended is not None:
            if self.ended is None:
                self.runtime.reports.repeated(self, delivery.signal)
            self._release(delivery)  # it waits already, or is handled when the agent comes back
        else:
            delivery.deliveries = 0
            self._ids.add(delivery.signal.id)
            if not arrival.is_own:
                (self._mail if self._behind is None else self._behind).append(delivery)
            elif self._inner is None:
                self._inner = deque([delivery])
            else:
                self._inner.append(delivery)
        if arrival.ack is not None:
            arrival.ack.give(None)

    def _publish_turn(self, turn: Decided) -> None:
        reports = self.runtime.reports
        delivery = turn.delivery
        if turn.finished:
            self._ids.discard(turn.signal.id)
        if turn.commit is not None:
            self.sequence = turn.sequence
        reports.turn_goes_on(turn.span)
        delivery.sequence = turn.sequence
        self.alarms.apply(turn.schedules, turn.signal, turn.directives, delivery.ask, delivery.key)
        if turn.error is None:
            reports.record_turn(self, delivery.signal, turn.context, turn.before, turn.after, turn.directives)
            if turn.after is not self.agent:
                self.agent = turn.after
                if self._waiters is not None:
                    self._tell_waiters()
            if turn.directives:
                self._begin_directives(turn)
            answer = delivery.answer
            if answer is not None and not (turn.directives and delivery.settle):
                answer.give(turn.after)
            outcome = turn.outcome
        else:
            reports.record_turn(self, delivery.signal, turn.context, turn.before, turn.before, error=turn.error)
            self._told(delivery, turn.error)
            self.apply_policy(turn.error, delivery.signal)
            outcome = type(turn.error).__name__
        if turn.span is not None:
            reports.turn_ended(self, delivery.signal, turn.span, outcome, turn.error)
        self._release(delivery)

    # Failing to write.

    def _undo(self, turns: list[Decided], error: Exception | None) -> None:
        """Takes back turns that are not written; their signals wait again, in their order.

        Args:
            turns: the turns.
            error: what those are told who wait for them; None if they are decided anew as well.
        """
        self._head = self.agent
        self._head_sequence = self.sequence
        self._holds = False
        for turn in reversed(turns):
            delivery = turn.delivery
            answer = delivery.answer
            self.runtime.reports.turn_undone(turn.span)
            if turn.signal.type == _RESTORED:
                self._to_restore = {**turn.schedules, **self._to_restore}
            elif turn.signal.type == _POLICY:
                continue
            elif delivery.deliveries >= 0:
                self._mail.appendleft(delivery)
            elif error is not None or _is_answered(delivery):
                told = error or StorageUnavailable("the turn was taken back")
                if answer is not None:
                    answer.fail(told)
                if delivery.ask is not None:
                    delivery.ask.error = told
                self._release(delivery)
            elif turn.signal.type.startswith("prunella."):
                self._control = self._control or deque()
                self._control.appendleft(delivery)
            else:
                if answer is not None:
                    answer.held = None
                self._mail.appendleft(delivery)

    def _refused_by_storage(self, draft: Draft, error: StorageError) -> None:
        """One of the turns cannot be written: each is tried alone, and the one that cannot is refused."""
        self._in_flight = None
        turns = self._pending[:]
        self._pending.clear()
        alone = len(draft.turns) == 1 and not draft.arrivals
        if alone:
            self._undo(turns[1:], None)
            self._undo_refused(draft.turns[0], error)
        else:
            self._solo = len(draft.turns)
            self._undo(turns, None)
        draft.turns = []
        self._draft.take_back(draft)
        self._again()

    def _undo_refused(self, turn: Decided, error: StorageError) -> None:
        """A turn that the storage will never take."""
        delivery = turn.delivery
        self._solo = 0
        self.runtime.reports.turn_undone(turn.span)
        if delivery.deliveries >= 0:
            self._ids.discard(turn.signal.id)
            self._draft.finished.append(turn.signal.id)
        if isinstance(error, Duplicate):
            self.runtime.reports.repeated(self, delivery.signal)
            if delivery.answer is not None:
                delivery.answer.give(self.agent)
            if delivery.ask is not None:
                self.journal.answer_again(self, delivery, error)
            self._release(delivery)
            return
        if delivery.answer is not None:
            delivery.answer.fail(error)
        if delivery.ask is not None:
            delivery.ask.error = error
        self._release(delivery)
        self.runtime.reports.error(self, error, delivery.signal)

    def storage_is_down(self, error: StorageError) -> None:
        """What was written is not known, and cannot be read now: whoever waits is told."""
        failure = self._failure
        if self._down is not None or failure is None:
            return
        self._down = error
        told: Exception = failure if isinstance(failure, StorageError) else error
        for turn in self._pending:
            delivery = turn.delivery
            if delivery.deliveries < 0:
                if delivery.answer is not None:
                    delivery.answer.fail(told)
                if delivery.ask is not None:
                    delivery.ask.end(None, told)
        for arrival in (*(self._in_flight.arrivals if self._in_flight else ()), *self._draft.arrivals):
            if arrival.ack is not None:
                arrival.ack.fail(told)
        kept = deque([delivery for delivery in self._mail if delivery.deliveries >= 0])
        lost = [delivery for delivery in self._mail if delivery.deliveries < 0]
        self._mail = kept
        for delivery in lost:
            delivery.drop(error)
        self._make_room()

    def lost(self, error: RestoreFailed) -> None:
        """What is stored cannot be read any more."""
        self.quarantine = self.about(error)
        self.runtime.reports.quarantined(self, error)
        self.storage_is_down(StorageUnavailable(str(error)))

    def never_began(self) -> None:
        """Its first life could not begin: there is no such agent."""
        if self.restarts < 0 and self.ended is None:
            self.runtime.unborn(self)
            self.journal.ended(self, is_final=False)

    def reconcile(self, stored: StoredAgent | None) -> None:
        """The storage has said what is so; from there it goes on."""
        draft, error = self._in_flight, self._failure
        if error is None or draft is None:
            return
        if stored is None or stored.record.claim != self.claim:
            self.fenced(Fenced())
            return
        self._failure = self._down = self._in_flight = None
        commits = [turn.sequence for turn in draft.turns if turn.commit is not None]
        waiting = {each.signal.id for each in stored.waiting}
        if commits and stored.record.sequence == commits[-1]:
            self._publish(draft)
        elif stored.record.sequence != self.sequence:
            self.fenced(Fenced())  # Somebody has written in its name.
            return
        else:
            turns = self._pending[:]
            self._pending.clear()
            self._undo(turns[len(draft.turns) :], None)
            self._undo(draft.turns, error)
            draft.turns = []
            for arrival in draft.arrivals[:]:
                if arrival.delivery.signal.id in waiting:
                    draft.arrivals.remove(arrival)
                    self._arrived(arrival)
                elif arrival.ack is not None:
                    draft.arrivals.remove(arrival)
                    arrival.ack.fail(error)
                    self._release(arrival.delivery)
            self._draft.take_back(draft)
        coming = {arrival.delivery.signal.id for arrival in self._draft.arrivals}
        for each in stored.waiting:
            # Its sender was told that this is in doubt.
            if each.signal.id not in coming and each.signal.id not in self._draft.finished:
                self.take_mail(each.signal, each.deliveries)
        self._again()

    def _again(self) -> None:
        if self._to_restore:
            self._restored_turn()
        if self._crashed_turn is not None and not self._pending:
            self._crash_now()
        self._wake()
        self._dirty()

    def fenced(self, error: Fenced) -> None:
        """Another owner has claimed the agent: what is not written never counts, and nothing is done any more."""
        if self.fence is not None or self.ended is not None:
            return
        self.fence = self.about(error)
        turns = self._pending[:]
        self._pending.clear()
        self._crashed_turn = None
        for turn in turns:
            self.runtime.reports.turn_undone(turn.span)
            turn.delivery.drop(self.fence)
        drafts = [self._draft] if self._in_flight is None else [self._in_flight, self._draft]
        self._draft, self._in_flight, self._failure = Draft(), None, None
        for draft in drafts:
            for arrival in draft.arrivals:
                if arrival.ack is not None:
                    arrival.ack.fail(self.fence)
                self._release(arrival.delivery)
        self.runtime.reports.fenced(self, self.fence)
        self.alarms.disarm()
        life = self.life
        self.runtime.begin_stop(self, self.fence)
        if life is not None:
            life.cut_off()

    # Settling: at the end of a life all is written.

    def when_settled(self, callback: Callable[[], object]) -> None:
        """Calls back when nothing is left to be written."""
        self._on_settled = callback
        self.journal.add(self, now=True)

    def forget_settled(self) -> None:
        """Nobody waits for that any more."""
        self._on_settled = None

    def end_for_good(self, reason: ExitReason) -> None:
        if self.ended is not None:
            return
        self.alarms.disarm()
        self._make_room()
        super().end_for_good(reason)
        error = self.stopped_error()
        if self.fence is None:
            for turn in self._pending:
                turn.delivery.drop(error)
        self._make_room()
        self.journal.ended(self, is_final=not (self.is_leaving or self.runtime.is_closing))

    # Effects.

    def derived_id(self, place: tuple[int, int], label: str = "") -> str | None:
        entry = self._open.get(place)
        if entry is None:
            return None
        name = self.directive_id(place)
        return derived_id(entry.now, f"{name}/{label}" if label else name)

    def _begin_directives(self, turn: Decided) -> None:
        """Begins what a turn has asked for; if there is no life now, the next one does."""
        delivery = turn.delivery
        settling = settling_for(self, delivery) if delivery.settle and delivery.answer is not None else None
        life = self.life
        is_alive = life is not None and not life.ended
        if is_alive:
            assert life is not None
            life.hands_over()
        for index, directive in enumerate(turn.directives):
            if isinstance(directive, Reply | Fail):
                # These two need no life.
                begin_directive(self, life, directive, delivery, settling, index)  # type: ignore[arg-type]  # may be None
            elif isinstance(directive, Cancel):
                self._cancel(directive.key)
            elif not isinstance(directive, Schedule | Cron):
                if isinstance(directive, Run) and directive.key is not None:
                    self._cancel(directive.key)
                entry = OpenDirective(directive, delivery, settling, index, turn.now)
                self._open[entry.place] = entry
                if is_alive and self._may_send():
                    assert life is not None
                    self._begin_directive(entry, life)
            elif directive.key is not None:
                self._cancel_work(directive.key)
        if settling is not None:
            settling.end()
        if is_alive:
            assert life is not None
            life.has_handed_over()

    def _cancel(self, key: str) -> None:
        self.alarms.drop(key)
        self._cancel_work(key)

    def _cancel_work(self, key: str) -> None:
        for place, entry in tuple(self._open.items()):
            if isinstance(entry.directive, Run) and entry.directive.key == key:
                del self._open[place]
                entry.let_go()
        keyed = None if self.life is None else self.life.keyed
        item = None if keyed is None else keyed.pop(key, None)
        if item is not None:
            item.cancel()

    def _begin_directive(self, entry: OpenDirective, life: AgentLife) -> None:
        directive = entry.directive
        if isinstance(directive, Stop):
            del self._open[entry.place]
            self._draft.done.append(self.directive_id(entry.place))
            life.end_by_itself(Normal() if directive.reason is None else Shutdown(directive.reason))
            return
        entry.is_begun = entry.is_cut = False
        life.hands_over()
        begin_directive(self, life, directive, entry.delivery, entry.settling, entry.index)
        life.has_handed_over()
        entry.is_begun = True
        entry.let_go()
        self._look_at(entry)

    def _look_at(self, entry: OpenDirective) -> None:
        if entry.is_begun and not (entry.parts or entry.is_cut) and self._open.pop(entry.place, None) is not None:
            self._draft.done.append(self.directive_id(entry.place))
            self._dirty()

    def effect_begins(self, effect: Effect) -> bool:
        entry = self._open.get(effect.place)
        if entry is None:
            return False
        entry.parts += 1
        if not entry.kept:
            return False
        entry.kept -= 1
        return True

    def effect_ends(self, effect: Effect) -> None:
        entry = self._open.get(effect.place)
        if entry is not None:
            entry.parts -= 1
            self._look_at(entry)

    def effect_stays_open(self, effect: Effect) -> None:
        entry = self._open.get(effect.place)
        if entry is not None:
            entry.parts -= 1
            entry.is_cut = True
            entry.kept += effect.is_waited_for


_OUR_CODE = OUR_CODE | {DurableServer.handle.__code__}


def _has_gone(answer: Answer) -> None:
    """Marks the answer of a caller that was cancelled while it was waiting for a turn to be written."""


def _is_answered(delivery: Delivery) -> bool:
    """Whether nobody waits for this turn any more."""
    answer, ask = delivery.answer, delivery.ask
    if answer is not None:
        return answer.given or answer.held is _has_gone
    return ask is not None and ask.over
