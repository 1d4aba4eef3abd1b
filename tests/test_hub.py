"""Files fetched from an address: whole, of their hash, once; or not there."""

import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import sentence

from embedllm.sources import open_llm_leaderboard as source


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A server of two files and its registry: the folder that is downloaded to, and the paths asked for."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    (tmp_path / "there" / "below").mkdir(parents=True)
    lines = []
    for name in ("a.csv", "below/b.csv"):
        (tmp_path / "there" / name).write_text(name)
        lines.append(f"{name} {hashlib.sha256(name.encode()).hexdigest()}\n")
    (tmp_path / "registry").write_text("".join(lines))
    monkeypatch.setattr(source, "REGISTRY", tmp_path / "registry")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=tmp_path / "there")) as server:
        monkeypatch.setattr(source, "URL", f"http://127.0.0.1:{server.server_port}/")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield tmp_path / "here", asked
        server.shutdown()
        thread.join()


def test_a_download_is_whole_and_kept(served):
    here, asked = served
    assert source.download(here) == here
    assert [(here / name).read_text() for name in ("a.csv", "below/b.csv")] == ["a.csv", "below/b.csv"]
    source.download(here)
    assert asked == ["/a.csv", "/below/b.csv"]
    (here / "below/b.csv").write_text("cut")
    source.download(here)
    assert asked == ["/a.csv", "/below/b.csv", "/below/b.csv"] and (here / "below/b.csv").read_text() == "below/b.csv"


def test_another_file_than_expected_is_refused(served):
    here, _ = served
    (here.parent / "there" / "below/b.csv").write_text("another")
    message = sentence(lambda _: source.download(here), source.URL)
    assert "could not be downloaded" in message and "SHA256" in message
    assert [file.name for file in here.rglob("*") if file.is_file()] == ["a.csv"]


def test_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "URL", "http://127.0.0.1:9/")
    message = sentence(lambda _: source.download(tmp_path), source.URL)
    assert "try again with a network, or set DATA_DIR to a clone" in message
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]
