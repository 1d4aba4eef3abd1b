"""What a notebook can be told: name, type, range, meaning and default of every parameter.

Each notebook's tagged cell repeats the defaults as literals (a test compares them), so that papermill
and a reader in JupyterLab change the same thing.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, TypeVar

import yaml
from annotated_types import Ge, Interval
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from embedllm.catalog import ENCODERS, SOURCES, TEXT_ONLY, followed, to_compare
from embedllm.outcomes import DUPLICATES as RULES
from embedllm.presentation import OneSentenceError
from embedllm.sources import embedllm as embedllm_files


class ParameterError(OneSentenceError, ValueError):
    """A parameter that does not exist or has a value it cannot have."""


@dataclass(frozen=True)
class OneOf:
    """A check that a text is among the names that `known` returns."""

    known: Callable[[], Iterable[str]]

    def __call__(self, value: str) -> str:
        if value not in self.known():
            raise ValueError(f"must be one of {', '.join(self.known())}")
        return value


def _one_of(known) -> AfterValidator:
    return AfterValidator(OneOf(lambda: known))


def _distinct(values: list) -> list:
    if len(set(values)) < len(values):
        raise ValueError("names something twice")
    return values


Count = Annotated[int, Ge(1)]
Share = Annotated[float, Interval(gt=0, le=1)]
Distinct = Annotated[list[TypeVar("T")], AfterValidator(_distinct)]
SPLITS = ("published", "drawn")
Encoder = Annotated[str, _one_of(ENCODERS)]
Seed = Annotated[int, Interval(ge=0, lt=2**31)]  # within what numpy, scikit-learn and torch take, with room to count up
LABEL = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$"  # of a folder, as make, shells and all file systems take it
TAKEN = {"bench", "claims.md", "inputs", "memo", "vectors"}  # beside labels in figures/ and artifacts/, in lower case


class Parameters(BaseModel):
    """Shared by all notebooks; together they name the run's folder."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    DATASET: Annotated[str, _one_of(SOURCES)] = Field(next(iter(SOURCES)), description="source of outcomes")
    DATA_DIR: str = Field("", description="folder the data is read from; blank: embedded or downloaded")
    METRIC: str = Field("", description="score in lm-eval logs, as acc_norm or task=metric; ...; blank: found")
    NAME: str = Field("", description="label of your own data, for its folders", pattern=f"{LABEL}|^$")
    ENCODER: Encoder = Field("minilm", description="what turns prompts into vectors")
    PRESET: str = Field("default", description="notebooks/presets/<name>.yaml that the values came from",
                        pattern=LABEL)
    SEED: Seed = Field(0, description="training only: initialization, order, noise")

    @model_validator(mode="after")
    def _check_name(self):
        if SOURCES[self.DATASET].own and not self.NAME:
            raise ValueError(f"DATASET {self.DATASET} needs a NAME for your data: it names the folders of its runs")
        if self.NAME.lower() in {*SOURCES, *TAKEN} and self.NAME != self.DATASET:  # some file systems ignore case
            raise ValueError(f"NAME = {self.NAME!r} is taken by the study itself; choose another")
        return self

    @property
    def label(self) -> str:
        """Name of the data in folder names and captions."""
        return self.NAME or self.DATASET

    @property
    def overrides(self) -> dict:
        """The shared parameters that differ from their defaults."""
        values = {name: getattr(self, name) for name in Parameters.model_fields}
        return {name: v for name, v in values.items() if v != Parameters.model_fields[name].default}


class Fitting(Parameters):
    """How the factorization is trained; see `factorization.Factorization`."""

    DIM: Count = Field(232, description="length of a model vector")
    NOISE: float = Field(0.05, description="SD of the noise on prompt vectors in training", ge=0)
    LEARNING_RATE: float = Field(0.003, description="of Adam", gt=0)
    WEIGHT_DECAY: float = Field(1e-5, description="of Adam", ge=0)
    EPOCHS: Count = Field(60, description="passes over the training questions, at most")
    BATCH_CELLS: Count = Field(16384, description="(model, question) cells per update")
    PATIENCE: int = Field(5, description="epochs without improvement before stopping, 0 for never", ge=0)

    @property
    def fitting(self) -> dict:
        """The settings as keyword arguments of Factorization."""
        return {name.lower(): getattr(self, name) for name in Fitting.model_fields
                if name not in Parameters.model_fields} | {"seed": self.SEED}


