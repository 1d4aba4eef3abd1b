"""`make bench`: what the study's speed claims rest on, measured on this machine in some twenty minutes.

From what `measure` found to tables and figures.
"""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import torch

from embedllm.bench import cost, scale
from embedllm.bench.draw import plot_growth, plot_roofline, plot_solvers
from embedllm.bench.measure import measure
from embedllm.claims import all_claims
from embedllm.encoders import encoding
from embedllm.figures import style
from embedllm.files import write
from embedllm.study.paths import FIGURES
from embedllm.study.publish import write_gallery


def exponents(table: pd.DataFrame) -> pd.DataFrame:
    """Power of each size in time and memory: least squares on logarithms, and between the two largest sizes.

    Of several measurements of a size the least counts: whatever else the machine does can only add to it.

    Where a fixed cost comes first, no single power fits: ``last``, between the two largest sizes, is then the higher
    one. Columns ``axis``, ``measure``, ``exponent``, ``factor`` (at size 1), ``last`` and ``again`` (typical ratio of
    two measurements of one size).
    """
    rows, measures = [], ["seconds", "megabytes"]
    logs = table.assign(**{name: np.log(table[name]) for name in measures}).groupby(["axis", "size"], sort=False)
    again = np.exp(np.sqrt(2 * logs[measures].var().groupby("axis").mean()))
    for axis, part in logs[measures].min().groupby("axis", sort=False):
        part = part.sort_index()
        sizes = np.log(part.index.get_level_values("size").to_numpy(float))
        for quantity in measures:
            slope, level = np.polyfit(sizes, part[quantity], 1)
            last = np.diff(part[quantity])[-1] / np.diff(sizes)[-1]
            rows.append((axis, quantity, slope, np.exp(level), last, again.loc[axis, quantity]))
    return pd.DataFrame(rows, columns=["axis", "measure", "exponent", "factor", "last", "again"])


def plain_updates(n_questions: float) -> float:
    """Updates of the per-cell trainer in all published epochs."""
    return n_questions * scale.N_MODELS / scale.PUBLISHED["batch_cells"] * scale.PUBLISHED["epochs"]


