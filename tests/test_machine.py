"""Threads that wait sleep soon; calls side by side return what they return alone."""

import os
import subprocess
import sys
import threading
from functools import partial

import numpy as np
import psutil
import pytest
import torch
from conftest import same

from embedllm import catalog, machine
from embedllm.forecasters import registry


@pytest.fixture
def two_workers(monkeypatch):
    """Work goes to two processes at once, however many cores there are."""
    monkeypatch.setattr(machine, "HERE", 0)
    monkeypatch.setattr(machine, "workers", lambda: 2)


@pytest.mark.parametrize("own", [{}, {"GOMP_SPINCOUNT": "7"}])
def test_spinning_is_bounded_before_anything_loads_and_an_own_bound_is_kept(own):
    code = ("import sys, os, embedllm; print('numpy' in sys.modules, "
            f"*(os.environ[name] for name in {list(machine.SPINS)}))")
    plain = {name: value for name, value in os.environ.items() if name not in machine.SPINS}
    done = subprocess.run([sys.executable, "-c", code], env=plain | own, capture_output=True, text=True, check=True)
    loaded, *bounds = done.stdout.split()
    assert loaded == "False"
    assert bounds == list((machine.SPINS | own).values())


def where(number: int) -> tuple[int, int, int]:
    return number, os.getpid(), torch.get_num_threads()


def test_calls_run_in_other_processes_a_thread_each_and_come_back_in_order(two_workers):
    found = list(machine.side_by_side(partial(where, number) for number in range(20)))
    assert [number for number, *_ in found] == list(range(20))
    assert os.getpid() not in {process for _, process, _ in found}
    assert {threads for *_, threads in found} == {1}


def test_short_work_stays_here_and_leaves_the_threads_as_they_were():
    before = torch.get_num_threads()
    found = list(machine.side_by_side(partial(where, number) for number in range(5)))
    assert found == [(number, os.getpid(), 1) for number in range(5)]
    assert torch.get_num_threads() == before
    assert list(machine.side_by_side([])) == []


def wrong(number: int):
    raise ValueError(f"call {number}")


@pytest.mark.parametrize("here", [0, 100])
def test_what_a_call_raises_comes_out_as_it_is(two_workers, monkeypatch, here):
    monkeypatch.setattr(machine, "HERE", here)
    with pytest.raises(ValueError, match="call 0"):
        list(machine.side_by_side(partial(wrong, number) for number in range(3)))
    assert next(machine.side_by_side([partial(where, 1), partial(where, 2)]))[0] == 1, "workers go on after it"


def test_every_forecaster_gives_the_same_bits_here_and_side_by_side(two_workers, planted, monkeypatch):
    entries = [entry for entry in catalog.FORECASTERS.values() if not entry.members]
    settings = {"seed": 0, "dim": 4, "epochs": 3}
    there = registry.forecast(planted[0], entries, **settings)
    monkeypatch.setattr(machine, "HERE", np.inf)
    assert same(there, registry.forecast(planted[0], entries, **settings))


@pytest.mark.slow
def test_workers_end_with_the_process_that_asked_them(tmp_path):
    """Also where that is killed, which is how an interrupted run ends."""
    code = ("import time\nfrom functools import partial\nfrom embedllm import machine\nmachine.HERE = 0\n"
            "machine.workers = lambda: 2\nif __name__ == '__main__':\n"
            "    list(machine.side_by_side([partial(time.sleep, 5)] * 4))")
    asking = psutil.Popen([sys.executable, "-c", code])
    for _ in range(300):
        if sum("loky" in " ".join(child.cmdline()) for child in asking.children()) >= 3:
            break
        threading.Event().wait(0.1)
    workers = asking.children(recursive=True)
    assert len(workers) >= 2
    asking.kill()
    asking.wait()
    _, alive = psutil.wait_procs(workers, timeout=150)
    assert not alive
