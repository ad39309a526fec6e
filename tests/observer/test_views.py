"""What people see of a tree."""

from __future__ import annotations

import io
import sys

import attrs
import pytest
import trio
from rich.console import Console
from trio.testing import MockClock

from prunella import Child, Supervisor
from prunella.observer import AgentFigures, Happening, Lines, Live, Picture, describe, duration, one_line, rows
from prunella.runtime import AgentFenced, AgentQuarantined, EffectException, TurnEvent
from prunella.supervision import (
    ChildExited,
    ChildRestarted,
    ChildStarted,
    ChildStartFailed,
    Crashed,
    GaveUp,
    Killed,
    Normal,
    Shutdown,
    ShutdownError,
    StillStopping,
    Unresponsive,
    open_supervisor,
    tree,
)
from prunella.telemetry import ErrorInfo


async def crash_after(seconds: float) -> None:
    await trio.sleep(seconds)
    raise ValueError("no good")


SHOP = Supervisor(
    [
        Child(trio.sleep_forever, id="database"),
        Supervisor([Child(trio.sleep_forever, id="web"), Child(crash_after, 60.0, id="mail")], id="fronts"),
    ],
    id="shop",
)


TURN = {"time": 0.0, "signal_type": "t", "signal_id": "1", "duration": 0.0, "mailbox": 0}


@pytest.fixture(scope="module")
def picture():
    async def main() -> Picture:
        async with open_supervisor(SHOP) as supervisor:
            await trio.sleep(90)
            agents = {
                "shop/database": AgentFigures("database", "suspended", 3, 0, 1_200),
                "shop/fronts/mail": AgentFigures("post/mail", "running", 0, 1, 7),
            }
            return Picture("shop.py", 90.0, "1210 in", (tree(supervisor),), agents)

    return trio.run(main, clock=MockClock(autojump_threshold=0))


def wide(picture: Picture, children: int) -> Picture:
    """The picture with many children."""
    (root,) = picture.trees
    return attrs.evolve(picture, trees=(attrs.evolve(root, children=root.children[:1] * children),))


def test_rows_are_the_tree_from_the_root_down(picture):
    assert [(row.branch + row.id, row.state, row.restarts, row.uptime) for row in rows(picture)] == [
        ("shop", "running", 0, 90.0),
        ("├─ database", "suspended", 0, 90.0),
        ("└─ fronts", "running", 0, 90.0),
        ("   ├─ web", "running", 0, 90.0),
        ("   └─ mail", "running", 1, 30.0),
    ]
    assert [row.agent and row.agent.handled for row in rows(picture)] == [None, 1200, None, None, 7]
    assert [row.called for row in rows(picture)] == ["shop", "database", "fronts", "fronts/web", "post/mail"]


def test_several_trees_stand_one_below_the_other(picture):
    shown = attrs.evolve(picture, trees=picture.trees * 2)
    assert [row.branch + row.id for row in rows(shown)] == [row.branch + row.id for row in rows(picture)] * 2


def test_a_life_that_does_not_end_has_a_row_of_its_own(picture):
    (root,) = picture.trees
    mail = root.children[1].children[1].info
    shown = attrs.evolve(picture, trees=(attrs.evolve(root, unresponsive=(mail,)),))
    last = list(rows(shown))[-1]
    assert (last.branch + last.id, last.state, last.uptime) == ("└─ mail", "unresponsive", None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (125.9, "2 min 06 s"),
        (3600, "1 h 00 min"),
        (90061, "25 h 01 min"),
    ],
)
def test_durations_are_for_people(seconds, text):
    assert duration(seconds) == text


def crashed() -> Crashed:
    try:
        raise ValueError("no\ngood")
    except ValueError as error:
        return Crashed(error)


@pytest.mark.parametrize(
    ("kind", "fields", "text"),
    [
        (ChildStarted, {}, "a/b started"),
        (ChildRestarted, {"reason": crashed(), "restarts": 2}, "a/b restarted for the 2nd time"),
        (ChildRestarted, {"reason": crashed(), "restarts": 111}, "a/b restarted for the 111th time"),
        (ChildExited, {"reason": Shutdown(), "expected": True}, None),
        (ChildExited, {"reason": Normal(), "expected": False}, "a/b ended: normal"),
        (ChildStartFailed, {"reason": Killed()}, "a/b failed to start: killed"),
        (GaveUp, {"reason": Killed(), "supervisor": ""}, "the supervisor gave up over a/b: restarts came too often"),
        (GaveUp, {"reason": Killed(), "supervisor": "a"}, "a gave up over a/b: restarts came too often"),
        (ShutdownError, {"reason": Killed()}, "a/b did not stop as it should: killed"),
        (Unresponsive, {"stack": ""}, "a/b does not end though it was cancelled; it no longer counts"),
    ],
)
def test_what_happens_is_said_in_a_line(kind, fields, text):
    told = describe(kind(time=0.0, child="a/b", life=1, **fields))
    assert told is None if text is None else told == Happening(text, kind not in (ChildStarted, ChildRestarted))


