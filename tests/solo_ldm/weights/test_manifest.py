"""The manifest of published models: written and read, and checked at each key."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from solo_ldm.weights.published.manifest import read_manifest, write_manifest, zoo_folder


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
        ("epochs: 15", "epochs: many", "figure8: epochs: Value 'many'.*could not be converted"),
        ("  licence: 'none: simulated by solo_ldm (MIT)'\n", "", "figure8: missing key licence"),
        ("      sha256: ", "      sha256: 0", "files.* has no sha256"),
        ("  reference:\n    protocol: ", "  reference:\n    protocol: x", "expected one of linear"),
        ("figure8:\n", "figure8: {\n", "is no YAML"),
        ("figure8:\n", "Figure 8:\n", "name: expected small letters"),
    ],
)
def test_a_damaged_manifest_is_refused_in_one_line(tmp_path, old, new, message):
    text = (zoo_folder() / "manifest.yaml").read_text()
    assert old in text
    (tmp_path / "manifest.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message) as error:
        read_manifest(tmp_path)
    assert "\n" not in str(error.value)
