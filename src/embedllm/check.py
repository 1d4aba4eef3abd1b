"""A first look at a table before the notebooks run on it, in the words of their audit; nothing is written.

``python -m embedllm.check``, told its parameters as make tells `study.execute`; without DATASET the files of DATA_DIR
say what they are.
"""

from __future__ import annotations

import os
import sys

from embedllm.catalog import SOURCES
from embedllm.files import shown
from embedllm.outcomes import OutcomeError
from embedllm.splits import divide
from embedllm.study import data
from embedllm.study.given import from_environment, read_all
from embedllm.study.parameters import TABLE, ParameterError, read
from embedllm.study.paths import check_data_dir, data_dir, holds, in_words


def dataset_of(values: dict[str, str]) -> str:
    """The source of the reader's own data that a DATA_DIR can be read by, from the names of its files.

    Raises
    ------
    ParameterError
        If there is no such directory, or none or several of these sources fit.
    """
    own = {name: source for name, source in SOURCES.items() if source.own}
    p = read(TABLE, {"DATASET": next(iter(own)), "DATA_DIR": values["DATA_DIR"], "NAME": values["NAME"] or "own"})
    fitting = [name for name, source in own.items() if data_dir(p).is_dir() and holds(data_dir(p), source.files[0])]
    if not fitting and not data_dir(p).is_dir():
        check_data_dir(p)
    if len(fitting) != 1:
        found = "; ".join(f"{in_words(own[name].files[0])} (DATASET={name})" for name in fitting or own)
        raise ParameterError(f"DATA_DIR = {p.DATA_DIR!r} holds {'' if fitting else 'none of '}{found}: say what it is "
                             "with DATASET=...")
    return fitting[0]


def main() -> None:
    """Command line; ends with status 1 and one sentence where the table cannot be used.

    One that can be read but not divided, being too small, is described all the same.
    """
    try:
        values, said = from_environment(), ""
        if values["DATA_DIR"] and "DATASET" not in os.environ:
            values["DATASET"] = dataset_of(values)
            said = f", as its files say it is; make reproduce needs DATASET={values['DATASET']}"
        if values["DATASET"] in SOURCES and SOURCES[values["DATASET"]].own:
            values["NAME"] = values["NAME"] or "own"  # names folders, of which a check writes none
        parameters = read_all(values)
        p = parameters[TABLE]
        table = data.load_outcomes(p)
    except (ParameterError, OutcomeError) as error:
        sys.exit(f"error: {error}")
    from embedllm.conclusions.first_look import report  # late, so that a refusal does not wait for SciPy

    try:
        table, refused = divide(table, p.SPLIT, p.SPLIT_SEED), ""
    except OutcomeError as error:
        refused = str(error)
    place = f" {shown(data_dir(p))}" if p.DATA_DIR else ""
    print(_printable(f"DATASET={p.DATASET}{place}{said}\n{report(table, parameters, refused)}"))
    if refused:
        sys.exit(f"error: {refused}")


def _printable(text: str) -> str:
    """A text without what would move a terminal's cursor: names come from files."""
    return "".join(letter if letter.isprintable() or letter == "\n" else repr(letter)[1:-1] for letter in text)


if __name__ == "__main__":
    main()
