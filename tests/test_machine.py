"""Threads that wait sleep soon; calls side by side return what they return alone."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import numpy as np
import psutil
import pytest
import torch
from conftest import make_parts, same

from embedllm import catalog, machine
from embedllm.forecasters import registry
from embedllm.study.memo import Memory


@pytest.fixture(autouse=True)
def no_workers_yet(monkeypatch):
    monkeypatch.setattr(machine, "_helped", -np.inf)


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
    found = machine.side_by_side(partial(where, number) for number in range(40))
    assert [number for number, *_ in found] == list(range(40))
    assert os.getpid() not in {process for _, process, _ in found}
    assert {threads for *_, threads in found} == {1}


def test_short_work_stays_here_and_leaves_the_threads_as_they_were(monkeypatch):
    monkeypatch.setattr(machine, "HERE", np.inf)
    before = torch.get_num_threads()
    assert machine.side_by_side(partial(where, number) for number in range(5)) == [
        (number, os.getpid(), 1) for number in range(5)]
    assert torch.get_num_threads() == before
    assert machine.side_by_side([]) == []


def test_workers_that_wait_for_more_get_it_at_once_but_for_a_single_call(two_workers, monkeypatch):
    machine.side_by_side([partial(where, 0)])
    monkeypatch.setattr(machine, "HERE", np.inf)
    found = machine.side_by_side([partial(where, 1), partial(where, 2)])
    assert os.getpid() not in {process for _, process, _ in found}
    assert machine.side_by_side([partial(where, 3)])[0][1] == os.getpid()


def wait(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def test_calls_are_asked_for_when_their_turn_comes_near(two_workers):
    asked = []
    running = machine.as_completed(asked.append(number) or partial(wait, 0.1) for number in range(100))
    next(running)
    assert 2 * machine.AHEAD <= len(asked) < 3 * machine.AHEAD
    running.close()


def test_what_fails_as_a_call_is_made_comes_out_after_the_results_of_those_before_it(two_workers):
    def calls():
        for number in range(30):
            if number == 25:
                raise ValueError("no call 25")
            yield partial(wait, 0.01)

    found = []
    with pytest.raises(ValueError, match="no call 25"):
        found.extend(number for number, _ in machine.as_completed(calls()))
    assert sorted(found) == list(range(25))


def test_results_come_as_soon_as_they_are_there_and_slow_calls_do_not_share_a_worker(two_workers):
    machine.side_by_side([partial(wait, 0.0)] * 4)  # both workers have started
    began = time.perf_counter()
    numbers = [number for number, _ in machine.as_completed([partial(wait, 2.0), *[partial(wait, 0.01)] * 6])]
    assert numbers[-1] == 0
    assert machine.side_by_side([*[partial(wait, 0.01)] * 6, partial(wait, 1.5), partial(wait, 1.5)])
    assert time.perf_counter() - began < 2 + 1.5 + 1.2, "side by side"


def nested(number: int) -> set[int]:
    return {process for _, process, _ in machine.side_by_side(partial(where, one) for one in range(3))} - {os.getpid()}


def test_a_worker_asks_no_workers(two_workers):
    assert machine.side_by_side(partial(nested, number) for number in range(2)) == [set(), set()]


def wrong(number: int):
    raise ValueError(f"call {number}")


@pytest.mark.parametrize("here", [0, 100])
def test_what_a_call_raises_comes_out_as_it_is(two_workers, monkeypatch, here):
    monkeypatch.setattr(machine, "HERE", here)
    with pytest.raises(ValueError, match="call 0"):
        machine.side_by_side([partial(wrong, 0), *[partial(wait, 0.2)] * 3])
    assert machine.side_by_side([partial(where, 1), partial(where, 2)])[0][0] == 1, "workers go on after it"


def slow_or_wrong(number: int) -> np.ndarray:
    time.sleep(2 if number == 0 else 0.05)
    if number == 7:
        raise ValueError("the last")
    return np.array([number])


def test_what_was_finished_before_an_error_is_kept(two_workers, tmp_path):
    """Though the first call has not ended yet."""
    calls = [partial(slow_or_wrong, number) for number in range(8)]
    with pytest.raises(ValueError, match="the last"):
        Memory(tmp_path).remember_all(calls)
    memory = Memory(tmp_path)
    found = memory.remember_all(calls[1:6])
    assert [int(one[0]) for one in found] == [1, 2, 3, 4, 5]
    assert memory.read_back >= 4


def test_every_forecaster_gives_the_same_bits_here_and_side_by_side(two_workers, rng, monkeypatch):
    """On arrays that are large enough to be handed over as files."""
    vectors = rng.standard_normal((1500, 300)).astype(np.float32) / 10
    parts = make_parts(rng.standard_normal((6, 300)) @ vectors.T, vectors, benchmarks=np.arange(1500) % 4)
    assert parts["train"][1].nbytes > 1.2e6
    entries = [replace(entry, grid={name: values[:1] for name, values in entry.grid.items()})
               for entry in catalog.FORECASTERS.values() if not entry.members]
    settings = {"seed": 0, "dim": 4, "epochs": 2}
    there = registry.forecast(parts, entries, **settings)
    monkeypatch.setattr(machine, "HERE", np.inf)
    monkeypatch.setattr(machine, "_helped", -np.inf)
    assert same(there, registry.forecast(parts, entries, **settings))


def test_workers_end_with_the_process_that_asked_them(tmp_path):
    """Also where that is killed, which is how an interrupted run ends, and where their results fill the pipe."""
    (tmp_path / "large.py").write_text(
        "import time\nimport numpy as np\ndef result():\n    time.sleep(1)\n    return np.ones(10**6)\n")
    code = ("from functools import partial\nimport large\nfrom embedllm import machine\nmachine.HERE = 0\n"
            "machine.workers = lambda: 2\nmachine.side_by_side([partial(large.result)] * 40)")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    asking = psutil.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path})
    started, deadline = [], time.monotonic() + 60
    while len(started) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
        started = [one for one in asking.children() if "LokyProcess" in " ".join(one.cmdline())]
    time.sleep(3)  # they are at work
    asking.kill()
    asking.wait()
    assert len(started) == 2
    _, alive = psutil.wait_procs(started, timeout=20)
    assert not alive
