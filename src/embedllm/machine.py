"""What the study asks of the machine it runs on: a device, all cores, and no waiting at the cost of others."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from operator import length_hint

from embedllm.progress import progress, quietly

HERE = 2.0  # seconds of work before other processes are asked to help: they take as long to start
IDLE = 20  # seconds without work after which such a process ends
AHEAD = 8  # calls of each core that are prepared at a time, and hold their arrays meanwhile
SPINS = {"GOMP_SPINCOUNT": "3000",  # some 50 microseconds
         "OPENBLAS_THREAD_TIMEOUT": "14"}  # 2^14 ticks of the clock
_serving: list[int] = []  # in a worker: who asked
_helped = float("-inf")  # when workers last were at work


def device():
    """The graphics processor where PyTorch finds one, else the processor: a ``torch.device``."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def bound_spinning() -> None:
    """Have threads that wait for the next piece of work sleep soon; to be called before numpy and torch load.

    By default they spin for many milliseconds, and beside other processes take the time of the very thread they wait
    for. Bounds that the environment has already are kept.
    """
    for name, bound in SPINS.items():
        os.environ.setdefault(name, bound)


def side_by_side(calls: Iterable[Callable[[], object]]) -> list:
    """What many calls return, in their order, computed on all cores; see `as_completed`."""
    found = dict(as_completed(calls))
    return [found[number] for number in range(len(found))]


def as_completed(calls: Iterable[Callable[[], object]]) -> Iterator[tuple[int, object]]:
    """Number and result of each call, as soon as it is there; each call computes on one thread.

    Threads within one call would have to wait for each other some thousand times a second, which costs a lot where
    other processes want the cores, and would sum in an order that depends on how many there are.

    Calls run in this process until `HERE` seconds are spent, whole calls, then one in a worker process on each core;
    in workers at once where some still wait for more, but for a single call, which may have such calls of its own. A
    graphics processor, or one core (LOKY_MAX_CPU_COUNT=1 says so), computes all of them here. A call must be one that
    pickle takes, such as a ``functools.partial``, and is asked for when its turn comes near. `progress.Counted` calls
    show how many there are to come.
    """
    with progress(length_hint(calls), "fits") as step:
        for found in _computed(calls):
            step(total=length_hint(calls))
            yield found


def _computed(calls: Iterable[Callable[[], object]]) -> Iterator[tuple[int, object]]:
    waiting, began = enumerate(calls), time.monotonic()
    alone = 0 if began - _helped < IDLE and length_hint(calls) != 1 else HERE
    while time.monotonic() - began < alone or workers() == 1:
        number, call = next(waiting, (None, None))
        if call is None:
            return
        with threads(1):
            result = call()
        yield number, result
        del call, result
    yield from _in_workers(waiting)


def _in_workers(calls: Iterator[tuple[int, Callable[[], object]]]) -> Iterator[tuple[int, object]]:
    import joblib  # workers that are handed large arrays as files, and stay for the next calls

    global _helped
    failed = []

    def asked() -> Iterator:  # by a thread of joblib, where an error would be swallowed and the rest waited for
        try:
            for number, call in calls:
                yield joblib.delayed(_served)(number, call, os.getpid())
        except Exception as error:
            failed.append(error)

    parallel = joblib.Parallel(
        workers(), "loky", return_as="generator_unordered", batch_size=1, pre_dispatch=AHEAD * workers(),
        mmap_mode="c",  # arrays can be written to, as they can here
        temp_folder=tempfile.gettempdir(), inner_max_num_threads=1, idle_worker_timeout=IDLE)
    results = parallel(asked())
    try:
        for result in results:  # noqa: UP028  ("yield from" would close it, with a warning)
            yield result
    finally:
        _helped = time.monotonic()
        with warnings.catch_warnings(action="ignore"):  # that what was not asked for any more has been computed
            results.close()
    if failed:
        raise failed[0]


def _served(number: int, call: Callable[[], object], asking: int) -> tuple[int, object]:
    """A call in a worker."""
    if os.getpid() != asking:
        _end_with(asking)
    with threads(1), quietly():
        return number, call()


@cache
def _end_with(asking: int) -> None:
    """Have this worker end when the process that asked for it is gone, even killed; loky's would wait for ever."""

    def watch() -> None:
        while os.getppid() == asking:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    _serving.append(asking)
    if os.getppid() == asking:
        threading.Thread(target=watch, daemon=True).start()


def workers() -> int:
    """How many calls run at once: one a core; one alone in a worker, and where a graphics processor does the work."""
    import joblib

    return 1 if _serving or device().type == "cuda" else joblib.cpu_count()


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Within the block BLAS, and PyTorch if it is loaded, compute with so many threads."""
    from threadpoolctl import threadpool_limits

    torch = sys.modules.get("torch")
    before = torch and torch.get_num_threads()
    try:
        with threadpool_limits(number):
            if torch:
                torch.set_num_threads(number)
            yield
    finally:
        if torch:
            torch.set_num_threads(before)
