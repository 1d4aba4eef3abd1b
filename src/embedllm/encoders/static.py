"""Encoders without a network: a sentence encoder's vector of each token, learned by heart and averaged over a text.

Made once from their teacher by model2vec (Tulkens and van Dongen 2024, github.com/MinishLab/model2vec), which is
needed for making alone: each token of its vocabulary is encoded, the vectors reduced to principal components and
weighted by how rare a token is taken to be.
"""

from __future__ import annotations

import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from embedllm.catalog import ENCODERS
from embedllm.encoders import weights
from embedllm.encoders.weights import MAKER, EncoderError


def find(name: str) -> Path:
    """The folder of a static encoder, made if it is not there.

    Raises
    ------
    EncoderError
        If it has to be made and teacher or model2vec are not here, or if its files have changed since.
    """
    folder = _folder(name)
    if not (folder / weights.TRUSTED).exists():
        _make(name, folder)
    weights.check(folder, files(name), f"encoder {name}", f"delete the folder {folder}: it is made anew")
    return folder


def files(name: str) -> dict[str, str]:
    """The files of a static encoder that was made here, with their SHA-256."""
    return weights.hashes_in(_folder(name) / weights.TRUSTED)


def content(name: str) -> str:
    """What stands for the numbers of a static encoder, which each machine makes a little differently; blank: none."""
    trusted = _folder(name) / weights.TRUSTED
    return trusted.read_text() if trusted.exists() else ""


def _folder(name: str) -> Path:
    return weights.FOLDER / f"{name}-{weights.fingerprint(name)[:12]}"


def _make(name: str, folder: Path) -> None:
    """Distil the teacher."""
    try:
        found = version(MAKER[0])
    except PackageNotFoundError:
        found = "none"
    if found != MAKER[1]:
        raise EncoderError(f"encoder {name}: it is made from {ENCODERS[name].teacher} by {' '.join(MAKER)}, of which "
                           f"{found} is here; run `make setup EXTRAS=encoders`")
    teacher = weights.find(ENCODERS[name].teacher)

    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    from embedllm.machine import device

    with weights.alone(teacher, weights.hashes(ENCODERS[name].teacher)) as folder_alone:
        made = StaticEmbedding.from_distillation(str(folder_alone), device=str(device()), pca_dims=ENCODERS[name].dim)
    made.tokenizer.no_truncation()  # it has no length to keep to
    weights.FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=weights.FOLDER, prefix=".making-") as work:
        whole = Path(work, "whole")
        SentenceTransformer(modules=[made], device="cpu").save(str(whole), create_model_card=False)
        weights.record(whole)
        try:
            weights.place(whole, folder)
        except OSError:  # another process was quicker
            if not (folder / weights.TRUSTED).exists():
                raise
