"""Worked examples that the lm-evaluation-harness puts before a question (few-shot): where they end in a prompt."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
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
        Whether a chat template made turns of the examples, so that no delimiter follows them in a text.
    """

    number: int | None = None
    delimiter: str = "\n\n"
    before: str = ""
    turns: bool = False


def shots_of(results: Mapping[str, object], task: str) -> Shots:
    """What a results file ({} where there is none) says about a task."""
    config = object_of(object_of(results.get("configs")).get(task))
    counts = [config.get("num_fewshot"), object_of(results.get("n-shot")).get(task)]
    counts = [count for count in counts if isinstance(count, int) and not isinstance(count, bool) and count >= 0]
    delimiters = (object_of(config.get("fewshot_config")).get("fewshot_delimiter"), config.get("fewshot_delimiter"))
    delimiter = next((text for text in delimiters if isinstance(text, str)), Shots().delimiter)
    turns = bool(results.get("chat_template")) and results.get("fewshot_as_multiturn") is not False
    if not counts or (counts[0] == 0 < counts[-1]):  # tasks whose examples are part of their description say so
        return Shots(None, delimiter, "", turns)
    system, description = (text if isinstance(text, str) else ""
                           for text in (results.get("system_instruction"), config.get("description")))
    apart = system and description and not (system[-1].isspace() or description[0].isspace())
    return Shots(counts[0], delimiter, system + delimiter * bool(apart) + description, turns)


class _Common(NamedTuple):
    """What the prompts of a task have in common, to tell where examples end: "" and 0 for nothing.

    Attributes
    ----------
    end : int
        Characters of the examples that are the same for all.
    line, word : str
        The first line and the first word of each, with the blank that ends it.
    delimited : bool
        Whether each holds at least as many delimiters as examples; an example without an answer has none.
    """

    end: int
    line: str
    word: str
    delimited: bool


def without_examples(
    prompts: Sequence[str], shots: Shots, others: Iterable[str] = ()
) -> list[tuple[str, str | None]]:
    """Prompts of one log without the examples before the question, where it is certain where these end.

    The harness writes system instruction, description, then each example and the delimiter, then the question
    (0.4.13, ``ConfigurableTask.fewshot_context``), so that what remains is the prompt it would send without
    examples. In prompts of n examples that all begin with the same line, n + 1 of these lines are the beginnings of
    the examples and of the question. Otherwise n delimiters after the description end the examples. Where there are
    more, the questions hold some: if the examples are the same for all questions, they end with the last delimiter
    that all prompts share; if they are drawn anew for each, but all begin with the same word, with the n-th delimiter
    before that word, if there is no further. Of a chat the last turn of the user stays or, where there is only one,
    what follows the examples in it.

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
    common = _common({_body(prompt, shots) for prompt in (*prompts, *others)} - {None}, shots)
    return [_cut(prompt, shots, common) for prompt in prompts]


def _common(bodies: set[str], shots: Shots) -> _Common:
    shared = shared_beginning(bodies) if len(bodies) >= FEW else ""
    end, delimiter, number = 0, shots.delimiter, shots.number or 1
    if delimiter and shared.count(delimiter) >= number:
        end = _after_last(shared, delimiter)
        end *= all(body[end:].strip() for body in bodies)  # a question that is the beginning of another one
    line, word = re.match(r".*\S.*\n", shared), re.match(r"\S+\s", shared)
    delimited = bool(delimiter) and all(body.count(delimiter) >= number for body in bodies)
    return _Common(end, line[0] if line else "", word[0] if word else "", delimited)


def _cut(prompt: str, shots: Shots, common: _Common) -> tuple[str, str | None]:
    """One prompt of those that have this in common."""
    body = _body(prompt, shots)
    if body is None:
        turns = turns_of(prompt)
        asked = [place for place, turn in enumerate(turns) if turn["role"] == "user"]
        if not shots.number or len(asked) != shots.number + 1:
            return prompt, WHOLE
        kept = [turn for turn in turns[: asked[0]] if turn["role"] == "system"] + turns[asked[-1] :]
        return json.dumps(kept, ensure_ascii=False), CUT
    start = _start(body, shots, common) if turns_of(prompt) or not shots.turns else 0
    if not start or not body[start:].strip():
        return prompt, WHOLE if shots.number or shots.turns or shots.delimiter in body else None
    return _replaced(prompt, body, body[start:]), CUT if shots.number else BEGINNING


def _start(body: str, shots: Shots, common: _Common) -> int:
    """Where the question begins, 0 where that is not certain."""
    number, delimiter, beginning = shots.number, shots.delimiter, shots.delimiter + common.word
    if number and common.line and body.count(common.line) == number + 1:
        return body.rindex(common.line)
    if number and common.delimited and body.count(delimiter) == number:
        return _after_last(body, delimiter)
    if common.end:
        return common.end
    if number and delimiter and common.word and body.count(beginning) == number:
        return _after_last(body, beginning) - len(common.word)
    return 0


def _body(prompt: str, shots: Shots) -> str | None:
    """What examples may begin: a text after its description, or the only turn of the user; None of other chats."""
    turns = turns_of(prompt)
    if turns is None:
        return prompt.removeprefix(shots.before)
    said = [turn.get("content") for turn in turns if turn["role"] == "user"]
    return said[0].removeprefix(shots.before) if len(said) == 1 and isinstance(said[0], str) else None


def _replaced(prompt: str, body: str, kept: str) -> str:
    """The prompt with what is kept of its body, see `_body`."""
    turns = turns_of(prompt)
    if turns is None:
        return prompt.removesuffix(body) + kept
    return json.dumps([turn | {"content": turn["content"].removesuffix(body) + kept} if turn["role"] == "user" else turn
                       for turn in turns], ensure_ascii=False)


def shared_beginning(texts: Collection[str]) -> str:
    """What all texts begin with: what the first and the last in their order do."""
    first, last = min(texts), max(texts)
    same = next((place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), None)
    return first[:same]


def _after_last(text: str, mark: str) -> int:
    return text.rindex(mark) + len(mark)


def turns_of(prompt: str) -> list[dict] | None:
    """The turns of a chat in JSON; None of other texts."""
    if not prompt.startswith("[{"):
        return None
    try:
        turns = json.loads(prompt)
    except (ValueError, RecursionError):
        return None
    return turns if all(isinstance(turn, dict) and "role" in turn for turn in turns) else None


def decoded(prompt: str) -> str:
    """A chat in JSON without escaped letters; another text as it is."""
    turns = turns_of(prompt)
    return prompt if turns is None else json.dumps(turns, ensure_ascii=False)


def spoken(prompt: str) -> str:
    """A chat in JSON as the text of its turns, a blank line between two; another text as it is."""
    said = []
    for turn in turns_of(prompt) or ():
        content = turn.get("content")
        parts = content if isinstance(content, list) else [content]
        said += [part.get("text") if isinstance(part, dict) else part for part in parts]
    said = [text for text in said if isinstance(text, str) and text.strip()]
    return "\n\n".join(said) or prompt


def object_of(value: object) -> Mapping:
    """A JSON object, {} for other values."""
    return value if isinstance(value, dict) else {}
