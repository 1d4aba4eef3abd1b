"""What can be done without a notebook: ``python -m embedllm route --router PATH "question"``."""

from __future__ import annotations

import argparse
import sys
from math import inf

from embedllm.encoders.weights import EncoderError
from embedllm.routing.router import Router, RouterError


def main(arguments: list[str] | None = None) -> int:
    """Read the command line, or the arguments given, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m embedllm", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    route = commands.add_parser("route", help="choose a model for each question, as CSV")
    route.add_argument("--router", required=True, help="file that Router.save wrote, as notebook 04 does")
    route.add_argument("--max-price", type=float, default=inf, help="of a model, in the router's unit")
    route.add_argument("--among", action="append", help="a model to choose from; once for each, default all")
    route.add_argument("--thrifty", action="store_true", help="as cheaply as is certified to lose next to nothing")
    route.add_argument("questions", nargs="*", help="default: one for each line of standard input")
    told = parser.parse_args(arguments)
    questions = told.questions or [line.rstrip("\n") for line in sys.stdin if line.strip()]
    try:
        found = Router.load(told.router).route(questions, told.max_price, told.among, told.thrifty)
    except (RouterError, EncoderError) as error:
        print(error, file=sys.stderr)
        return 1
    found.to_csv(sys.stdout, index=False, float_format="%.4g")
    return 0


if __name__ == "__main__":
    sys.exit(main())