class DataPreparation(Parameters):
    DATA_SEED: Seed = Field(0, description="draws the simulated pool")
    SPLIT: Annotated[str, _one_of(SPLITS)] = Field(
        "published", description="the split of the questions (published: where there is one)"
    )
    SPLIT_SEED: Seed = Field(0, description="draws train, validation and test questions")
    POOL: str = Field("", description="which of a source's tables, where it has several; blank: its default")
    DUPLICATES: Annotated[str, _one_of(RULES)] = Field(
        "first", description="score of a (model, question) pair that has several"
    )
    EXCLUDE: Annotated[list[str], AfterValidator(_distinct)] | None = Field(
        None, description="models to leave out, by name; None: the source's default, [] none"
    )
    SAMPLE: int = Field(0, description="questions to draw evenly from all benchmarks, 0 for all", ge=0)
    REVISION: str = Field(embedllm_files.REVISION, description="commit of the EmbedLLM files on the Hugging Face Hub")
    N_MODELS: int = Field(112, description="models of the simulated pool", ge=16)
    N_QUESTIONS: int = Field(6000, description="questions of the simulated pool", ge=100)
    KAPPA: float = Field(1.0, description="strength of specialization in the simulated pool", ge=0)
    GRADED: bool = Field(False, description="simulated scores are graded, not only right or wrong")
    MISSING: Annotated[float, Interval(ge=0, lt=1)] = Field(
        0.0, description="share of simulated (model, benchmark) blocks never run"
    )
    REPEATED: Annotated[float, Interval(ge=0, le=1)] = Field(
        0.0, description="share of simulated cells run twice, with outcomes that may disagree"
    )


class Training(Fitting):
    DIMS: Distinct[Count] = Field([1, 16, 232], description="lengths beside a quarter of the models", min_length=2)
    TUNED: bool = Field(False, description="tune the factorization too, at each length (slow)")
    N_FITS: Count = Field(1, description="partitions and seeds that each length is trained with")
    N_FOLDS: int = Field(3, description="of the cross-fitting", ge=3)
    FOLD_SEED: Seed = Field(0, description="draws the folds")
    MARGIN_SHARE: Share = Field(0.05, description="of what vectors earn over benchmark means that may be lost")


def _skippable() -> list[str]:
    """What notebooks 03 and 04 can do without."""
    return ["slow", *(entry.name for entry in to_compare() if entry.slow)]


SKIPPED = "forecasters to leave out, by name; slow names all that take long to tune"
Skipped = Annotated[list[Annotated[str, AfterValidator(OneOf(_skippable))]], AfterValidator(_distinct)]


class CorrectnessForecasting(Fitting):
    SKIP: Skipped = Field([], description=SKIPPED)
    SIZES: Distinct[Share] = Field(
        [0.1, 0.3, 1.0], description="shares of the questions of training and validation", min_length=1
    )
    N_FITS: Count = Field(1, description="partitions and seeds that everything is fitted with")
    N_FOLDS: int = Field(5, description="of the cross-fitting", ge=3)
    FOLD_SEED: Seed = Field(0, description="draws the folds")
    MARGIN: float = Field(0.002, description="log-loss that would not matter, nats per cell", gt=0)
    N_WORLDS: int = Field(0, description="2PL worlds, four to one of each other null; 0 shows those of make deep", ge=0)
    N_RESAMPLES: int = Field(1000, description="bootstrap resamples of questions", ge=100)


def _routers() -> list[str]:
    """Forecasters that a router can follow on prompts alone."""
    return [entry.name for entry in followed() if entry.reads == "text" and entry.role != "control"]


class ModelRouting(Fitting):
    SKIP: Skipped = Field([], description=SKIPPED)
    N_FITS: Count = Field(1, description="partitions and seeds that everything is fitted with")
    N_FOLDS: int = Field(5, description="of the cross-fitting", ge=3)
    FOLD_SEED: Seed = Field(0, description="draws the folds")
    ROUTER: Annotated[str, AfterValidator(OneOf(_routers))] = Field(
        TEXT_ONLY.name, description="forecaster that the router to take home follows")
    EPSILON: Annotated[float, Interval(gt=0, lt=1)] = Field(
        0.005, description="score that the guarded router may lose against the default model")
    N_TRIALS: int = Field(0, description="calibrations of each planted pool; 0 shows those of make deep", ge=0)
    N_DRAWS: int = Field(200, description="pools drawn without specialization", ge=20)


class Probing(Fitting):
    N_COMPONENTS: Count = Field(3, description="coordinates, beside the level, that the linear probe is given")
    N_PERMUTATIONS: int = Field(4999, description="of every permutation test", ge=99)
    PERPLEXITIES: Distinct[Annotated[int, Ge(2)]] = Field([5, 15, 30], description="of the t-SNE maps", min_length=1)
    N_MAPS: Count = Field(2, description="seeds that each is drawn with")
    N_DROPS: int = Field(0, description="random drops for each benchmark left out; 0 shows those of make deep", ge=0)
    ENCODERS: Distinct[Encoder] = Field(["hashing"], description="whose vectors' fits are set beside", min_length=1)


class EmbedderAblation(Fitting):
    ENCODERS: Distinct[Encoder] = Field(
        ["minilm"], description="compared, the first with all others, beside what needs no weights", min_length=1)
    EXPLORED: Distinct[Encoder] = Field([], description="looked into on a sample, each beside what it varies")
    N_EXPLORED: Count = Field(3000, description="questions of that sample")
    N_FITS: Count = Field(1, description="partitions and seeds that everything is fitted with")
    N_FOLDS: int = Field(3, description="of the cross-fitting", ge=3)
    FOLD_SEED: Seed = Field(0, description="draws the folds and the sample")
    COMMON_DIM: Count = Field(64, description="principal components that all encoders are reduced to")
    MARGIN_SHARE: Share = Field(0.1, description="of what the first encoder earns over benchmark means, as the margin")


