"""Published files are downloaded once, whole, and only with the published content."""

from __future__ import annotations

import hashlib
import random
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import constants

from solo_ldm.weights.published.download import cache_folder, fetch
from solo_ldm.weights.published.entry import Entry, ZooFile

CONTENT = random.Random(0).randbytes(1 << 20)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT under names that say how, and records the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None]] = []

    def url(self, how: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{how}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing when a client hangs up."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        how, begin = self.path.strip("/"), 0
        ranged = self.headers.get("Range")
        self.server.asked.append((how, ranged))  # pyright: ignore
        if how == "404":
            self.send_error(404)
            return
        content = {"wrong": bytes(len(CONTENT)), "short": CONTENT[:-5]}.get(how, CONTENT)
        if ranged and how != "whole":
            begin = int(ranged.removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
        else:
            self.send_response(200)
        if how != "endless":
            self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        rest = content[begin:]
        if how == "slow":
            for i in range(0, len(rest), 1 << 18):
                self.wfile.write(rest[i : i + (1 << 18)])
                time.sleep(0.05)
        elif how == "breaks":  # after a quarter of a megabyte, each time
            self.wfile.write(rest[: 1 << 18])
        elif how == "stalls":
            self.wfile.write(rest[:10])
            self.wfile.flush()
            time.sleep(2.0)
        elif how == "endless":
            self.wfile.write(rest + bytes(1000))
        else:
            self.wfile.write(rest)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, args=[0.01])
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    """Downloads of a test alone, from servers that are soon given up and soon asked again."""
    monkeypatch.setenv("SOLO_LDM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 16)
    monkeypatch.setattr("huggingface_hub.file_download.time", SimpleNamespace(sleep=lambda _: None))


def published(*urls: str) -> Entry:
    """An entry whose one file is at `urls`."""
    file = ZooFile("model.safetensors", SHA256, len(CONTENT), list(urls))
    known: dict[str, Any] = dict.fromkeys(Entry.__dataclass_fields__, "x")
    return Entry(**{**known, "name": "toy", "files": [file], "results": []})


def get(*urls: str) -> Path:
    return fetch(published(*urls), "model.safetensors")


def partial_of(url: str) -> Path:
    """Fetch a file, take it away, and return where a part of it is expected."""
    path = get(url)
    path.unlink()
    return path.with_name(f"{path.name}.part")


@pytest.mark.parametrize("how", ["plain", "slow"])
def test_the_published_content_is_fetched_once_into_the_cache(server, how):
    path = get(server.url(how))
    assert path.read_bytes() == CONTENT
    assert path.is_relative_to(cache_folder())
    assert get(server.url(how)) == path
    assert len(server.asked) == 1


def test_a_broken_transfer_is_resumed(server):
    assert get(server.url("breaks")).read_bytes() == CONTENT
    begun = [None, *(f"bytes={n << 18}-" for n in (1, 2, 3))]
    assert [ranged for _, ranged in server.asked] == begun


def test_an_interrupted_download_is_resumed_by_the_next_call(server):
    partial_of(server.url("plain")).write_bytes(CONTENT[:1000])
    assert get(server.url("plain")).read_bytes() == CONTENT
    assert server.asked[-1] == ("plain", "bytes=1000-")


def test_a_server_without_ranges_sends_the_whole_file_again(server):
    partial_of(server.url("plain")).write_bytes(CONTENT[:1000])
    assert get(server.url("whole")).read_bytes() == CONTENT


@pytest.mark.parametrize("size", [15, len(CONTENT), len(CONTENT) + 1])
def test_a_part_of_another_file_is_not_kept(server, size):
    partial_of(server.url("plain")).write_bytes(bytes(size))
    assert get(server.url("plain")).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("404", "404"),
        ("wrong", "expected sha256 " + SHA256),
        ("short", f"should be of size {len(CONTENT)} but has size {len(CONTENT) - 5}"),
        ("endless", f"should be of size {len(CONTENT)} but has size {len(CONTENT) + 1000}"),
        ("stalls", "timed out"),
    ],
)
def test_another_content_is_refused_in_one_line_and_leaves_no_file(server, how, message):
    with pytest.raises(ValueError, match="could not be fetched") as refusal:
        get(server.url(how))
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not list(cache_folder().rglob("model.safetensors"))


def test_the_next_mirror_is_tried(server):
    mirrors = ["404", "wrong", "short", "plain"]
    assert get(*map(server.url, mirrors)).read_bytes() == CONTENT
    assert list(dict.fromkeys(how for how, _ in server.asked)) == mirrors


def test_without_a_network_one_line_says_so():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/model"
        with pytest.raises(ValueError, match="check the connection, or put the file at") as refusal:
            get(url)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "message"), [(b"x", "bytes, got 1"), (bytes(len(CONTENT)), "expected sha256")]
)
def test_a_file_that_was_changed_is_refused(server, content, message):
    get(server.url("plain")).write_bytes(content)
    with pytest.raises(ValueError, match=r"is not the published file: .*; delete it") as refusal:
        get(server.url("plain"))
    assert message in str(refusal.value)


def test_a_file_without_a_mirror_comes_with_a_checkout():
    with pytest.raises(ValueError, match="comes with a checkout of solo_ldm"):
        get()


def test_two_threads_fetch_a_file_once(server):
    with ThreadPoolExecutor(2) as threads:
        paths = list(threads.map(get, [server.url("slow")] * 2))
    assert len(server.asked) == 1
    assert {path.read_bytes() == CONTENT for path in paths} == {True}
