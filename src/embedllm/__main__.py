"""What can be done without a notebook: ``python -m embedllm`` with ``route``, ``similar``, ``ask`` or ``add``."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from math import inf
from pathlib import Path

import pandas as pd

from embedllm.encoders.weights import EncoderError
from embedllm.files import shown
from embedllm.forecasters.contract import Forecaster, ForecasterError
from embedllm.routing.router import Router, RouterError
from embedllm.study.paths import ARTIFACTS

DEFAULT = ARTIFACTS / "mmlu-pro" / "default-minilm-s0"
EMBEDDING, POOL = DEFAULT / "02_training" / "convex_embedding.npz", DEFAULT / "09_new_models" / "pool.npz"


def main(arguments: list[str] | None = None) -> int:
    """Read the command line, or the arguments given, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m embedllm", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    route = commands.add_parser("route", help="choose a model for each question, as CSV")
    route.set_defaults(answer=_routed)
    route.add_argument("--router", required=True, help="file that Router.save wrote, as notebook 04 does")
    route.add_argument("--max-price", type=float, default=inf, help="of a model, in the router's unit")
    route.add_argument("--among", action="append", help="a model to choose from; once for each, default all")
    route.add_argument("--thrifty", action="store_true", help="as cheaply as is certified to lose next to nothing")
    route.add_argument("questions", nargs="*", help="default: one for each line of standard input")
    similar = commands.add_parser("similar", help="the models whose logits differ least from a model's, as CSV")
    similar.set_defaults(answer=_similar)
    similar.add_argument("model", help="its name")
    similar.add_argument("--embedding", type=Path, default=EMBEDDING,
                         help="convex embedding that notebook 02 saved; default that of the default run")
    similar.add_argument("-n", "--n", type=int, default=5, help="how many")
    for name, answer, about in (("ask", _asked, "what a new model should be asked next, as CSV"),
                                ("add", _added, "what a new model's answers tell of it, as CSV")):
        one = commands.add_parser(name, help=about)
        one.set_defaults(answer=answer)
        one.add_argument("--pool", type=Path, default=POOL,
                         help="file that Pool.save wrote, as notebook 09 does; default that of the default run")
        one.add_argument("--answers", type=Path, required=name == "add",
                         help="CSV with columns question_id and score: what it has answered")
        one.add_argument("--relative", default="", help="model of the pool that comes from the same pretrained one")
        one.add_argument("--size", type=float, default=float("nan"), help="billions of parameters")
        if name == "ask":
            one.add_argument("-n", "--n", type=int, default=20, help="how many questions")
            one.add_argument("--target", default="", help="benchmark whose mean score is wanted; default all questions")
        else:
            one.add_argument("--name", required=True, help="what the new model is called")
            one.add_argument("--save", type=Path, help="write the pool with the new model to this file")
    told = parser.parse_args(arguments)
    try:
        found = told.answer(told)
    except (RouterError, EncoderError, ForecasterError) as error:
        print(error, file=sys.stderr)
        return 1
    try:
        found.to_csv(sys.stdout, index=False, float_format="%.4g")
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads, as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _routed(told: argparse.Namespace) -> pd.DataFrame:
    questions = told.questions or [line.rstrip("\n") for line in sys.stdin if line.strip()]
    return Router.load(told.router).route(questions, told.max_price, told.among, told.thrifty)


def _similar(told: argparse.Namespace) -> pd.DataFrame:
    from embedllm.experiments.stability import most_similar  # late: what it needs takes a second to load

    if not told.embedding.exists():
        raise ForecasterError(f"{shown(told.embedding)} is not there: `make reproduce` makes that of the default run; "
                              "--embedding names another")
    embedding = Forecaster.load(told.embedding)
    if told.model not in embedding.models:
        close = difflib.get_close_matches(told.model, embedding.models, n=3, cutoff=0.3) or embedding.models[:3]
        raise ForecasterError(f"no model of {shown(told.embedding)} is called {told.model}; did you mean "
                              f"{', '.join(close)}?")
    if told.n < 1:
        raise ForecasterError(f"-n is {told.n}; at least one model is looked for")
    found = most_similar(embedding, number=told.n)
    return found[found["model"] == told.model]


def _pool(path: Path):
    from embedllm.new_models.pool import Pool  # late, as above

    if not path.exists():
        raise ForecasterError(f"{shown(path)} is not there: `make reproduce` makes that of the default run; --pool "
                              "names another")
    found = Forecaster.load(path)
    if not isinstance(found, Pool):
        raise ForecasterError(f"{shown(path)} holds no pool but a {type(found).__name__}")
    return found


def _answers(path: Path | None) -> dict[str, float]:
    """Question id to score, from a CSV file."""
    if path is None:
        return {}
    if not path.exists():
        raise ForecasterError(f"{shown(path)} is not there")
    try:
        table = pd.read_csv(path, dtype={"question_id": str})
        rows = table[["question_id", "score"]].dropna(how="all").drop_duplicates()
        rows = rows.assign(score=pd.to_numeric(rows["score"]))
    except (OSError, ValueError, KeyError) as error:
        raise ForecasterError(f"{shown(path)} holds no columns question_id and score of numbers ({error})") from None
    if (twice := rows["question_id"][rows["question_id"].duplicated()]).any():
        raise ForecasterError(f"{shown(path)} has question {twice.iloc[0]} with different scores: keep one of them")
    return dict(zip(rows["question_id"], rows["score"].astype(float), strict=True))


def _asked(told: argparse.Namespace) -> pd.DataFrame:
    return _pool(told.pool).ask(told.n, told.target, _answers(told.answers), told.relative, told.size)


def _added(told: argparse.Namespace) -> pd.DataFrame:
    pool = _pool(told.pool)
    found = pool.add(told.name, _answers(told.answers), told.relative, told.size)
    if told.save and not found.odd:
        pool.save(told.save, pool.encoder)
    if found.odd:
        unsaved = f"; {shown(told.save)} was not written" if told.save else ""
        print(f"{told.name} answers unlike any model of the pool (person fit {found.person_fit:.1f}): intervals are "
              f"what its answers leave possible, and neither a pool nor a router takes it in{unsaved}", file=sys.stderr)
    accuracies = found.accuracies.rename(columns={"benchmark": "what"}).assign(kind="mean score")
    similar = found.similar.rename(columns={"similar": "what", "distance": "value"}).assign(kind="distance")
    names = ["level", *(f"coordinate {number}" for number in range(1, len(found.vector)))]
    vector = pd.DataFrame({"kind": "vector", "what": names, "value": found.vector}).query("value != 0")
    fit = pd.DataFrame({"kind": "person fit", "what": found.judged, "value": [found.person_fit]})
    return pd.concat([accuracies, fit, similar, vector])[["kind", "what", "asked", "value", "low", "high"]]


if __name__ == "__main__":
    sys.exit(main())
