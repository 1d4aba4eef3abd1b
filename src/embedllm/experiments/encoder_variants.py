"""What else could be done to a prompt before it is forecast, on a sample: no verdicts; and what each encoder costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from embedllm.catalog import ENCODERS
from embedllm.encoders.fitted import without_options

BARE = "{}, without options"


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


def bases(names: Sequence[str], name: str) -> list[tuple[str, str]]:
    """Each variant and what it is a variant of: (variant, base).

    A truncated encoder is one of the same files, one without a prompt's options of itself: these differ in one thing.
    A static one is a variant of its teacher, joined ones of the first, and any other is compared with the first, from
    which it differs in more. `name` as for `variants`.
    """
    first, found = names[0], {BARE.format(name): name}
    for one in names:
        entry = ENCODERS.get(one)
        found.setdefault(one, (entry.files or entry.teacher if entry else "") or first)
    return [(one, found[one] if found[one] in names else first) for one in names if one != first]


def described(widths: Mapping[str, int]) -> pd.DataFrame:
    """What is compared: ``encoder`` and its ``dimensions``, from `encoder_ablation.widths`.

    Of networks also ``tokens`` that are read at most, ``parameters``, ``flop_per_token`` (products with weights,
    attention aside) and ``license``.
    """
    rows = []
    for name, dimensions in widths.items():
        row = {"encoder": name, "dimensions": dimensions}
        if entry := ENCODERS.get(name):
            row |= {"tokens": entry.max_tokens or np.nan, "parameters": entry.parameters or np.nan,
                    "flop_per_token": entry.flop or np.nan, "license": entry.license}
        rows.append(row)
    return pd.DataFrame(rows)


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
        gain), ``p_holm``; the columns of ``measured``; ``front_one``, ``front_many`` and ``front_flop``: compared by
        milliseconds of a prompt, by prompts a second and, of networks, by operations, none earns as much for less; by
        point estimates, and where it earns anything: the label itself costs nothing and earns nothing.
    """
    rows = gains.rename(columns={"method": "encoder", "low": "high", "high": "low"})
    rows = rows.assign(gain=-rows["difference"], low=-rows["low"], high=-rows["high"])
    table = rows[["encoder", "gain", "low", "high", "p_holm"]].merge(measured, on="encoder")
    gain = table["gain"]
    for front, cost in (("front_one", table["milliseconds"]), ("front_many", -table["prompts_per_second"]),
                        ("front_flop", table["flop"])):
        beaten = [((cost <= cost[at]) & (gain >= gain[at]) & ((cost < cost[at]) | (gain > gain[at]))).any()
                  for at in table.index]
        table[front] = (gain > 0) & cost.notna() & ~np.array(beaten, dtype=bool)
    return table
