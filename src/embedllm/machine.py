"""What the study asks of the machine it runs on: a device, all cores, and no waiting at the cost of others."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

HERE = 2.0  # seconds of work before other processes are asked to help: they take as long to start
IDLE = 20  # seconds without work after which such a process ends, also where the one that asked was killed
SPINS = {"GOMP_SPINCOUNT": "3000",  # some 50 microseconds
         "OPENBLAS_THREAD_TIMEOUT": "14"}  # 2^14 ticks of the clock


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


def side_by_side(calls: Iterable[Callable[[], object]]) -> Iterator:
    """What calls return, in their order; as many run at once as there are cores, each on one thread.

    Threads within one call would have to wait for each other some thousand times a second, which costs a lot where
    other processes want the cores, and would sum in an order that depends on how many there are.

    The first `HERE` seconds are spent in this process, and everything with a graphics processor or one core
    (LOKY_MAX_CPU_COUNT=1 says so). A call must be one that pickle takes, such as a ``functools.partial``.
    """
    waiting, began = deque(calls), time.perf_counter()
    while waiting and (len(waiting) == 1 or time.perf_counter() - began < HERE or workers() == 1):
        with threads(1):
            result = waiting.popleft()()
        yield result
    if waiting:
        import joblib  # workers that share large arrays, as files, and stay for the next calls

        with joblib.parallel_config("loky", n_jobs=workers(), inner_max_num_threads=1, idle_worker_timeout=IDLE):
            # "c": arrays can be written to, as they can here.
            yield from joblib.Parallel(mmap_mode="c", return_as="generator")(joblib.delayed(call)() for call in waiting)


def workers() -> int:
    """How many calls run at once: one a core, and one alone where a graphics processor does the work."""
    import joblib

    return 1 if device().type == "cuda" else joblib.cpu_count()


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
