"""What can be done without a notebook: ``python -m embedllm route --router PATH "question"``, ``similar MODEL``."""

from __future__ import annotations

import argparse
import difflib
import sys
from math import inf
from pathlib import Path

import pandas as pd

from embedllm.encoders.weights import EncoderError
from embedllm.files import shown
from embedllm.forecasters.contract import Forecaster, ForecasterError
from embedllm.routing.router import Router, RouterError
from embedllm.study.paths import ARTIFACTS

EMBEDDING = ARTIFACTS / "mmlu-pro" / "default-minilm-s0" / "02_training" / "convex_embedding.npz"


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
    similar.add_argument("-n", type=int, default=5, help="how many")
    told = parser.parse_args(arguments)
    try:
        found = told.answer(told)
    except (RouterError, EncoderError, ForecasterError) as error:
        print(error, file=sys.stderr)
        return 1
    found.to_csv(sys.stdout, index=False, float_format="%.4g")
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


if __name__ == "__main__":
    sys.exit(main())