def report(measured: dict, folder: Path) -> None:
    """Write the tables and figures of what `measure` found."""
    style.use_style()

    def table(name: str, content: pd.DataFrame) -> None:
        write(folder / f"{name}.csv", style.to_csv(content))

    default, wide, knn, route = (measured[name] for name in ("default", "wide", "neighbors", "selections"))
    published, wide_published = measured["published"], measured["wide published"]
    stopped, wide_stopped = measured["stopped"], measured["wide stopped"]
    large, paths, grown, warm = (measured[name] for name in ("leaderboard", "solvers", "growth", "warm starts"))
    new, (n_new, n_answers, n_asked) = measured["newcomers"], scale.NEWCOMERS
    (encoded, intensity), (top, ends) = measured["encoding"], measured["ceiling"]
    exact, plain = encoded.iloc[0], measured["cells"]["path"].iloc[-1]
    from_text = measured["latency"].query("stage == 'together'").iloc[0]
    plain_update = plain["seconds"] / plain["updates"]
    plain_minutes = plain_update * plain_updates(scale.N_TRAIN) / 60
    ways = {"by question, Adam": default[0]["path"], "by question, published settings": published["path"]}
    ways |= dict(list(paths.groupby("solver", sort=False))) | {scale.PLAIN: measured["cells"]["path"]}
    paths = pd.concat([path.assign(solver=name) for name, path in ways.items()], ignore_index=True)
    whole = warm[(warm["curve"] == "training questions") & (warm["size"] == max(scale.CURVES["training questions"]))]
    lowest = min(paths["val"].min(), whole["val"].min(), *(run["path"]["val"].min() for run in [*default, stopped]))
    # Noise of one size in twice as many directions is another optimum.
    wide_lowest = min(run["path"]["val"].min() for run in [*wide, wide_stopped, wide_published])

    def reached(path: pd.DataFrame, best: float) -> float:
        return path["seconds"][path["val"] <= best + scale.CLOSE].min()

    def typical(trainings: list[dict], best: float) -> tuple[float, str]:
        """Median of the seeds to come close to the best loss (inf: never) and the range."""
        seconds = np.sort(np.nan_to_num([reached(run["path"], best) for run in trainings], nan=np.inf))
        return seconds[len(seconds) // 2], (f"median of {len(seconds)} seeds, {seconds[0]:.1f} to {seconds[-1]:.1f} s; "
                                            f"lowest of all ways: {best:.4f}")

    def ending(run: dict) -> str:
        return f"{len(run['path'])} epochs, lowest loss {run['path']['val'].min():.4f}"

    arrived = pd.Series({name: reached(path, lowest) for name, path in ways.items()}, name="seconds")
    table("timing_reached", arrived.rename_axis("solver").reset_index().assign(margin=scale.CLOSE))
    (near, near_range), (wide_near, wide_range) = typical(default, lowest), typical(wide, wide_lowest)
    flops = np.mean([top["gflops"], ends["gflops"]])
    rows = [
        (f"factorization, dim {scale.DIM}, within {scale.CLOSE} of the lowest validation log-loss", near, "s",
         "under 10", near_range),
        (f"the same with vectors of {scale.D_PAPER} numbers", wide_near, "s", "under 10", wide_range),
        ("factorization, until validation stops gaining", stopped["seconds"], "s", "", ending(stopped)),
        (f"the same end with vectors of {scale.D_PAPER} numbers", wide_stopped["seconds"], "s", "",
         ending(wide_stopped)),
        (f"factorization, published settings, {scale.PUBLISHED['epochs']} epochs", published["seconds"], "s",
         "under 40", f"cell by cell: {plain_minutes:.0f} min, {60 * plain_minutes / published['seconds']:.0f} "
         "times as long, extrapolated, its loading of rows included"),
        (f"published settings with vectors of {scale.D_PAPER} numbers", wide_published["seconds"], "s", "under 40",
         f"lowest loss {wide_published['path']['val'].min():.4f}"),
        (f"kNN forecast of all models, {scale.N_QUESTIONS // 10:,} questions", knn["seconds"], "s",
         "under 3", f"scikit-learn, model after model: {knn['scikit_learn']:.0f} s, extrapolated from one"),
        (f"the same with vectors of {scale.D_PAPER} numbers", measured["wide neighbors"]["seconds"], "s",
         "under 3", ""),
        ("kNN tuned and fitted", knn["fit"], "s", "", ""),
        ("convex embedding, tuned: vectors without a seed", measured["embedding"], "s", "under 5", ""),
        ("all forecasters of notebook 03, one split and seed", measured["forecasters"], "s", "under 60", ""),
        ("routing decisions, a batch", route["batch_per_second"], "a second", "over 200,000", ""),
        ("routing decision, the prompt a vector, median", route["single_median_us"], "microseconds", "under 100", ""),
        ("routing decision, from the prompt's text, median", from_text["median"], "ms", "",
         f"{from_text['router']}, prompts of MMLU-Pro"),
        (f"vectors of {n_new:,} new models, {n_answers} answers each, {n_asked:,} questions", new["onboarded"], "s",
         "under 5", ""),
        (f"next question for a new model, of {n_asked:,}", 1000 * new["next"], "ms", "under 50", ""),
        (f"a new model joins {scale.N_MODELS} others, {n_answers} answers", 1000 * new["added"], "ms", "",
         f"its pool fitted: {new['fitted']:.1f} s"),
        ("prompts encoded (MiniLM)", exact["prompts_per_second"], "a second", "", ""),
        ("matrix-product ceiling over encoding", exact["ratio"], "times", "under 1.5",
         f"{exact['gflops']:.0f} of {exact['ceiling']:.0f} GFLOP/s of products just before and after"),
        (f"{scale.N_ENCODED:,} prompts that were encoded before", exact["seconds_again"], "s", "", "no work repeated"),
        ("peak memory of training beyond vectors and scores", default[0]["megabytes"], "MB", "under 1,000",
         f"cell by cell: {measured['cells']['megabytes']:.0f} MB; the paper: under "
         f"{all_claims()['C5'].values['gigabytes']} GB"),
        (f"the same memory with vectors of {scale.D_PAPER} numbers", wide[0]["megabytes"], "MB", "under 1,000", ""),
        (f"{scale.LARGE[0]:,} models x {scale.LARGE[1]:,} questions, trained", large["seconds"], "s", "under 600",
         f"{large['epochs']} epochs, {large['batch']} questions per update; validation log-loss "
         f"{large['val']:.3f}, of the means of models {large['mean']:.3f}; random vectors"),
        ("peak memory of that process, table included", large["megabytes"] / 1000, "GB", "under 8", ""),
    ]
    table("timing_latency", measured["latency"])
    table("timing_speed", pd.DataFrame(rows, columns=["what", "value", "unit", "target", "beside"]))
    processor = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    machine = {
        "processor": processor, "cores": cores, "threads of torch": top["threads"],
        "memory, GB": round(psutil.virtual_memory().total / 1e9), "torch": torch.__version__,
        "matrix product, GFLOP/s, before": round(top["gflops"]),
        "and after all measurements": round(ends["gflops"]), "fastest single product before": round(top["best_gflops"]),
        "copy, GB/s": round(top["bandwidth"], 1),
    }
    table("timing_machine", pd.DataFrame(machine.items(), columns=["what", "value"]))
    table("timing_encoders", encoded)
    table("timing_prompts", measured["encoders"])
    table("timing_warm_starts", measured["warm starts"])
    ours, theirs = measured["cost"], measured["cost by cells"]
    theirs_update = theirs["path"]["seconds"].iloc[-1] / theirs["path"]["updates"].iloc[-1]
    table("timing_cost", cost.cost_table({
        cost.BY_QUESTION: (ours["seconds"], ours["megabytes"]),
        cost.BY_CELLS: (theirs_update * plain_updates(cost.N_QUESTIONS), theirs["megabytes"]),
    }))

    powers = exponents(grown)
    table("timing_exponents", powers)
    style.save_figure(
        folder / "timing_growth", grown,
        "Training time and memory beyond vectors and scores against each size, the others as in the paper "
        f"({scale.N_MODELS} models, {scale.BASE['training questions']:,} training questions, dim {scale.DIM}, all "
        f"cells observed; {scale.D_PROMPT} numbers a prompt), each measured twice; lines: fitted powers; titles: "
        "the power between the two largest sizes. More models or very few questions: fewer questions per update.",
        lambda written: plot_growth(written, powers))
    style.save_figure(
        folder / "timing_solvers", paths,
        f"Lowest validation log-loss so far against seconds, {scale.N_MODELS} x {scale.N_QUESTIONS:,}. Full batches "
        f"see one draw of the noise. Cell by cell was stopped after {scale.PLAIN_SECONDS} seconds, full batches "
        f"after {scale.SOLVER_SECONDS}.", lambda written: plot_solvers(written, scale.CLOSE))

    def by_question(what: str, batch: int, n_models: int, epoch: float, n_questions: float) -> tuple:
        """An update moves weights, gradients and Adam's moments (read and written), vectors, and a byte a cell."""
        flop = batch * cost.per_question(scale.D_PROMPT, scale.DIM, n_models)
        moved = 4 * 8 * scale.DIM * (scale.D_PROMPT + n_models + 2) + batch * (4 * scale.D_PROMPT + n_models)
        return f"{what}: {batch} questions", flop / moved, flop / (epoch / n_questions * batch) / 1e9

    cells = scale.PUBLISHED["batch_cells"]
    flop = cells * cost.counted("cell by cell", scale.D_PROMPT)
    moved = 4 * (8 * scale.DIM * (scale.D_PROMPT + scale.N_MODELS + 2) + cells * (scale.D_PROMPT + scale.DIM))
    few, many = (scale.SETTINGS | changes for changes in (scale.PUBLISHED, {}))
    points = pd.DataFrame([
        (f"cell by cell: {cells:,} cells", flop / moved, flop / plain_update / 1e9),
        *(by_question(name, settings["batch_cells"] // scale.N_MODELS, scale.N_MODELS,
                      run["seconds"] / len(run["path"]), scale.N_TRAIN)
          for name, settings, run in (("published", few, published), ("default", many, default[0]))),
        by_question(f"{scale.LARGE[0]:,} models", large["batch"], scale.LARGE[0], large["seconds"] / large["epochs"],
                    0.8 * scale.LARGE[1]),
        (f"encoding: {encoding.TOKENS['cpu']:,} tokens", intensity, exact["gflops"]),
    ], columns=["what", "intensity", "gflops"])
    style.save_figure(
        folder / "timing_roofline", points,
        "Operations a second of training and encoding against operations for each byte that must move; line: what this "
        "machine's matrix product and main memory allow (weights may stay in cache).",
        lambda written: plot_roofline(written, flops, top["bandwidth"]))
    write_gallery(folder)


if __name__ == "__main__":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    report(measure(), FIGURES / "bench")
