"""The manifest of published models: written and read, and checked at each key."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import pairwise

import pytest

from solo_ldm.weights.published.manifest import (
    read_manifest,
    read_yaml,
    write_manifest,
    zoo_folder,
)


def test_a_manifest_is_read_as_it_was_written(tmp_path):
    entries = read_manifest()
    write_manifest(tmp_path, entries)
    assert (tmp_path / "manifest.yaml").read_text() == (zoo_folder() / "manifest.yaml").read_text()
    again = read_manifest(tmp_path)
    assert {name: asdict(one) for name, one in again.items()} == {
        name: asdict(one) for name, one in entries.items()
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs:", "epoch:", r"figure8: unknown key epoch: did you mean epochs\?"),
        ("epochs: 15", "epochs: many", "figure8: epochs: expected a whole number, got 'many'"),
        ("  licence: 'none: simulated by solo_ldm (MIT)'\n", "", "figure8: missing key licence"),
        ("      sha256: ", "      sha256: 0", "files.* has no sha256"),
        ("  reference:\n    protocol: ", "  reference:\n    protocol: x", "expected one of linear"),
        ("figure8:\n", "figure8: {\n", "is no YAML"),
        ("figure8:\n", "Figure 8:\n", "name: expected small letters"),
        ("      size: ", "      size: abc", "figure8: size.*could not be converted"),
        ("      size: ", "      size: -", "negative size"),
        *(
            (
                "    report.png:\n",
                f"    {json.dumps(name)}:\n",
                "figure8: files expected names of letters|figure8: files.name",
            )
            for name in ("..", ".", "", "a" * 300, "..\\x", "/etc/passwd", "a/b", "a\nb", "-x")
        ),
        ("    report.png:\n", "    config.yaml:\n", "is no YAML.*duplicate key config.yaml"),
        ("figure8:\n", "1: &a [*a]\nfigure8:\n", "is no YAML of keys and values .it has aliases"),
        ("figure8:\n", "a: " + "[" * 3000 + "\nfigure8:\n", "is no YAML of keys and values"),
        ("figure8:\n", "\x01\nfigure8:\n", "is no YAML of keys and values"),
        (
            "    report.png:\n",
            "    x.png:\n    report.png:\n",
            "figure8: missing key files.*sha256",
        ),
        ("      metric: r2", "      metric: x", "expected a metric of top1 or r2"),
    ],
)
def test_a_damaged_manifest_is_refused_in_one_line(tmp_path, old, new, message):
    text = (zoo_folder() / "manifest.yaml").read_text()
    assert old in text
    (tmp_path / "manifest.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message) as error:
        read_manifest(tmp_path)
    assert "\n" not in str(error.value)


def test_a_manifest_that_is_a_list_or_a_word_or_has_a_file_twice_is_refused(tmp_path):
    twice = read_yaml(zoo_folder() / "manifest.yaml")
    file = {"name": "a", "sha256": "0" * 64, "size": 1}
    twice["figure8"]["files"] = [file, file]
    bomb = "a: &a [1, 1]\n" + "".join(
        f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in pairwise("abcdefghij")
    )
    for content, said in (
        ("- a\n- b\n", "expected keys and values, got a list"),
        ("7", "is no YAML of keys and values"),
        (bomb, "it has aliases"),
        (json.dumps(twice), "files has a twice"),
    ):
        (tmp_path / "manifest.yaml").write_text(content)
        with pytest.raises(ValueError, match=said) as error:
            read_manifest(tmp_path)
        assert "\n" not in str(error.value)
