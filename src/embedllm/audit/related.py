"""Models that are one model, or come from one, in words."""

from __future__ import annotations

from embedllm.lineages import COPY, lineages, near_copies
from embedllm.outcomes import OutcomeMatrix, abbreviate


def describe_related(table: OutcomeMatrix) -> list[tuple]:
    """Near-copies and the number of lineages, as rows (check, value, detail) of the audit."""
    copies = near_copies(table)
    groups = [list(own.index) for _, own in copies.groupby(copies) if len(own) > 1]
    lineage = (table.models["lineage"] if "lineage" in table.models else lineages(table)).value_counts()
    named = abbreviate((f"{' = '.join(map(str, own[:3]))}{f' and {len(own) - 3} more' * (len(own) > 3)}"
                        for own in sorted(groups, key=len, reverse=True)), limit=3)
    return [
        (f"groups of near-copies, {COPY:.0%} and more answered alike, beyond chance too", len(groups),
         f"{sum(map(len, groups))} models: {named}" if groups else ""),
        ("lineages", len(lineage), f"the largest, {lineage.index[0]}, has {lineage.iloc[0]} models; the number of "
                                   "models is not that of independent ones" if lineage.iloc[0] > 1 else
         "each model is one of its own"),
    ]
