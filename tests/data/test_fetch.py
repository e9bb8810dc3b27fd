"""The download, against a server on loopback: no other address is ever contacted."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from mabn_ref.data import fetch

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT at /whole, its first half under the full length at /cut, 404 elsewhere; notes every request."""

    def __init__(self, requests: list[str], *args: Any) -> None:
        self.requests = requests
        super().__init__(*args)

    def do_GET(self) -> None:
        self.requests.append(self.path)
        if self.path not in ("/whole", "/cut"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT if self.path == "/whole" else CONTENT[: len(CONTENT) // 2])

    def log_message(self, *args: Any) -> None:
        pass


class Server:
    def __init__(self) -> None:
        self.requests: list[str] = []
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, self.requests))
        self.thread = Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/{path}"

    def stop(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    pytest.importorskip("pooch", reason="downloading needs the extra data")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    yield server
    server.stop()


def test_downloads_once_and_then_needs_no_network(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fetch.fetch_cifar10(tmp_path / "cache", server.url("whole"), SHA256)
    assert path == tmp_path / "cache" / "cifar-10-binary.tar.gz"
    assert path.read_bytes() == CONTENT
    assert "100%" in capsys.readouterr().err
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]

    server.stop()
    assert fetch.fetch_cifar10(tmp_path / "cache", server.url("whole"), SHA256) == path
    assert server.requests == ["/whole"]


def test_progress_can_be_turned_off(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fetch.fetch_cifar10(tmp_path, server.url("whole"), SHA256, progress=False)
    assert "%" not in capsys.readouterr().err


def test_wrong_hash_keeps_nothing(server: Server, tmp_path: Path) -> None:
    wrong = "0" * 64
    with pytest.raises(ValueError, match=rf"/whole was discarded: .*{wrong}") as caught:
        fetch.fetch_cifar10(tmp_path, server.url("whole"), wrong, progress=False)
    assert SHA256 in str(caught.value)
    assert "--data-dir" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_damaged_file_in_the_cache_is_downloaded_anew(server: Server, tmp_path: Path) -> None:
    archive = tmp_path / "cifar-10-binary.tar.gz"
    archive.write_bytes(CONTENT[:-1])
    fetch.fetch_cifar10(tmp_path, server.url("whole"), SHA256, progress=False)
    assert archive.read_bytes() == CONTENT


@pytest.mark.parametrize("path", ["cut", "missing"])
def test_failed_download_keeps_nothing_and_says_what_to_do(server: Server, tmp_path: Path, path: str) -> None:
    with pytest.raises(ConnectionError, match=rf"^could not download http://127.0.0.1:\d+/{path}: .*--data-dir"):
        fetch.fetch_cifar10(tmp_path, server.url(path), SHA256, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_unreachable_server_says_how_to_place_the_file(server: Server, tmp_path: Path) -> None:
    url = server.url("whole")
    server.stop()
    with pytest.raises(ConnectionError, match=r"could not download .*cifar-10-binary\.tar\.gz.*--data-dir") as caught:
        fetch.fetch_cifar10(tmp_path, url, SHA256, progress=False)
    assert str(tmp_path / "cifar-10-binary.tar.gz") in str(caught.value)
    assert "hash" not in str(caught.value)
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(CONTENT[:-1])
    with pytest.raises(ConnectionError, match=rf"tar\.gz, does not have the hash {SHA256}\. To go on by hand"):
        fetch.fetch_cifar10(tmp_path, url, SHA256, progress=False)


def test_file_placed_by_hand_is_used(tmp_path: Path) -> None:
    pytest.importorskip("pooch", reason="downloading needs the extra data")
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(CONTENT)
    assert fetch.fetch_cifar10(tmp_path, "http://127.0.0.1:9/none", SHA256).read_bytes() == CONTENT


def test_cache_directory_argument_then_variable_then_user_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pooch = pytest.importorskip("pooch", reason="downloading needs the extra data")
    monkeypatch.setenv("MABN_REF_DATA_DIR", str(tmp_path / "variable"))
    assert fetch.cache_directory(tmp_path / "argument") == tmp_path / "argument"
    assert fetch.cache_directory() == tmp_path / "variable"
    monkeypatch.delenv("MABN_REF_DATA_DIR")
    assert fetch.cache_directory() == Path(pooch.os_cache("mabn_ref"))


def test_default_hash_and_url_are_the_published_ones() -> None:
    assert fetch.CIFAR10_URL.endswith("/cifar-10-binary.tar.gz")
    assert len(bytes.fromhex(fetch.CIFAR10_SHA256)) == 32


def test_missing_pooch_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r'pip install "mabn_ref\[data\]"'):
        fetch.fetch_cifar10(tmp_path)
