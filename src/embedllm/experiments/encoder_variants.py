"""What else could be done to a prompt before it is forecast, on a sample: no verdicts; and what each encoder costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from embedllm.encoders.fitted import OPTION

BARE = "{}, without options"


def without_options(prompts: Sequence[str]) -> list[str]:
    """Prompts up to their first lettered option; one that begins with an option, or has none, stays as it is."""
    return [prompt[: found.start()].rstrip() or prompt if (found := OPTION.search(prompt)) else prompt
            for prompt in prompts]


def variants(
    prompts: Sequence[str], vectors: Mapping[str, np.ndarray], encode: Callable[[list[str]], np.ndarray], name: str
) -> dict[str, np.ndarray]:
    """Vectors of several encoders, those of the first two joined, and one encoder's without a prompt's options.

    Parameters
    ----------
    vectors : mapping of encoder to ndarray, shape (n_questions, dim)
    encode : callable
        The encoder `name`.

    Returns
    -------
    dict
        Name to vectors; left out is the last where no prompt has options.
    """
    found, bare = dict(vectors), without_options(prompts)
    if len(found) > 1:
        (one, first), (other, second) = list(found.items())[:2]
        found[f"{one} + {other}"] = np.hstack([first, second])
    if bare != list(prompts):
        found[BARE.format(name)] = encode(bare)
    return found


def costs(gains: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """What is earned with each encoder beside what a prompt costs, and which ones no other beats in both.

    Parameters
    ----------
    gains : DataFrame
        Rows of one forecaster in log-loss, from `encoder_ablation.differences` to the label.
    measured : DataFrame
        The table ``timing_prompts`` of `make bench`.

    Returns
    -------
    DataFrame
        A row for each encoder that was measured: ``encoder``, ``gain``, ``low``, ``high`` (nats, less log-loss being a
        gain), ``p_holm``; the columns of ``measured``; ``front_one`` and ``front_many``: of those compared by
        milliseconds of a prompt, and by prompts a second, it is one that none beats in both.
    """
    rows = gains.rename(columns={"method": "encoder", "low": "high", "high": "low"})
    rows = rows.assign(gain=-rows["difference"], low=-rows["low"], high=-rows["high"])
    table = rows[["encoder", "gain", "low", "high", "p_holm"]].merge(measured, on="encoder")
    fronts = {"front_one": table["milliseconds"], "front_many": -table["prompts_per_second"]}
    return table.assign(**{name: [not ((cost <= own) & (table["gain"] >= gain) & ((cost < own) | (table["gain"] > gain))
                                       ).any() for own, gain in zip(cost, table["gain"], strict=True)]
                           for name, cost in fronts.items()})
