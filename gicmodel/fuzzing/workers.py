# SPDX-License-Identifier: Apache-2.0
"""Who runs the chunks of a campaign: this process, processes of this machine, or the workers of a dask scheduler.

Chunks are handed out in order, and a chunk is a function of its number. So whoever runs them, and whatever becomes of a
worker, the results are the same.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache, partial
from itertools import takewhile
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

import gicmodel
from gicmodel.engine import Engine, is_settled, settle, settled
from gicmodel.errors import MissingExtra, UnusableInput

_Result = TypeVar("_Result")

_CONNECT_SECONDS = "10s"
_LOOK_SECONDS = 5.0
"""How often somebody looks whether there is still who does it,"""
_PATIENCE_SECONDS = 30.0
"""and how long nobody may be: a nanny starts a worker anew in a few seconds."""


class WorkersLost(Exception):
    """Those who ran the chunks are gone; what they had finished is not."""


class Workers(NamedTuple):
    """An executor, how many tasks it does at a time, and whether there is anybody who does them.

    `first` is done before each task, and before anything of the task is loaded. What it raises is the task's.
    """

    executor: Executor
    width: int
    manned: Callable[[], bool] = lambda: True
    first: Callable[[], None] | None = None

    def run(
        self, task: Callable[[int], _Result], numbers: Iterable[int], deadline: float = float("inf")
    ) -> Iterator[_Result]:
        """The result of `task` for each number, as they come; none is begun after `deadline` (time.monotonic).

        Raises WorkersLost if nobody is there for a while to do them.
        """
        if self.first is not None:
            task = partial(_behind, self.first, pickle.dumps(task))
        if not isinstance(self.executor, _Here):
            return self._run(task, iter(numbers), deadline)
        return (task(number) for number in takewhile(lambda _: time.monotonic() < deadline, numbers))

    def _run(self, task: Callable[[int], _Result], left: Iterator[int], deadline: float) -> Iterator[_Result]:
        """Each of those who do them has two tasks: one to run, and one to go on with."""
        waiting: set[Future[_Result]] = set()
        finished: SimpleQueue[Future[_Result]] = SimpleQueue()
        try:
            while True:
                while time.monotonic() < deadline and len(waiting) < 2 * self.width:
                    if (number := next(left, None)) is None:
                        break
                    with _signals_later():
                        waiting.add(future := self.executor.submit(task, number))
                        future.add_done_callback(finished.put)
                if not waiting:
                    return
                waiting.remove(future := self._next_done(finished))
                with _signals_later():
                    result = future.result()
                yield result
        finally:
            with _signals_later():
                for future in waiting:
                    future.cancel()

    def _next_done(self, finished: SimpleQueue[Future[_Result]]) -> Future[_Result]:
        """The next task that is done. Signals are taken here, where no lock of a future is held."""
        seen = time.monotonic()
        while True:
            with suppress(Empty):
                return finished.get(timeout=_LOOK_SECONDS)
            if self.manned():
                seen = time.monotonic()
            elif time.monotonic() - seen >= _PATIENCE_SECONDS:
                raise WorkersLost(f"no worker has been there for {_PATIENCE_SECONDS:.0f} s, and none came back")


@contextmanager
def _signals_later() -> Iterator[None]:
    """What a signal raises is raised behind the block.

    Within a call of a future or its executor it could leave one of their locks taken, and the thread that serves the
    processes, which everybody waits for at the end, would wait for that lock for ever.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before: dict[int, Any] = {}
    try:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if callable(handler := signal.getsignal(each)):
                before[each] = handler
                signal.signal(each, lambda number, _: came.append(number))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in came[:1]:
            before[number](number, None)


@contextmanager
def local(jobs: int) -> Iterator[Workers]:
    """This process for one job, else as many processes, which end with the block or with this process."""
    if jobs == 1:
        yield Workers(_Here(), 1)
        return
    spawn = multiprocessing.get_context("spawn")
    theirs, lifeline = spawn.Pipe(duplex=False)
    with _terminal_ignored():
        pool = ProcessPoolExecutor(jobs, mp_context=spawn, initializer=_begin, initargs=(theirs,))
        for _ in range(jobs):
            pool.submit(_ignore_terminal)
    with pool, lifeline:
        try:
            yield Workers(pool, jobs)
            pool.shutdown()
        except BrokenExecutor as error:
            raise WorkersLost(f"a process of --jobs ended before its time: {error}") from error


@contextmanager
def cluster(address: str) -> Iterator[Workers]:
    """The workers of the dask scheduler at an address, on each of which this version of gicmodel is installed.

    Raises:
        UnusableInput: distributed is not installed, or no scheduler answers, or it has no workers; or one of them, or
            one that comes later, has other sources or runs the other engine.
    """
    try:
        from distributed import Client, KilledWorker
        from distributed.comm import CommClosedError
    except ImportError:
        raise MissingExtra("--cluster", "dask.distributed", "cluster") from None
    try:
        client = Client(address, timeout=_CONNECT_SECONDS)
    except (OSError, ValueError, ImportError) as error:
        raise UnusableInput(f"{address}: no dask scheduler answers there: {error}") from error
    with client:
        threads = sum(client.nthreads().values())
        if not threads:
            raise UnusableInput(f"{address}: this scheduler has no workers")
        alike = partial(_require_alike, address, sources(), settled())
        try:
            client.run(alike)
        except (ImportError, AttributeError) as error:
            raise UnusableInput(f"{address}: its workers do not have this gicmodel: {error}") from error
        executor = client.get_executor(pure=False)
        try:
            yield Workers(executor, threads, lambda: bool(client.nthreads()), alike)
        except (CancelledError, CommClosedError, KilledWorker) as error:
            raise WorkersLost(f"{address}: the scheduler or its workers are gone: {error}") from error
        finally:
            # As a context manager it would wait for what nobody is there to do.
            executor.shutdown(wait=False)


@cache
def sources() -> str:
    """A digest of this package."""
    package = Path(gicmodel.__file__).parent
    digest = hashlib.blake2b(digest_size=16)
    for source in sorted(package.rglob("*.py")):
        digest.update(source.relative_to(package).as_posix().encode() + source.read_bytes())
    return digest.hexdigest()


def _require_alike(address: str, theirs: str, engine: Engine) -> None:
    """A chunk is a function of its number only for those who have the same functions, and run them on one engine.

    A worker runs on this engine, unless it has run something on the other one before.
    """
    if sources() != theirs:
        raise UnusableInput(f"{address}: its workers have another gicmodel than this one")
    if not is_settled():
        settle(engine)
    if settled() != engine:
        raise UnusableInput(f"{address}: its workers do not run the {engine} engine: start them anew, or use --engine")


class _Here(Executor):
    """Does each task when it is submitted."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A future that is already done. What `fn` raises is raised at once."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def _behind(first: Callable[[], None], task: bytes, number: int) -> Any:
    first()
    return pickle.loads(task)(number)


def _begin(lifeline: Connection) -> None:
    """What a process does first."""
    _ignore_terminal()
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    """Nobody writes to it: it becomes readable when its other end is closed, at the latest by the end of that process.

    A chunk that is not finished by then is of no use to anybody.
    """
    with suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(0)


_OF_A_TERMINAL = (signal.SIGINT, signal.SIGHUP)
"""Ctrl-C and a hangup reach every process of a terminal; the first one decides what becomes of the others."""


def _ignore_terminal() -> None:
    for number in _OF_A_TERMINAL:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _terminal_ignored() -> Iterator[None]:
    """A process that is started in the block ignores these signals from its beginning, as it inherits that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _OF_A_TERMINAL}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
