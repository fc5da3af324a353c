"""What is wrong with a user's own configurations is one line, with the file and its line."""

from __future__ import annotations

import pytest

from tests.support.refusals import assert_refused

BASE = b"defaults:\n  - gaussprob\n  - _self_\n"

WRONG = {
    "syntax": (b"a: b: c\n", "line 1: mapping values are not allowed here"),
    "unclosed": (b"a: [1, 2\n", "line 2: expected ',' or ']'"),
    "tab": (BASE + b"optimizer:\n\tlr: 0.1\n", "line 5: expected spaces before a key, got a tab"),
    "twice": (BASE + b"seed: 1\nseed: 2\n", "line 5: found duplicate key seed"),
    "tag": (
        BASE + b"name: !!python/name:os.system\n",
        "line 4: expected plain values, got the tag",
    ),
    "nul": (BASE + b"name: a\0b\n", "line 4: special characters are not allowed"),
    "latin": (BASE + b"name: caf\xe9\n", "line 4: expected UTF-8"),
    "itself": (b"defaults:\n  - itself\n", "the defaults lead in a circle, itself → itself"),
    "one": (b"defaults:\n  - two\n", "the defaults lead in a circle, one → two → one"),
    "two": (b"defaults:\n  - one\n", "the defaults lead in a circle, two → one → two"),
    "base": (
        b"defaults:\n  - hosst\n",
        "line 2: there is no configuration hosst: did you mean host?",
    ),
    "group": (
        b"defaults:\n  - gaussprob\n  - override data: digitss\n",
        "line 3: there is no configuration data=digitss: did you mean digits?",
    ),
    "chosen": (
        b"defaults:\n  - gaussprob\n  - data: digits\n  - augmentations: cifar\n",
        "line 4: augmentations is chosen twice",
    ),
    "unknown": (BASE + b"name: ${nme}\n", "line 4: name=${nme}: "),
    "near": (BASE + b"name: ${sed}\n", "did you mean seed?"),
    "resolver": (BASE + b"name: ${foo:1}\n", "line 4: name=${foo:1}: Unsupported interpolation"),
    "recursive": (BASE + b"name: ${name}\n", "line 4: name=${name}: Recursive interpolation"),
    "open": (BASE + b"name: ${nme\n", "line 4: name: no viable alternative"),
    "list": (b"- a\n", "list.yaml: expected keys and values, got a list"),
    "text": (b"defaults: gaussprob\n", "text.yaml: Invalid defaults list"),
    "number": (b"defaults:\n  - 3\n", "number.yaml: Unsupported type in defaults"),
    "absent": (None, "there is no configuration absent in mine, nor a packaged one"),
    "gausprob": (None, "did you mean gaussprob?"),
}


def test_each_fault_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    cases = []
    for name, (content, words) in WRONG.items():
        if content is not None:
            (tmp_path / "mine" / f"{name}.yaml").write_bytes(content)
        # The line names the file, of the user's own.
        located = [f"mine/{name}.yaml, line "] if "line " in words else []
        cases.append((["--config-path", "mine", "--config-name", name], words, *located))
    assert_refused("pretrain", cases, capsys)
    assert {one.name for one in tmp_path.iterdir()} == {"mine"}


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("data=digitss", "there is no configuration data=digitss: did you mean digits?; data: cap"),
        ("augmentations=cifra", "did you mean cifar?"),
        ("+data=digits", "chosen twice"),
        ("+resume_from_checkpoint.x=1", "resume_from_checkpoint"),
    ],
)
def test_a_choice_on_the_command_line_is_one_line_with_the_nearest(capsys, argument, words):
    assert_refused("pretrain", [(["--config-name", "gaussprob", argument], words)], capsys)
