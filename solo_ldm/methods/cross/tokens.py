"""Texts as whole numbers: words that captions have taught, or subwords of Hugging Face's."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

# The numbers of no token, and of the end of a text.
PAD, END = 0, 1
_BYTES = 2  # the first of 256
_FIRST_WORD = _BYTES + 256


class Tokens(ABC):
    """A way to write texts as numbers, which a checkpoint holds as JSON."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Return the numbers of a text."""

    @abstractmethod
    def as_json(self) -> str:
        """Return what `read_tokens` makes the same of."""

    def batch(self, texts: Sequence[str], context: int) -> Tensor:
        """Return texts as (N, L) int64, cut to at most `context` tokens, `PAD` behind shorter ones.

        A text that is cut keeps its last token, which says that it ends.
        """
        rows = [self.encode(text) for text in texts]
        rows = [row if len(row) <= context else [*row[: context - 1], row[-1]] for row in rows]
        width = max(map(len, rows), default=1)
        return torch.tensor([[*row, *[PAD] * (width - len(row))] for row in rows])


class Words(Tokens):
    """Words in small letters, each a number; one that is not known is spelt in its bytes (UTF-8).

    Args:
        words: that are known.
    """

    def __init__(self, words: Sequence[str] = ()) -> None:
        self.words = tuple(words)
        self._numbers = {word: number for number, word in enumerate(words, _FIRST_WORD)}

    @classmethod
    def of(cls, texts: Iterable[str], vocabulary: int) -> Words:
        """Learn the most frequent words of texts, of equals the first in the alphabet.

        Args:
            texts: captions.
            vocabulary: numbers that there are, 258 of them for bytes and signs.
        """
        counts = Counter(word for text in texts for word in _split(text))
        known = sorted(counts, key=lambda word: (-counts[word], word))
        return cls(known[: max(0, vocabulary - _FIRST_WORD)])

    def encode(self, text: str) -> list[int]:
        """Return the numbers of a text."""
        numbers = []
        for word in _split(text):
            known = self._numbers.get(word)
            spelt = (_BYTES + byte for byte in word.encode(errors="replace"))
            numbers += [known] if known is not None else spelt
        return [*numbers, END]

    def as_json(self) -> str:
        """Return the words as JSON."""
        return json.dumps({"words": self.words})


class Subwords(Tokens):
    """A tokenizer of Hugging Face's library tokenizers.

    Args:
        written: its JSON.
        shift: added to its numbers, so that none is `PAD`: 1 for those of a pretrained network,
            which put signs of their own around a text; 0 for those learned here, with `END`.
    """

    def __init__(self, written: str, shift: int = 0) -> None:
        self.written, self.shift = written, shift
        self._tokenizer = need("tokenizers", "method_kwargs.text").Tokenizer.from_str(written)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    @classmethod
    def of(cls, texts: Iterable[str], vocabulary: int) -> Subwords:
        """Learn byte-pair encoding of texts, without their capitals.

        Args:
            texts: captions.
            vocabulary: numbers that there are, 258 of them for bytes and signs.
        """
        library = need("tokenizers", "method_kwargs.text.tokens=bpe")
        tokenizer = library.Tokenizer(library.models.BPE())
        tokenizer.normalizer = library.normalizers.Lowercase()
        tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel()
        trainer = library.trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=["<pad>", "<end>"],
            initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer.to_str())

    def encode(self, text: str) -> list[int]:
        """Return the numbers of a text."""
        numbers = [number + self.shift for number in self._tokenizer.encode(text).ids]
        return numbers if self.shift else [*numbers, END]

    def as_json(self) -> str:
        """Return the tokenizer as JSON."""
        return json.dumps({"subwords": self.written, "shift": self.shift})


def read_tokens(written: str) -> Tokens:
    """Return what `Tokens.as_json` wrote."""
    content = json.loads(written)
    if "words" in content:
        return Words(content["words"])
    return Subwords(content["subwords"], content["shift"])


def need(package: str, key: str) -> Any:
    """Return an optional package of Hugging Face's; a one-line ValueError where there is none."""
    from importlib import import_module

    try:
        return import_module(package)
    except ImportError:
        raise ValueError(
            f"{key}: expected the package {package}, which is not installed; pip install "
            "'solo-ldm[text]', or set method_kwargs.text.name=small and tokens=words"
        ) from None


def _split(text: str) -> list[str]:
    """Return the words of a text, and each sign between them."""
    return re.findall(r"\w+|[^\w\s]", text.lower())
