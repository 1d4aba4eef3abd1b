"""What a notebook needs to start and finish: parameters, artifacts of earlier notebooks, provenance."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from embedllm import claims, presentation
from embedllm.catalog import SOURCES
from embedllm.encoders import cache
from embedllm.files import ROOT, digest, shown, write
from embedllm.outcomes import OutcomeMatrix
from embedllm.study import data, paths, products, shelf
from embedllm.study.given import from_namespace
from embedllm.study.memo import Memory
from embedllm.study.parameters import TABLE, Parameters, read
from embedllm.study.paths import base_folder, check_data_dir, figure_folder
from embedllm.study.presets import with_preset
from embedllm.study.products import StudyError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOUBTS, VECTORS = "doubts.md", "prompt_vectors.npz"  # what notebook 01 doubts about the table, and of its prompts


@dataclass
class Run:
    """One run of one notebook. `start` makes it; products are trusted only after `finish`.

    Attributes
    ----------
    notebook : str
        File name without ``.ipynb``.
    parameters : Parameters
        The notebook's own parameter class, validated.
    folder : Path
        Where this run writes: ``artifacts/<label>/<preset>-<encoder>-s<seed>``, plus a hash of any
        other override, so that runs never overwrite each other.
    base : Path
        The same without the hash: where earlier notebooks' products are looked for next.
    figures : Path
        ``figures/<label>`` for the default run of a dataset, else a folder of the run.
    judges : bool
        Whether verdicts are given by this run: the default one, as it comes.
    """

    notebook: str
    parameters: Parameters
    folder: Path
    base: Path
    figures: Path
    inputs: dict[str, str] = field(default_factory=dict)
    memory: Memory = field(default_factory=lambda: Memory(paths.ARTIFACTS / "memo"))

    def __post_init__(self):
        is_deep, number = self._kept and self.parameters.PRESET == shelf.DEEP, f"{self.notebook[:2]}_"
        self.shelf = shelf.Shelf(self.figures, number, self.folder / "figures", is_deep)
        self.judges = self._kept and not is_deep

    @property
    def _kept(self) -> bool:  # those that stay, not the run's own
        return self.figures.is_relative_to(paths.FIGURES)

    @property
    def products(self) -> Path:
        """The folder this notebook writes its tables and arrays to."""
        return self.folder / self.notebook

    def path(self, name: str) -> Path:
        """Where to write a product."""
        self.products.mkdir(parents=True, exist_ok=True)
        return self.products / name

    def find(self, notebook: str) -> Path:
        """The folder of an earlier notebook's products, from this run or the base it deviates from.

        Raises
        ------
        StudyError
            If that notebook has not finished, or if a file it left is damaged (then all of them are deleted); the
            message is the command that runs it.
        """
        options = data.as_options(self.parameters.overrides)
        for folder in (self.folder, self.base):
            manifest = folder / f"{notebook}.products"
            if not manifest.exists():
                continue
            found = digest(manifest.read_bytes())
            if self.inputs.get(notebook) != found:  # not checked yet
                if bad := products.damaged(folder, notebook):
                    products.discard(folder, notebook)
                    command = f"make reproduce{options}" if folder == self.base else "run it again with the same values"
                    raise StudyError(f"{shown(bad)} was damaged, so all that notebook {notebook} left was deleted: "
                                     f"{command}")
                self.inputs[notebook] = found
            return folder / notebook
        raise StudyError(f"notebook {notebook} has not finished for this run yet: make reproduce{options}"
                         f"{data.minutes(self.parameters.label)}")

    def table(self) -> OutcomeMatrix:
        """The outcome table that notebook 01 prepared; its questions carry the column ``part``.

        What notebook 01 doubts about its best models is shown first.
        """
        folder = self.find(TABLE)
        if (doubts := folder / DOUBTS).exists():
            presentation.show_text(doubts.read_text())
        return OutcomeMatrix.load(folder / "table.zip")

    def vectors(self, prompts) -> np.ndarray:
        """Prompt vectors, (n_prompts, d_prompt) float32: notebook 01's where it kept them, else cached or encoded."""
        known = cache.kept(self.find(TABLE) / VECTORS)
        return cache.encode(self.parameters.ENCODER, prompts, paths.ARTIFACTS / "vectors", known=known)

    def vectors_of(self, table: OutcomeMatrix, encoder: str) -> np.ndarray:
        """Vectors of the table's prompts by any encoder, see `data.prompt_vectors`."""
        own = encoder == self.parameters.ENCODER
        return self.vectors(table.questions["prompt"]) if own else data.prompt_vectors(self.parameters, table, encoder)

    def keep_vectors(self, table: OutcomeMatrix) -> np.ndarray:
        """`data.prompt_vectors` of the table, kept for later notebooks."""
        found = data.prompt_vectors(self.parameters, table)
        cache.keep(self.path(VECTORS), cache.by_text(table.questions["prompt"], found))
        return found

    def remember(self, function, *args, **settings):
        """``function(*args, **settings)``, read back if nothing it depends on changed."""
        return self.memory.remember(function, *args, **settings)

    def remember_all(self, calls: Iterable[partial]) -> list:
        """What many calls return, as `remember`; what is missing is computed on all cores."""
        return self.memory.remember_all(calls)

    def save_figure(
        self, name: str, table: pd.DataFrame, caption: str, draw: Callable[[pd.DataFrame], Figure]
    ) -> None:
        """Write a table (CSV) and the figure that `draw` makes of it as written (PNG, SVG); show it with its caption.

        Parameters
        ----------
        caption : str
            Plain text; its first sentence says what the figure shows, where that is computed.
        """
        from matplotlib import pyplot as plt

        from embedllm.figures import style

        # Figures of published data are committed, and the repository would grow too large.
        vector = not (SOURCES[self.parameters.DATASET].published and self._kept)
        kinds = (".csv", ".png", ".svg") if vector else (".csv", ".png")
        path = self.shelf.place(name, style.to_csv(table), kinds)
        plt.close(style.save_figure(path, table, caption, draw, vector))
        presentation.show_figure(path.with_suffix(".png"))

    def save_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table that has no figure beside the figures; one that holds times is named timing_*."""
        from embedllm.figures import style

        text = style.to_csv(table)
        write(self.shelf.place(name, text).with_suffix(".csv"), text)

    def show_deep(self, name: str) -> pd.DataFrame | None:
        """Show a figure of `make deep`, and whether it is of today's code and table; its table, or None."""
        if self.shelf.is_deep:
            return None
        path = self.shelf.deep(name).with_suffix(".csv")
        if not path.exists():
            named = {name: self.parameters.overrides.get(name) for name in ("DATASET", "DATA_DIR", "NAME")}
            presentation.show_text(f"*Not computed for this table yet: `make deep{data.as_options(named)}` does.*")
            return None
        presentation.show_figure(path.with_suffix(".png"))
        presentation.show_text(shelf.state(self.shelf.deep("provenance.json"), self.table_digest))
        return pd.read_csv(path)

    def deep_tables(self, *names: str) -> dict[str, pd.DataFrame | None]:
        """Tables that `make deep` made with today's code and table; None each where there is none."""
        return self.shelf.deep_tables(names, self.table_digest)

    def best(self, name: str, here: pd.DataFrame) -> pd.DataFrame:
        """`Shelf.best_of` a single table."""
        return self.shelf.best_of({name: here}, self.table_digest)[name]

    @property
    def table_digest(self) -> str:
        """What stands for notebook 01's table, and for where it was read: there its vectors have their rounding."""
        folder = self.products if self.notebook == TABLE else self.find(TABLE)
        return digest((folder / "table.zip").read_bytes())

    def verdicts(self, found: Mapping[str, Mapping] | None = None) -> pd.DataFrame:
        """Write ``NN_verdicts.csv``, a row a claim or question of this notebook, and show it; see `claims.verdicts`."""
        source = data.judged_as(self.parameters, OutcomeMatrix.load(self.find(TABLE) / "table.zip"))
        table = claims.verdicts(self.notebook, source, self.parameters.label, found or {}, self.judges)
        if not self.shelf.is_deep:
            self.save_table("verdicts", table)
        return claims.as_read(table)

    def finish(self) -> None:
        """Declare the products whole: write their manifest, kept as it is if nothing changed.

        Also removes figures that an earlier run drew and this one did not, lists the modules used, for make, and lets
        other processes run the notebook.
        """
        if self.shelf.is_deep and self.shelf.drawn:
            self.shelf.kept.add((file := self.shelf.deep("provenance.json")).name)
            used = self.memory.used | shelf.judging(ROOT / "notebooks" / f"{self.notebook}.ipynb")
            shelf.record(file, self.parameters.model_dump(exclude={"DATA_DIR"}), self.table_digest, used)
        self.shelf.tidy()
        products.declare(self.folder, self.notebook, self.parameters.model_dump(), self.inputs)
        products.note_use(self.folder, self.notebook, oldest=self.memory.oldest, drawn=self.shelf.drawn)
        products.release(self.folder, self.notebook)
        root = paths.FIGURES if self._kept else paths.ARTIFACTS
        print(f"{self.notebook} has finished; its figures are in {root.name}/{self.figures.relative_to(root)}/")
        if self.folder != self.base and self.products.exists():
            print("Its products stand alone: other notebooks read them only if the changed values come from a "
                  "preset (a file in notebooks/presets).")


