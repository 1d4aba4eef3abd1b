"""Files of one commit of a repository on the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def snapshot(
    repository: str, revision: str, files: Sequence[str], probe: str, *,
    kind: str = "model", folder: Path | None = None, held: str | None = None,
) -> tuple[Path, str]:
    """Download files of a repository.

    Parameters
    ----------
    repository, revision : str
        Its name, and a commit, branch or tag of it.
    files : sequence of str
        Names or patterns of the files that are wanted.
    probe : str
        The name of one file that it has.
    kind : {"model", "dataset"}
    folder : Path, optional
        Where the files go; default the hub's own cache.
    held : str, optional
        The commit that the folder is at; nothing is fetched if the revision is that commit.

    Returns
    -------
    folder : Path
    commit : str

    Raises
    ------
    Exception
        Those of the hub's HTTP client, which has changed more than once.
    """
    import huggingface_hub

    # Asked first because it gives up at once, where a download goes on trying for 20 s; and because a download
    # that finds no hub is content with whatever part of the files lies in the folder.
    url = huggingface_hub.hf_hub_url(repository, probe, repo_type=kind, revision=revision)
    commit = huggingface_hub.get_hf_file_metadata(url, timeout=5).commit_hash or revision
    if held == commit:
        return folder, commit
    found = huggingface_hub.snapshot_download(
        repository, repo_type=kind, revision=commit, allow_patterns=list(files), local_dir=folder
    )
    return Path(found), commit


def fetch(registry: Path, url: str, folder: Path) -> Path:
    """Files from an address, each whole and of its hash, or not there; nothing is fetched twice.

    Parameters
    ----------
    registry : Path
        A line for each file: its path below `url` and `folder`, and its SHA-256.
    url : str
        Ends with a slash.
    folder : Path

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    Exception
        Those of pooch and its HTTP client: no network, another file than expected.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")
    files = pooch.create(path=folder, base_url=url)
    files.load_registry(registry)
    for name in files.registry_files:
        files.fetch(name, downloader=pooch.HTTPDownloader(timeout=10))
    return folder
