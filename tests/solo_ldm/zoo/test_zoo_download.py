"""Fetching the zoo's files: from a server that is slow, breaks off, lies, or is not there."""

from __future__ import annotations

import hashlib
import random
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from solo_ldm.weights.published.download import cache_folder, fetch, missing
from solo_ldm.weights.published.entry import Entry, Result, ZooFile

CONTENT = random.Random(0).randbytes(1 << 20)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT under names that say how; notes what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None]] = []

    def url(self, how: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{how}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that hung up: some of these tests are of that."""


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
        elif how == "breaks":  # off after a third of a megabyte, each time
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
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SOLO_LDM_CACHE", str(tmp_path / "cache"))


def published(*urls: str) -> Entry:
    """An entry whose one file is at `urls`."""
    file = ZooFile("model.safetensors", SHA256, len(CONTENT), urls)
    result = Result("knn-20", "top1", 0.9, None, 0.9, None, 1, 100, 0.01)
    known = {name: "x" for name in Entry.__dataclass_fields__}
    numbers = dict.fromkeys(("num_features", "image_size", "epochs", "batch_size", "seed"), 1)
    made: dict[str, object] = {**known, **numbers, "seconds": 1.0, "cell": {}, "versions": {}}
    return Entry(**{**made, "name": "toy", "files": (file,), "results": (result,), "reference": {}})  # type: ignore[arg-type]


def get(entry: Entry, tmp_path: Path, **more: float) -> Path:
    return fetch(entry, "model.safetensors", folder=tmp_path / "no-zoo", **more)  # pyright: ignore


@pytest.mark.parametrize("how", ["plain", "slow", "endless"])
def test_what_comes_is_what_was_published(server, tmp_path, how):
    entry = published(server.url("plain" if how == "endless" else how))
    seen: list[tuple[int, int]] = []
    path = get(entry, tmp_path, progress=lambda *told: seen.append(told))  # type: ignore[arg-type]
    assert path.read_bytes() == CONTENT
    assert path.is_relative_to(cache_folder())
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_it_is_fetched_once(server, tmp_path):
    entry = published(server.url("plain"))
    assert missing(entry, ["model.safetensors"], tmp_path) == ["model.safetensors"]
    assert get(entry, tmp_path) == get(entry, tmp_path)
    assert len(server.asked) == 1
    assert missing(entry, ["model.safetensors"], tmp_path) == []


def test_a_transfer_that_breaks_off_goes_on_where_it_was(server, tmp_path):
    assert get(published(server.url("breaks")), tmp_path).read_bytes() == CONTENT
    quarter = 1 << 18
    begun = [None, *(f"bytes={n * quarter}-" for n in (1, 2, 3))]
    assert [ranged for _, ranged in server.asked] == begun


def test_a_download_of_before_goes_on(server, tmp_path):
    entry = published(server.url("stalls"))
    with pytest.raises(ValueError, match="could not be fetched"):
        get(entry, tmp_path, patience=0.3)
    got = get(published(server.url("plain")), tmp_path)
    assert got.read_bytes() == CONTENT
    assert server.asked[-1] == ("plain", "bytes=60-")  # ten bytes of each of six attempts


def test_a_server_without_ranges_sends_it_all_again(server, tmp_path):
    path = get(published(server.url("plain")), tmp_path)
    path.with_name(f"{path.name}.part").write_bytes(CONTENT[:1000])
    path.unlink()
    assert get(published(server.url("whole")), tmp_path).read_bytes() == CONTENT


def test_the_rest_of_another_file_is_not_built_upon(server, tmp_path):
    entry = published(server.url("plain"))
    path = get(entry, tmp_path)
    path.with_name(f"{path.name}.part").write_bytes(b"of another file")
    path.unlink()
    assert get(entry, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("404", "the server answers 404"),
        ("wrong", "another content: expected sha256 " + SHA256),
        ("short", f"expected {len(CONTENT)} bytes, the server has {len(CONTENT) - 5}"),
        ("endless", f"more than the expected {len(CONTENT)} bytes"),
        ("stalls", "timed out"),
    ],
)
def test_what_is_not_the_file_is_refused_in_one_line_and_leaves_nothing(
    server, tmp_path, how, said
):
    with pytest.raises(ValueError, match="could not be fetched") as refusal:
        get(published(server.url(how)), tmp_path, patience=0.3)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not list(cache_folder().rglob("model.safetensors"))


def test_the_next_mirror_is_tried(server, tmp_path):
    urls = [server.url(how) for how in ("404", "wrong", "short", "plain")]
    assert get(published(*urls), tmp_path).read_bytes() == CONTENT
    assert [how for how, _ in server.asked] == ["404", "wrong", "short", "plain"]


def test_without_a_network_one_line_says_so(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/model"
        with pytest.raises(ValueError, match="check the connection, or put the file at") as refusal:
            get(published(url), tmp_path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("content", "said"), [(b"x", "bytes, got 1"), (None, "expected sha256")])
def test_a_file_that_was_changed_is_refused(server, tmp_path, content, said):
    entry = published(server.url("plain"))
    path = get(entry, tmp_path)
    path.write_bytes(bytes(len(CONTENT)) if content is None else content)
    with pytest.raises(ValueError, match=r"is not the published file: .*; delete it") as refusal:
        get(entry, tmp_path)
    assert said in str(refusal.value)


def test_a_file_without_a_mirror_is_of_a_checkout(tmp_path):
    with pytest.raises(ValueError, match="comes with a checkout of solo_ldm"):
        get(published(), tmp_path)


def test_two_at_once_fetch_it_once(server, tmp_path):
    entry = published(server.url("slow"))
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(get(entry, tmp_path))) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.asked) == 1
    assert {path.read_bytes() == CONTENT for path in found} == {True}
