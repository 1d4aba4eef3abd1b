"""What the study asks of the machine it runs on: a device, and threads that do not wait at the cost of others."""

from __future__ import annotations

import os
import time
from pathlib import Path

LOOKS, APART = 5, 0.01  # times that the queue of the processor is looked at, seconds between two
SPINS = {False: "3000", True: "100"}  # where a core is free, and where none is: some 50 microseconds and 2


def device():
    """The graphics processor where PyTorch finds one, else the processor: a ``torch.device``."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def bound_spinning() -> None:
    """Have threads that wait for the next piece of work sleep soon; to be called before numpy and torch load.

    By default they spin for many milliseconds. Beside other processes that takes the time of the very thread they wait
    for: notebook 03 took fifteen times as long. Bounds that the environment has already are kept. The number of threads
    stays what it is, since fewer would sum in another order: results must not depend on what else is running.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS[_others() >= (os.cpu_count() or 1)])
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "14")  # 2^14 ticks of the clock


def _others() -> int:
    """Other processes and threads that want a core all the time; 0 where the system does not tell."""
    running = []
    try:
        for _ in range(LOOKS):
            running.append(int(Path("/proc/loadavg").read_text().split()[3].split("/")[0]))
            time.sleep(APART)
    except OSError:
        return 0
    return max(0, min(running) - 1)  # one is this thread
