"""How far long work has come: a line that renews itself, and is gone when the work is done.

JupyterLab shows it under the cell; make passes it on (`study.execute`), and cleans it out of what it keeps.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext

from tqdm import tqdm

DELAY = 2.0  # seconds: what is done sooner shows nothing
_outer = 0  # how many contexts hide those within them


class Counted:
    """An iterable that tells how many items it has before they are made.

    Parameters
    ----------
    items : iterable
    number : int or callable
        A callable is asked again whenever it matters; 0 where it is not known.
    """

    def __init__(self, items: Iterable, number: int | Callable[[], int]):
        self._items, self._number = items, number

    def __iter__(self) -> Iterator:
        return iter(self._items)

    def __length_hint__(self) -> int:
        return self._number() if callable(self._number) else self._number


def _stream():
    """Where to write: stderr, but in a notebook, where that leaves an empty red line, stdout."""
    shell = sys.modules.get("IPython") and sys.modules["IPython"].get_ipython()
    return sys.stdout if hasattr(shell, "kernel") else sys.stderr


@contextmanager
def quietly() -> Iterator[None]:
    """Within the block no progress is shown: something around it shows its own, or it runs in a worker."""
    global _outer
    _outer += 1
    try:
        yield
    finally:
        _outer -= 1


@contextmanager
def progress(total: int, unit: str) -> Iterator[Callable[..., None]]:
    """Within the block the function it gives counts what is done: ``step(done=1, total=0)``.

    Work within the block shows nothing, unless there is a single thing to do, which does not tell how far it is.

    Parameters
    ----------
    total : int
        0 where it is not known; `step` may say it later.
    unit : str
        What is counted, in the plural.
    """
    hidden = bool(_outer) or total == 1
    bar = tqdm(total=total or None, desc=unit, unit="", delay=DELAY, leave=False, ncols=79, disable=hidden,
               file=_stream())

    def step(done: int = 1, total: int = 0) -> None:
        bar.total = total or bar.total
        bar.update(done)

    with bar, nullcontext() if hidden else quietly():
        yield step
