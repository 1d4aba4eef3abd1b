"""How large and how long `make bench` measures: the paper's size, and what lies around it."""

from dataclasses import asdict

from embedllm import catalog
from embedllm.forecasters.factorization import Factorization

SETTINGS = asdict(Factorization())
DIM, D_PROMPT, PUBLISHED = SETTINGS["dim"], catalog.ENCODERS["minilm"].dim, catalog.PUBLISHED
N_MODELS, N_QUESTIONS, D_PAPER = 112, 36_000, 768
N_TRAIN = 0.8 * N_QUESTIONS
LARGE, LARGE_BATCH = (5_000, 50_000), 640_000  # models, questions: as an open leaderboard; cells per update
NEWCOMERS, N_SHARED = (1_000, 200, 50_000), 32  # new models, answers of each, questions; numbers of a new model
CLOSE = 0.001  # log-loss above the optimum that counts as trained
UNSTOPPED = {"patience": 0}  # where the question is when a loss is reached, and not when training ends
PLAIN, PLAIN_SECONDS, SOLVER_SECONDS = "cell by cell, published settings", 30, 25
SECONDS, N_ENCODED, N_SEEDS = 2.0, 2_048, 3  # of repeating what is quick; prompts; trainings
SIZES = {  # each varied with the others at their base, the paper's
    "models": [14, 28, 56, 112, 224, 448], "training questions": [1_800, 3_600, 7_200, 14_400, 28_800, 57_600],
    "length of a model vector": [8, 16, 32, 64, 128, 232, 464], "share of cells observed": [0.05, 0.1, 0.2, 0.5, 1.0],
}
CURVES = {"length of a model vector": (1, 2, 4, 8, 16, 32, 64, 128, 232),
          "training questions": (1_800, 3_600, 7_200, 14_400, 28_800)}
STARTS = ("anew", "from the point before")
BASE = {"models": 112, "training questions": 28_800, "length of a model vector": 232, "share of cells observed": 1.0}
