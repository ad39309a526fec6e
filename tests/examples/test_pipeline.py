from __future__ import annotations

import logging
import random

import pytest
import trio
from examples.pipeline import TEXTS, Pipeline, Worker, count_words, main

from prunella import Context, Emit, SpawnAgent
from prunella.agents import Address
from prunella.runtime import AgentRef, Runtime
from prunella.testing import PublishedSignals, assert_emits, assert_runs, crash, settle

WORDS = {job: len(text.split()) for job, text in TEXTS.items()}


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


@pytest.fixture
async def pipeline(runtime: Runtime) -> AgentRef[Pipeline]:
    return await runtime.start_agent(Pipeline, "pipeline")


def started(texts: dict[str, str]) -> Pipeline:
    return Pipeline().cmd("start", texts=texts, workers=1)[0]


def test_it_starts_as_many_workers_as_it_is_told() -> None:
    agent, directives = Pipeline().cmd("start", texts={"a": "one two"}, workers=2)
    assert agent.waiting == ("a",)
    assert directives == (SpawnAgent(Worker, tag="worker-1"), SpawnAgent(Worker, tag="worker-2"))


def test_a_worker_that_is_there_gets_the_first_job_and_after_a_crash_the_same_again() -> None:
    agent, *directives = started({"a": "one two", "b": "three"}).worker_is_there("w")
    assert directives == [Emit("job", {"job": "a", "text": "one two"}, to="w")]
    assert agent.worker_is_there("w") == (agent, *directives)


def test_a_result_brings_the_next_job_and_the_last_one_the_end() -> None:
    agent, _ = started({"a": "one two", "b": "three"}).worker_is_there("w")
    agent, directives = agent.cmd("job.done", job="a", words=2, worker="w")
    assert_emits(directives, "job", {"job": "b", "text": "three"}, to="w")
    agent, directives = agent.cmd("job.done", job="b", words=1, worker="w")
    assert_emits(directives, "pipeline.done", {"words": {"a": 2, "b": 1}}, to=None)


def test_a_result_that_comes_twice_counts_once() -> None:
    agent, _ = started({"a": "one two", "b": "three"}).worker_is_there("w")
    agent, _ = agent.cmd("job.done", job="a", words=2, worker="w")
    assert agent.cmd("job.done", job="a", words=2, worker="w") == (agent, ())


def test_a_worker_counts_and_tells_its_parent() -> None:
    context = Context("w", parent=Address("pipeline"))
    worker, directives = Worker().cmd("job", job="a", text="one two", context=context)
    assert assert_runs(directives, count_words, {"text": "one two"}).then == "counted"
    _, directives = worker.cmd("counted", result=2, job="a", context=context)
    assert directives == (Emit("job.done", {"job": "a", "words": 2, "worker": "w"}, to=Address("pipeline")),)


def test_a_worker_has_a_fault_that_shows_after_a_while() -> None:
    with pytest.raises(RuntimeError, match="corrupt"):
        Worker(table=("a", "b", "c", "d")).cmd("job", job="e", text="")


async def test_workers_crash_and_the_results_are_complete(
    runtime: Runtime, signals: PublishedSignals, pipeline: AgentRef[Pipeline]
) -> None:
    await pipeline.cast("start", texts=TEXTS, workers=3)
    with trio.fail_after(60):
        done = await signals.wait_for("pipeline.done")
    assert done.data["words"] == WORDS
    assert sum(worker.status().restarts for worker in runtime.agents(Worker)) >= 1
    await settle(runtime)
    assert signals.types == ["pipeline.done"]


@pytest.mark.parametrize("seed", range(5))
async def test_crashes_at_any_time_lose_nothing(
    runtime: Runtime, signals: PublishedSignals, pipeline: AgentRef[Pipeline], seed: int
) -> None:
    chance = random.Random(seed)
    await pipeline.cast("start", texts=TEXTS, workers=3)
    for _ in range(12):
        await trio.sleep(chance.random() * 0.02)
        if workers := runtime.agents(Worker):
            await crash(chance.choice(workers))
    with trio.fail_after(60):
        await signals.wait_for("pipeline.done")
    assert pipeline.state().words == WORDS
    await settle(runtime)
    assert signals.types == ["pipeline.done"]


async def test_a_worker_that_crashes_too_often_is_replaced(
    runtime: Runtime, signals: PublishedSignals, pipeline: AgentRef[Pipeline]
) -> None:
    await pipeline.cast("start", texts={"a": "one two"}, workers=1)
    await trio.testing.wait_all_tasks_blocked()
    [worker] = runtime.agents(Worker)
    states = [(await crash(worker)).state for _ in range(4)]
    assert states[-1] != "running" or worker.status().restarts == 0
    with trio.fail_after(60):
        await signals.wait_for("pipeline.done")
    assert pipeline.state().words == {"a": 2}


async def test_the_program_says_that_nothing_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    await main()
    assert capsys.readouterr().out.startswith("20 of 20 jobs done, 210 words, ")
