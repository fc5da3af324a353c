"""The encoder of text: a small transformer that is trained here, or one of Hugging Face's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from solo_ldm.methods.cross.settings import HUGGING_FACE, TextSettings
from solo_ldm.methods.cross.tokens import PAD, Subwords, Tokens, Words, need, read_tokens


class TextEncoder(nn.Module):
    """Texts to features (N, F): tokens, a transformer, and the mean over the tokens of a text.

    Its state holds the tokens as well as the weights, so that a checkpoint encodes new texts.

    Args:
        settings: which network, and how large.

    Raises:
        ValueError: in one line: heads that do not divide the width, a package that is not
            installed, or a model that cannot be loaded.
    """

    def __init__(self, settings: TextSettings) -> None:
        super().__init__()
        self.settings = settings
        self.tokens: Tokens = Words()
        self.network: nn.Module
        if settings.name.startswith(HUGGING_FACE):
            network, self.tokens = _pretrained(settings.name.removeprefix(HUGGING_FACE))
            self.network, self.num_features = network, int(network.model.config.hidden_size)
        else:
            self.network, self.num_features = SmallTransformer(settings), settings.width

    def learn(self, texts: Iterable[str]) -> None:
        """Learn the tokens of captions; a pretrained network keeps its own."""
        if not self.settings.name.startswith(HUGGING_FACE):
            kind = Words if self.settings.tokens == "words" else Subwords
            self.tokens = kind.of(texts, self.settings.vocabulary)

    def tokenise(self, texts: Sequence[str]) -> Tensor:
        """Return texts as (N, L) int64; `PAD` where a text has ended."""
        return self.tokens.batch(texts, self.settings.context)

    def cut(self, texts: Sequence[str]) -> str | None:
        """Return a line if texts are longer than the context, to which they are cut."""
        most = self.settings.context
        long = sum(len(self.tokens.encode(text)) > most for text in texts)
        if not long:
            return None
        return (
            f"method_kwargs.text.context: {long} of {len(texts)} captions are cut to {most} tokens"
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Return features (N, F) of tokens (N, L)."""
        present = tokens != PAD
        states = self.network(tokens, present)
        kept = present[:, :, None].to(states.dtype)
        return (states * kept).sum(dim=1) / kept.sum(dim=1).clamp_min(1.0)

    def get_extra_state(self) -> Tensor:
        """Return the tokens as a tensor of bytes, as checkpoints hold tensors alone."""
        return torch.tensor([*self.tokens.as_json().encode()], dtype=torch.uint8)

    def set_extra_state(self, state: Any) -> None:
        """Take the tokens of a checkpoint."""
        self.tokens = read_tokens(bytes(state.tolist()).decode())


class SmallTransformer(nn.Module):
    """A transformer over tokens and their places, normalised before each part and at the end.

    Args:
        settings: its width, depth, heads, context and vocabulary.

    Raises:
        ValueError: in one line: heads that do not divide the width.
    """

    def __init__(self, settings: TextSettings) -> None:
        super().__init__()
        width = settings.width
        if width % settings.heads:
            raise ValueError(
                f"method_kwargs.text.heads: expected a number that divides width={width}, got "
                f"{settings.heads}"
            )
        self.words = nn.Embedding(settings.vocabulary, width)
        self.places = nn.Parameter(torch.empty(settings.context, width))
        nn.init.normal_(self.words.weight, std=0.02)
        nn.init.normal_(self.places, std=0.01)
        shape: Any = (width, settings.heads, 4 * width, 0.0, "gelu")
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(*shape, batch_first=True, norm_first=True)
            for _ in range(settings.depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Return a vector of each token, (N, L, width); `present` (N, L) says which there are."""
        states = self.words(tokens) + self.places[: tokens.shape[1]]
        for block in self.blocks:
            states = block(states, src_key_padding_mask=~present)
        return self.norm(states)


class _OfHuggingFace(nn.Module):
    """A network of transformers, with the number of no token that it knows.

    Args:
        model: the network.
        pad: its own number of no token.
    """

    model: Any

    def __init__(self, model: Any, pad: int) -> None:
        super().__init__()
        self.model, self.pad = model, pad

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        own = torch.where(present, tokens - 1, self.pad)
        return self.model(input_ids=own, attention_mask=present.long()).last_hidden_state


def _pretrained(name: str) -> tuple[_OfHuggingFace, Tokens]:
    """Load a text model and its tokens from a folder or from the hub."""
    key = f"method_kwargs.text.name={HUGGING_FACE}{name}"
    library = need("transformers", key)
    try:
        tokenizer = library.AutoTokenizer.from_pretrained(name)
        model = library.AutoModel.from_pretrained(name)
    except Exception as error:  # of the network, of files, or for lack of a library
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{key}: expected a text model, got none: {reason}") from error
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(f"{key}: expected a fast tokenizer, got {type(tokenizer).__name__}")
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # has no gradients, which processes would wait for
    written = tokenizer.backend_tokenizer.to_str()
    return _OfHuggingFace(model, tokenizer.pad_token_id or 0), Subwords(written, shift=1)
