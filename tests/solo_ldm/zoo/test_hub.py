"""Entries on the Hugging Face hub: cards it can read, repositories that load."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub import ModelCard, constants
from safetensors import safe_open

from solo_ldm import zoo
from solo_ldm.backbones import create_backbone
from solo_ldm.files import write_json
from solo_ldm.weights.export import write_backbone, write_safetensors
from solo_ldm.weights.pretrained import load_pretrained
from solo_ldm.weights.published import resolve_checkpoint
from solo_ldm.weights.published.entry import CONFIG, TRAINING_STATE, WEIGHTS
from solo_ldm.weights.published.manifest import read_manifest, read_yaml
from solo_ldm.zoo.backbones import BackboneKind
from solo_ldm.zoo.kinds import find_kind

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """Serves files of `root` as the hub serves those of somebody/toy."""

    root: Path

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def _answer(self, with_content: bool) -> None:
        owner, name, resolve, _, *file = self.path.strip("/").split("/")
        path = self.root / "/".join(file)
        if (owner, name, resolve) != ("somebody", "toy", "resolve") or not path.is_file():
            self.send_response(404)
            known = (owner, name) == ("somebody", "toy")
            self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
            self.send_header("X-Error-Message", "not found")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = path.read_bytes()
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_content:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def hub(published, tmp_path, monkeypatch) -> Iterator[Path]:
    """The folder that is somebody/toy on the hub."""
    root = tmp_path / "toy"
    shutil.copytree(published / "weights" / "toy", root)
    handler = type("Served", (Hub,), {"root": root})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        template = "{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{endpoint}/{template}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield root
        server.shutdown()
        thread.join()


def test_the_hub_reads_scores_licence_and_library_from_the_card(published):
    entry = read_manifest(published)["toy"]
    data: Any = ModelCard.load(published / "weights" / "toy" / "README.md").data
    assert (data.library_name, data.datasets, data.model_name) == ("timm", ["digits"], "toy")
    assert {one.metric_name: one.metric_value for one in data.eval_results} == {
        f"{one.protocol}, top-1 accuracy": one.value for one in entry.results
    }


def test_a_model_of_the_hub_is_the_published_one(published, hub):
    folder = published / "weights" / "toy"
    model: Any = zoo.load("hf-hub:somebody/toy")
    images = torch.randn(3, 3, 16, 16)
    with torch.inference_mode():
        assert torch.equal(model(images), find_kind("backbone").load("toy", folder)(images))


def test_weights_of_the_hub_are_named_as_all_others(published, hub):
    """A backbone, the data that it was trained on, and a checkpoint to resume from."""
    folder = published / "weights" / "toy"
    found, expected = load_pretrained("hf-hub:somebody/toy"), load_pretrained(folder / WEIGHTS)
    assert (found.kind, found.method, found.epoch) == ("hf-hub", "gaussprob", 2)
    assert (found.args or {})["data"]["dataset"] == "digits"
    for key, value in expected.backbone.state_dict().items():
        assert torch.equal(found.backbone.state_dict()[key], value)
    state = Path(resolve_checkpoint("hf-hub:somebody/toy"))
    assert state.read_bytes() == (folder / TRAINING_STATE).read_bytes()
    assert resolve_checkpoint("some/last.ckpt") == "some/last.ckpt"


@pytest.mark.parametrize(
    ("name", "size", "stem"),
    [("resnet18", 32, None), ("resnet18", 32, "large"), ("resnet18", 96, None)],
)
def test_timm_builds_a_resnet_of_either_stem_from_its_folder(tmp_path, name, size, stem):
    backbone = create_backbone(name, size, stem=stem).eval()
    built_by = {"name": name, "image_size": size, **({"stem": stem} if stem else {})}
    write_backbone(tmp_path / WEIGHTS, backbone, built_by, (0.5,) * 3, (0.2,) * 3, {}, None)
    write_json(tmp_path / "config.json", BackboneKind().hub_config(tmp_path))
    model = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, num_classes=0).eval()
    images = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        torch.testing.assert_close(model(images), backbone(images))


def test_the_same_weights_are_the_same_bytes(tmp_path):
    """Publishing a run again gives the published hash."""
    weights = {"b": torch.randn(3, 5), "a": torch.arange(7), "empty": torch.zeros(0)}
    metadata = {f"key {number}": f"value {number} é" for number in range(8)}
    path, contents = tmp_path / "x.safetensors", set()
    for _ in range(20):
        write_safetensors(path, weights, metadata)
        contents.add(path.read_bytes())
    assert len(contents) == 1
    with safe_open(path, framework="pt") as stored:
        assert stored.metadata() == metadata
        assert set(stored.keys()) == set(weights)
        assert all(torch.equal(stored.get_tensor(key), value) for key, value in weights.items())


def test_a_file_that_the_hub_does_not_have_is_one_line(hub):
    for name in ("hf-hub:somebody/other", "hf-hub:no owner/x/y"):
        with pytest.raises(ValueError, match=f"{name}: the hub does not give") as error:
            zoo.load(name)
        assert "\n" not in str(error.value)
    (hub / CONFIG).write_text("x: 1\n")
    with pytest.raises(ValueError, match="expected the configuration of one of"):
        zoo.load("hf-hub:somebody/toy")
    (hub / CONFIG).unlink()
    with pytest.raises(ValueError, match=f"the hub does not give {CONFIG}"):
        zoo.load("hf-hub:somebody/toy@other")


@pytest.mark.parametrize(
    ("content", "message"),
    [("- 1\n", "expected keys and values, got a list"), ("x: {\n", "is no YAML")],
)
def test_another_content_of_a_configuration_is_refused_in_one_line(tmp_path, content, message):
    (tmp_path / CONFIG).write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        read_yaml(tmp_path / CONFIG)
    assert "\n" not in str(error.value)
