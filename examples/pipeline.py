"""A pipeline: an agent hands out jobs to workers that it has started. A worker crashes, and nothing is missing.

    python examples/pipeline.py

The workers have a fault that shows after a while, as many faults do: a table that they keep grows wrong. A worker that
comes back begins with an empty table, and its parent gives it the job again at which it had crashed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import trio

from prunella import Agent, Context, Emit, Map, Run, SpawnAgent, on
from prunella.runtime import AgentSpec, open_runtime


async def count_words(text: str) -> int:
    """The work itself; it might as well take minutes."""
    await trio.sleep(0.01)
    return len(text.split())


class Worker(Agent, name="worker"):
    """Counts words, one job at a time."""

    table: tuple[str, ...] = ()

    @on("job")
    def job(self, job: str, text: str):
        if len(self.table) == 4:
            raise RuntimeError("the table is corrupt")  # the fault
        return self.set(table=(*self.table, job)), Run(count_words, {"text": text}, then="counted", carry={"job": job})

    @on("counted")
    def counted(self, result: int, job: str, context: Context):
        return Emit("job.done", {"job": job, "words": result, "worker": context.agent_id}, to=context.parent)


class Pipeline(Agent, name="pipeline"):
    """Hands out jobs, one at a time to each worker, until all are done."""

    waiting: tuple[str, ...] = ()
    running: Map[str, str] = Map()  # jobs by worker
    texts: Map[str, str] = Map()  # by job
    words: Map[str, int] = Map()  # results by job

    @on("start")
    def start(self, texts: Map[str, str], workers: int):
        spawns = [SpawnAgent(Worker, tag=f"worker-{number}") for number in range(1, workers + 1)]
        return self.set(texts=texts, waiting=tuple(sorted(texts))), *spawns

    @on("prunella.child.started")
    def worker_is_there(self, child: str):
        """For the first time, or again after a crash: then what it was at has to be done again."""
        return self.hand_out(child, self.running.get(child))

    @on("prunella.child.exited")
    def worker_is_gone(self, tag: str, child: str, reason: Mapping[str, Any]):
        """It crashed too often to be restarted: another takes its place, and its job is the next to be handed out."""
        if reason["kind"] != "crashed":
            return None
        job = self.running.get(child)
        agent = self if job is None else self.set(running=self.running.delete(child), waiting=(job, *self.waiting))
        return agent, SpawnAgent(Worker, tag=tag)

    @on("job.done")
    def job_done(self, job: str, words: int, worker: str):
        if job in self.words:
            return None  # Done twice: its worker crashed when it had just been done.
        done = self.set(words=self.words.set(job, words))
        if len(done.words) == len(done.texts):
            return done, Emit("pipeline.done", {"words": dict(done.words)})
        return done.hand_out(worker)

    def hand_out(self, worker: str, job: str | None = None):
        """Gives a worker a job: the next one, unless another is named."""
        agent = self
        if job is None:
            if not self.waiting:
                return (self.set(running=Map({other: at for other, at in self.running.items() if other != worker})),)
            job, *waiting = self.waiting
            agent = self.set(waiting=tuple(waiting), running=self.running.set(worker, job))
        return agent, Emit("job", {"job": job, "text": self.texts[job]}, to=worker)


TEXTS = {f"chapter-{number:02}": "word " * number for number in range(1, 21)}


async def main() -> None:
    async with (
        open_runtime(AgentSpec(Pipeline)) as runtime,
        runtime.subscribe("pipeline.done") as done,
    ):
        await runtime.ref("pipeline", Pipeline).cast("start", texts=TEXTS, workers=3)
        words = (await done.receive()).data["words"]
        restarts = sum(worker.status().restarts for worker in runtime.agents(Worker))
    print(f"{len(words)} of {len(TEXTS)} jobs done, {sum(words.values())} words, {restarts} crashes")


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    logging.getLogger("prunella.supervision").disabled = True  # it has the tracebacks; one line a crash is enough here
    trio.run(main)
