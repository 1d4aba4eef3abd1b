"""Progress is shown once, from outside to inside, with the total where it is known, and leaves nothing behind."""

import re
from functools import partial

import pytest

from embedllm import machine, progress


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(progress, "DELAY", 0)
    monkeypatch.setattr(machine, "HERE", 1000.0)


def shown(capsys) -> list[str]:
    """What was on the line, one after the other."""
    return [line.strip() for line in capsys.readouterr().err.split("\r") if line.strip()]


def number(n: int) -> int:
    return n


def test_calls_that_can_be_counted_show_their_total(at_once, capsys):
    assert machine.side_by_side([partial(number, n) for n in range(3)]) == [0, 1, 2]
    assert re.search(r"fits: .* [0-3]/3 ", shown(capsys)[0])


def test_a_counted_generator_shows_what_it_says_last(at_once, capsys, monkeypatch):
    monkeypatch.setattr(progress, "tqdm", partial(progress.tqdm, mininterval=0))
    totals = iter([0, 0, 7, 7, 7])
    machine.side_by_side(progress.Counted((partial(number, n) for n in range(3)), lambda: next(totals)))
    lines = shown(capsys)
    assert any("/7 " in line for line in lines) and "/7" not in lines[0]


def test_inner_work_is_silent_unless_the_outer_is_one_call(at_once, capsys):
    inner = partial(machine.side_by_side, [partial(number, n) for n in range(5)])
    machine.side_by_side([inner, inner])
    assert not any("/5 " in line for line in shown(capsys))
    machine.side_by_side([inner])
    assert any("/5 " in line for line in shown(capsys))


def test_nothing_stays_on_the_line_and_short_work_shows_nothing(capsys, monkeypatch):
    machine.side_by_side([partial(number, n) for n in range(3)])
    assert shown(capsys) == [], "done before the delay is over"
    monkeypatch.setattr(progress, "DELAY", 0)
    with progress.progress(3, "prompts") as step:
        step(3)
    assert capsys.readouterr().err.endswith("\r"), "an empty line, for what comes next"


def test_an_error_ends_the_silence_it_caused(at_once, capsys):
    with pytest.raises(ZeroDivisionError), progress.progress(2, "fits"):
        raise ZeroDivisionError
    capsys.readouterr()
    machine.side_by_side([partial(number, n) for n in range(3)])
    assert shown(capsys)
