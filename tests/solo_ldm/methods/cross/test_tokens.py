"""Texts as numbers: words, bytes, what a checkpoint holds of them, and which caption is drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from solo_ldm.methods.cross.captions import Captions
from solo_ldm.methods.cross.settings import TextSettings, resolve
from solo_ldm.methods.cross.text import TextEncoder
from solo_ldm.methods.cross.tokens import END, PAD, Subwords, Words, need, read_tokens

TEXTS = ("A cat, a dog", "a Café", "a dog")


def test_frequent_words_have_numbers_and_others_their_bytes():
    tokens = Words.of(TEXTS, 260)  # room for two
    assert tokens.words == ("a", "dog")
    assert tokens.encode("A dog") == [258, 259, END]
    assert tokens.encode("a é") == [258, 2 + 0xC3, 2 + 0xA9, END]
    assert Words.of(TEXTS, 8192).words == ("a", "dog", ",", "café", "cat")


def test_a_long_text_is_cut_and_keeps_its_end():
    tokens = Words.of(TEXTS, 8192)
    batch = tokens.batch(["a dog a dog a dog", "a"], context=4)
    assert batch.tolist() == [[258, 259, 258, END], [258, END, PAD, PAD]]


def test_the_state_encodes_new_texts_as_before():
    torch.manual_seed(0)
    settings = TextSettings(width=8, depth=1, heads=2, vocabulary=300)
    encoder, other = TextEncoder(settings).eval(), TextEncoder(settings).eval()
    encoder.learn(TEXTS)
    other.load_state_dict(encoder.state_dict())
    texts = ["a dog and a cat", "ein Hund"]
    assert torch.equal(encoder.tokenise(texts), other.tokenise(texts))
    assert torch.equal(encoder(encoder.tokenise(texts)), other(other.tokenise(texts)))


def test_padding_changes_no_features():
    torch.manual_seed(0)
    encoder = TextEncoder(TextSettings(width=8, depth=2, heads=2, vocabulary=300)).eval().double()
    encoder.learn(TEXTS)
    alone = encoder(encoder.tokenise(["a dog"]))
    beside = encoder(encoder.tokenise(["a dog", "a cat, a dog and a café"]))[:1]
    torch.testing.assert_close(alone, beside, atol=1e-12, rtol=0.0)


def test_captions_are_a_function_of_seed_epoch_and_image():
    captions = [(f"a{i}", f"b{i}", f"c{i}") if i % 2 else (f"d{i}",) for i in range(60)]
    texts: list[str] = []

    def numbered(found):
        texts[:] = found
        return torch.arange(len(found))[:, None]

    drawn = Captions(captions, numbered)
    every = np.arange(60)
    first = drawn.draw(3, 5, every)
    assert torch.equal(first[[7, 3]], drawn.draw(3, 5, [7, 3]))
    assert not torch.equal(first, drawn.draw(3, 6, every))
    assert not torch.equal(first, drawn.draw(4, 5, every))
    for index, number in enumerate(first[:, 0].tolist()):
        assert texts[number] in captions[index]
    seen = {texts[n] for epoch in range(30) for n in drawn.draw(3, epoch, [9])[:, 0].tolist()}
    assert seen == set(captions[9])


def test_byte_pairs_are_learned_and_come_back_from_the_state():
    pytest.importorskip("tokenizers")
    tokens = Subwords.of(TEXTS * 3, 400)
    again = read_tokens(tokens.as_json())
    for text in ("a dog", "ein Hund, 犬"):
        assert again.encode(text) == tokens.encode(text)
        assert tokens.encode(text)[-1] == END
        assert PAD not in tokens.encode(text)


def test_a_package_that_is_not_installed_is_one_line(monkeypatch):
    with pytest.raises(ValueError, match="pip install 'solo-ldm") as caught:
        need("no_such_package_of_text", "method_kwargs.text.name=hf:bert")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"text": {"name": "bert"}}, "expected small or hf:NAME"),
        ({"text": {"name": "hf:"}}, "expected small or hf:NAME"),
        ({"text": {"widht": 3}}, "did you mean width"),
        ({"text": {"vocabulary": 100}}, "a whole number from 259"),
        ({"text": {"tokens": "letters"}}, "expected words or bpe"),
        ({"text": 3}, "expected a mapping"),
        ({"prompts": ["a photo"]}, "in place of the name of a class, got 'a photo'"),
        ({"prompts": []}, "got none; such as"),
        ({"promts": ["{}"]}, "did you mean prompts"),
        ({"temperature": 0.07}, "did you mean prediction_precision"),
        ({"over": "cross", "entropy": "neighbour"}, "expected one of kernel, logistic"),
        ({"learn_precision": True, "entropy": "neighbour"}, "expected the entropy of a kernel"),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_are_one_line(given, message):
    cell = {"latent": "sphere", "proj_hidden_dim": 8, "proj_output_dim": 4}
    with pytest.raises(ValueError, match=message) as caught:
        resolve({**cell, **given}).cell.build_objective()
    assert "\n" not in str(caught.value)


def test_heads_that_do_not_divide_the_width_are_one_line():
    with pytest.raises(ValueError, match="a number that divides width=8, got 3"):
        TextEncoder(TextSettings(width=8, heads=3))