def test_a_crash_is_told_with_its_place():
    told = describe(ChildExited(time=0.0, child="a", life=1, reason=crashed(), expected=False))
    line = crashed.__code__.co_firstlineno + 2
    assert told == Happening(f"a crashed: ValueError: no good (test_views.py:{line}, in crashed)", True)


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (TurnEvent(agent="a", outcome="committed", **TURN), None),
        (TurnEvent(agent="a", outcome="crashed", **TURN), None),
        (TurnEvent(agent="a", outcome="interrupted", **TURN), None),
        (
            TurnEvent(agent="a", outcome="Rejected", error=ErrorInfo("Rejected", "no\r"), **TURN),
            "a refused t: Rejected: no ",
        ),
        (TurnEvent(agent="a", outcome="Rejected", **TURN), "a refused t: no reason is known"),
        (
            EffectException(time=0.0, agent="a", directive="Run", duration=1.0, error=ErrorInfo("KeyError", "")),
            "a failed at Run: KeyError",
        ),
        (AgentFenced(time=0.0, agent="a"), "a is stopped here: another process has taken it over"),
        (
            AgentQuarantined(time=0.0, agent="a", error=ErrorInfo("RestoreFailed", "bytes")),
            "a is quarantined: RestoreFailed: bytes",
        ),
    ],
)
def test_what_an_agent_refuses_or_fails_at_is_said_in_a_line(event, text):
    assert describe(event) == (None if text is None else Happening(text, True))


def test_what_keeps_a_tree_from_ending_is_told():
    told = describe(StillStopping(time=0.0, waiting_for=("a", "b"), seconds=20.1))
    assert told == Happening("still waiting, after 20 s, for a, b", True)


def test_text_of_others_cannot_move_the_cursor():
    assert one_line("a\x1b[2Jb\r\nc") == "a [2Jb  c"
    assert len(one_line("x" * 10_000)) == 300


def test_plain_lines_are_few(picture):
    written: list[str] = []
    with Lines(written.append, most=2) as view:
        for n in range(5):
            view.tell(Happening(f"line {n}", False))
        view.show(picture)
        view.show(picture)
        view.show(attrs.evolve(picture, status="1211 in"))
    standing = "database suspended, 1200 handled, 3 waiting  |  post/mail running, 1 restart, 7 handled, 1 effect"
    assert written == [
        f"1 min 30 s  line 0\n1 min 30 s  line 1\n1 min 30 s  … and 3 more\n1 min 30 s  1210 in  |  {standing}\n",
        f"1 min 30 s  1211 in  |  {standing}\n",
    ]


def test_plain_lines_name_those_children_that_need_attention_if_none_is_an_agent(picture):
    written: list[str] = []
    view = Lines(written.append)
    view.show(attrs.evolve(picture, agents={}, status=""))
    assert written == ["1 min 30 s  fronts/mail running, 1 restart\n"]
    view.show(Picture("shop.py", 91.0))
    assert len(written) == 1


def drawn(picture: Picture, *happenings: str, width: int = 80, height: int = 24) -> list[str]:
    output = io.StringIO()
    console = Console(file=output, width=width, height=height, force_terminal=True, color_system=None, _environ={})
    with Live(console) as view:
        for text in happenings:
            view.tell(Happening(text, True))
        output.truncate(0)
        output.seek(0)
        view.show(picture)
        return output.getvalue().splitlines()


def test_a_terminal_shows_the_tree(picture):
    assert [line.rstrip() for line in drawn(picture, "mail crashed")] == [
        "shop.py  1 min 30 s  1210 in",
        "child        state      restarts      uptime  mailbox  effects  handled",
        "shop         running           0  1 min 30 s",
        "├─ database  suspended         0  1 min 30 s        3        0     1200",
        "└─ fronts    running           0  1 min 30 s",
        "   ├─ web    running           0  1 min 30 s",
        "   └─ mail   running           1      30.0 s        0        1        7",
        "",
        "mail crashed",
    ]


@pytest.mark.parametrize("children", [0, 1, 500])
def test_a_terminal_of_any_size_is_not_overrun(picture, children):
    happened = ["something rather long has happened here"] * 9
    for width in (10, 20, 30, 40, 50, 60, 70, 80, 200):
        for height in (3, 5, 8, 10, 24):
            lines = drawn(wide(picture, children), *happened, width=width, height=height)
            assert len(lines) <= height, (width, height)
            assert all(len(line) <= width for line in lines), (width, height)


def test_what_does_not_fit_is_counted(picture):
    lines = [line.strip() for line in drawn(wide(picture, 500), height=10)]
    assert lines[-1] == "… and 495 more"


def test_without_rich_it_is_told_how_to_get_it(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_WithoutRich(), *sys.meta_path])
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'prunella\[terminal\]'"):
        Live()


class _WithoutRich:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "rich":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
