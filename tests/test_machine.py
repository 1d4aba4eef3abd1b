"""Threads that wait sleep soon, sooner on a busy machine."""

import os
import subprocess
import sys
import time

import pytest

from embedllm import machine

BOUNDS = ("GOMP_SPINCOUNT", "OPENBLAS_THREAD_TIMEOUT")


@pytest.mark.parametrize("own", [{}, {"GOMP_SPINCOUNT": "7"}])
def test_spinning_is_bounded_before_anything_loads_and_an_own_bound_is_kept(own):
    code = ("import sys, os, embedllm; print('numpy' in sys.modules, "
            f"*(os.environ[name] for name in {BOUNDS}))")
    plain = {name: value for name, value in os.environ.items() if name not in BOUNDS}
    done = subprocess.run([sys.executable, "-c", code], env=plain | own, capture_output=True, text=True, check=True)
    loaded, spins, _ = done.stdout.split()
    assert loaded == "False"
    assert spins == own.get("GOMP_SPINCOUNT") or (not own and spins in machine.SPINS.values())


@pytest.mark.skipif(not os.path.exists("/proc/loadavg"), reason="this system does not tell who wants a core")
def test_processes_that_want_a_core_all_the_time_are_counted():
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        deadline = time.monotonic() + 20
        while (seen := machine._others()) < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert seen >= 3
    finally:
        for process in busy:
            process.kill()
            process.wait()