def start(notebook: str, namespace: dict) -> Run:
    """Begin a notebook: validate its parameters, find its folders, distrust its former products.

    Parameters
    ----------
    notebook : str
        File name without ``.ipynb``.
    namespace : dict
        ``globals()`` of the notebook; see `given.from_namespace`.

    Raises
    ------
    ParameterError
        For an unknown name, a value out of range, a preset or directory that is not there.
    StudyError
        If another process runs this notebook of this run.
    """
    values, preset = with_preset(notebook, from_namespace(namespace))
    p = read(notebook, values, preset)
    if notebook == TABLE:
        check_data_dir(p)
    expected = read(notebook, preset | {n: getattr(p, n) for n in Parameters.model_fields}, preset)
    overrides = {n: v for n, v in p.model_dump().items() if v != getattr(expected, n)}
    folder = base = base_folder(p)
    if overrides:
        folder = base.with_name(f"{base.name}-{digest(json.dumps(overrides, sort_keys=True))[:8]}")
    run = Run(notebook, p, folder, base, folder / "figures" if overrides else figure_folder(p))
    products.hold(folder, notebook)
    products.withdraw(folder, notebook)
    from embedllm.figures import style  # late, so that a wrong parameter is told before seaborn loads

    style.use_style()
    presentation.use_tables()
    return run