class Sensitivity(Fitting):
    POOL_SIZES: Distinct[Annotated[int, Ge(3)]] = Field([5], description="models trained on alone", min_length=1)
    N_POOLS: Count = Field(4, description="pools drawn of each size, in each fit")
    HIDDEN: Distinct[Count] = Field([16, 32], description="hidden units of two-layer networks", min_length=1)
    LENGTHS: Distinct[Count] = Field([32], description="lengths of their model vectors", min_length=1)
    TUNED: bool = Field(False, description="tune factorization and network too, each from as many candidates (slow)")
    CELLS: Distinct[Share] = Field([0.1], description="shares of the training cells that are kept", min_length=1)
    N_SEEDS: int = Field(2, description="draws of cells, and trainings with each defect", ge=2)
    N_FITS: Count = Field(1, description="partitions and seeds that pools and networks are fitted with")
    N_FOLDS: int = Field(3, description="of the cross-fitting", ge=3)
    FOLD_SEED: Seed = Field(0, description="draws the folds")


class MethodChecks(Parameters):
    N_REPEATS: int = Field(50, description="repetitions of each check, under its null and with an effect", ge=2)
    N_PLANTED: int = Field(0, description="small pools of each mode, end to end; 0 shows those of make deep", ge=0)


class NewModels(Parameters):
    ASKED: Distinct[Count] = Field(
        [8, 32, 128, 512, 2048], description="numbers of answers of a new model", min_length=1)
    RETRAINED: Distinct[Count] = Field([128], description="of these, where everything is trained anew as well")
    CHOSEN: Distinct[Annotated[int, Ge(9)]] = Field(
        [32, 128], description="numbers of answers at which ways to choose questions are compared", min_length=1)
    N_ORDERS: Count = Field(1, description="random orders of the questions")
    LONG: bool = Field(False, description="whether what takes long is computed; else that of make deep is shown")
    JOINT: Count = Field(128, description="long: answers of a new model to other benchmarks than the one forecast")
    STOPPED: float = Field(0.05, description="long: half an interval's width at which no more is asked", gt=0, lt=0.5)
    ODD: Distinct[Count] = Field([32, 128, 512], description="long: numbers of answers of models unlike the pool")
    PORTFOLIOS: Distinct[Count] = Field([1, 2, 3, 5, 8, 15, 30], description="numbers of models to keep", min_length=1)


NOTEBOOKS: dict[str, type[Parameters]] = {
    "01_data_preparation": DataPreparation,
    "02_training": Training,
    "03_correctness_forecasting": CorrectnessForecasting,
    "04_model_routing": ModelRouting,
    "05_probing": Probing,
    "06_embedder_ablation": EmbedderAblation,
    "07_sensitivity": Sensitivity,
    "08_method_checks": MethodChecks,
    "09_new_models": NewModels,
}
TABLE = next(iter(NOTEBOOKS))  # the notebook that everything else starts from
KNOWN = {name for notebook in NOTEBOOKS.values() for name in notebook.model_fields}


def read(notebook: str, values: dict, preset: dict | None = None) -> Parameters:
    """Validate the values of one notebook's parameters.

    Parameters
    ----------
    notebook : str
        Its file name without ``.ipynb``.
    values : dict
        Parameter name to value. Papermill's ``-p`` passes lists and booleans as text; YAML reads them.
    preset : dict, optional
        The preset they may come from: its values for other notebooks are left aside, so that one
        preset serves all.

    Raises
    ------
    ParameterError
        If a name is unknown or a value cannot be used; the message says what could be.
    """
    known = NOTEBOOKS[notebook]
    for name in values.keys() - known.model_fields.keys():
        if name not in KNOWN:
            upper = name.upper()
            close = [upper] if upper in KNOWN else difflib.get_close_matches(upper, known.model_fields, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known.model_fields)}"
            raise ParameterError(f"unknown parameter {name}; {hint}")
        if name not in (preset or {}) or preset[name] != values[name]:
            owners = ", ".join(owner for owner, fields in NOTEBOOKS.items() if name in fields.model_fields)
            raise ParameterError(
                f"{name} is a parameter of {owners}, not of {notebook}; to change it for the whole study put "
                "it into a preset (a file in notebooks/presets)"
            )
    own = {name: value for name, value in values.items() if name in known.model_fields}
    for name, value in own.items():
        info = known.model_fields[name]
        if isinstance(value, str) and info.annotation is int and not re.fullmatch("0|[1-9][0-9]*", value):
            # YAML would read 010 as 8 and 1:30 as 90, where make has named the folder by the text.
            raise ParameterError(f"{name} = {value!r} ({info.description}): must be plain digits without leading zeros")
        if isinstance(value, str) and info.annotation is not str:
            own[name] = yaml.safe_load(value)
    try:
        return known(**own)
    except ValidationError as error:
        first = error.errors()[0]
        reason = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:  # about several parameters at once
            raise ParameterError(reason) from None
        name = first["loc"][0]
        meaning = known.model_fields[name].description
        raise ParameterError(f"{name} = {own[name]!r} ({meaning}): {reason}") from None
