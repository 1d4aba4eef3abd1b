"""How fast notebook 04 says that routers decide: what `make bench` measured, stage by stage."""

from __future__ import annotations

import pandas as pd

from embedllm import catalog
from embedllm.presentation import about, counted, listed


def speed(measured: pd.DataFrame, published: float) -> str:
    """How fast a router decides, from the table ``timing_speed`` of `make bench`."""
    rows = measured.set_index("what")["value"]
    batch, single, encoded = (rows[name] for name in ("routing decisions, a batch",
                                                      "routing decision, the prompt a vector, median",
                                                      "prompts encoded (MiniLM)"))
    return (f"Once its prompt is a vector, the factorization chooses for one question in {about(single)} microseconds, "
            f"and for {about(batch)} questions a second in a batch; a secondary source says {about(published)} of the "
            f"paper's router, and not which stages that counts. In a batch, turning a prompt into a vector takes "
            f"{about(1000 / encoded)} milliseconds, which all routers need. The machine and the rest: "
            "[figures/bench](../figures/bench/README.md).")


def stages(measured: pd.DataFrame) -> str:
    """What each stage takes, and which targets are missed, from the table ``timing_latency`` of `make bench`."""
    everything, measured = measured, _by_network(measured)
    one = dict(list(measured[measured["batch"] == 1].groupby("stage")))
    after = measured[measured["stage"] == "after encoding"]
    most = after["batch"].max()
    return (f"Medians: a fresh process takes {about(one['load']['median'].iloc[0] / 1000)} s until its first prompt is "
            f"a vector. After that one prompt takes {_medians(one['encode'], 'prompts')}; all encoding takes "
            f"{_span(measured['ratio'])} times what its matrix products alone would. Once a prompt is a vector, the "
            f"answer takes {_medians(one['after encoding'], 'router')}, of which scoring all models takes "
            f"{_span(one['score']['median'])} ms and choosing one {_span(one['choose']['median'])}. "
            f"{counted(most, 'answer')} at once: {_medians(after[after['batch'] == most], 'router')}. Together, from "
            f"text to answer, one prompt takes {_medians(one['together'], 'router')}. {_static(everything)}"
            f"{_targets(everything)}")


def _by_network(measured: pd.DataFrame) -> pd.DataFrame:
    """The rows with the encoder that all routers were measured with."""
    return measured[measured["encoder"] == measured["encoder"].iloc[0]]


def _static(measured: pd.DataFrame) -> str:
    """What a table of token vectors saves, where it was measured."""
    rows = measured.drop(_by_network(measured).index).set_index("stage")
    if rows.empty:
        return ""
    whole, encoding = (rows.loc[[stage]].iloc[0] for stage in ("together", "encode"))
    return (f"With the encoder {whole['encoder']}, from text to answer {whole['router']} takes "
            f"{about(whole['median'])} ms, {about(encoding['median'])} of them to encode. ")


def _medians(rows: pd.DataFrame, by: str) -> str:
    return listed(f"{about(median)} ms ({name})" for median, name in zip(rows["median"], rows[by], strict=True))


def _span(values: pd.Series) -> str:
    low, high = about(values.min()), about(values.max())
    return low if low == high else f"{low} to {high}"


def _targets(measured: pd.DataFrame) -> str:
    rows, missed = measured[measured["target"].notna()], []
    for row in rows.itertuples():
        encoded = row.stage == "encode"
        value, name, unit = (row.ratio, row.prompts, "times") if encoded else (row.median, row.router, "ms")
        if not value <= row.target:
            missed.append(f"{row.stage} ({name}, batch {row.batch:,}) {about(value, 3)} {unit}, not {row.target:g}")
    if missed:
        return f"Targets met: {len(rows) - len(missed)} of {len(rows)}; missed: {listed(missed)}."
    return "All targets are met." if len(rows) else "No target is set."


def against_neighbors(measured: pd.DataFrame) -> str:
    """The claim about speed, against kNN, in a clause; from the table ``timing_latency`` of `make bench`."""
    measured = _by_network(measured)
    rows = measured[(measured["stage"] == "after encoding") & (measured["batch"] == 1)].set_index("router")["median"]
    own, other = (about(rows[entry.name]) for entry in (catalog.FACTORIZATION, catalog.KNN))
    return (f"the prompt being a vector, the answer of the {catalog.FACTORIZATION.name} takes {own} ms, that of "
            f"{catalog.KNN.name} {other} (medians, by make bench)")
