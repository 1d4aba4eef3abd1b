"""Worked examples that the lm-evaluation-harness puts before a question (few-shot): where they end in a prompt."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

FEW = 5  # different prompts: what all of them begin with is taken as said to every question of the task
CUT = "questions whose worked examples were cut off the prompt"
BEGINNING = "questions of runs without a results file, cut where the prompts of the task begin to differ"
WHOLE = "questions that may begin with worked examples, left whole"


class Shots(NamedTuple):
    """What the results of a run say about the prompts of a task.

    Attributes
    ----------
    number : int or None
        Worked examples in each prompt; None where nobody says, or two places disagree.
    delimiter : str
        After each example.
    before : str
        System instruction and description, before the first.
    turns : bool
        Whether a chat template made turns of the examples, so that no delimiter follows them.
    """

    number: int | None = None
    delimiter: str = "\n\n"
    before: str = ""
    turns: bool = False


def shots_of(results: Mapping[str, object], task: str) -> Shots:
    """What a results file ({} where there is none) says about a task."""
    config = _object(_object(results.get("configs")).get(task))
    counts = [config.get("num_fewshot"), _object(results.get("n-shot")).get(task)]
    counts = [count for count in counts if isinstance(count, int) and not isinstance(count, bool) and count >= 0]
    delimiters = (_object(config.get("fewshot_config")).get("fewshot_delimiter"), config.get("fewshot_delimiter"))
    delimiter = next((text for text in delimiters if isinstance(text, str)), Shots().delimiter)
    turns = bool(results.get("chat_template")) and results.get("fewshot_as_multiturn") is not False
    if not counts or (counts[0] == 0 < counts[-1]):  # tasks whose examples are part of their description say so
        return Shots(None, delimiter, "", turns)
    system, description = (text if isinstance(text, str) else ""
                           for text in (results.get("system_instruction"), config.get("description")))
    apart = system and description and not (system[-1].isspace() or description[0].isspace())
    return Shots(counts[0], delimiter, system + delimiter * bool(apart) + description, turns)


def without_examples(
    prompts: Sequence[str], shots: Shots, others: Iterable[str] = ()
) -> list[tuple[str, str | None]]:
    """Prompts of one log without the examples before the question, where it is certain where these end.

    The harness writes system instruction, description, then each example and the delimiter, then the question
    (0.4.13, ``ConfigurableTask.fewshot_context``), so that what remains is the prompt it would send without
    examples. n delimiters after the description in a prompt of n examples end the examples. Where there are more,
    the questions hold some: if the examples are the same for all questions, they end with the last delimiter that
    all prompts share; if they are drawn anew for each, but all begin with the same word, with the n-th delimiter
    before that word, if there is no further. Of a chat in JSON the last turn of the user stays.

    Parameters
    ----------
    others : iterable of str
        More prompts of this log, to see what all of them share.

    Returns
    -------
    list of (str, str or None)
        The prompt, and under which of `CUT`, `BEGINNING` and `WHOLE` it counts.
    """
    if shots.number == 0:
        return [(prompt, None) for prompt in prompts]
    bodies = {prompt.removeprefix(shots.before) for prompt in (*prompts, *others)}
    shared = _beginning(min(bodies), max(bodies)) if len(bodies) >= FEW else ""
    end = 0
    if shots.delimiter and shared.count(shots.delimiter) >= (shots.number or 1):
        end = _after_last(shared, shots.delimiter)
        end *= all(body[end:].strip() for body in bodies)  # a question that is the beginning of another one
    word = re.match(r"\S+\s", shared)
    return [_cut(prompt, shots, end, word[0] if word else "") for prompt in prompts]


def _cut(prompt: str, shots: Shots, end: int, word: str) -> tuple[str, str | None]:
    """One prompt; all of its task share what is before end, and begin with that word."""
    if (turns := _turns(prompt)) is not None:
        asked = [place for place, turn in enumerate(turns) if turn["role"] == "user"]
        if not shots.number or len(asked) != shots.number + 1:
            return prompt, WHOLE if shots.number or len(asked) > 1 else None
        kept = [turn for turn in turns[: asked[0]] if turn["role"] == "system"] + turns[asked[-1] :]
        return json.dumps(kept, ensure_ascii=False), CUT
    body, start = prompt.removeprefix(shots.before), 0
    if shots.delimiter and not shots.turns:
        if shots.number and body.count(shots.delimiter) == shots.number:
            start = _after_last(body, shots.delimiter)
        elif end:
            start = end
        elif shots.number and word and body.count(shots.delimiter + word) == shots.number:
            start = _after_last(body, shots.delimiter + word) - len(word)
    if not start or not body[start:].strip():
        return prompt, WHOLE if shots.number or shots.turns or shots.delimiter in prompt else None
    return prompt[: len(prompt) - len(body)] + body[start:], CUT if shots.number else BEGINNING


def _beginning(first: str, last: str) -> str:
    """What both begin with, and so all texts that sort between them."""
    same = next((place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), None)
    return first[:same]


def _after_last(text: str, mark: str) -> int:
    return text.rindex(mark) + len(mark)


def _turns(prompt: str) -> list[dict] | None:
    """The turns of a chat in JSON; None of other texts."""
    if not prompt.startswith("[{"):
        return None
    try:
        turns = json.loads(prompt)
    except (ValueError, RecursionError):
        return None
    return turns if all(isinstance(turn, dict) and "role" in turn for turn in turns) else None


def _object(value: object) -> Mapping:
    return value if isinstance(value, dict) else {}
