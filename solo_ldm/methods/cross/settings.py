"""The method_kwargs of image and text: checked and completed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, Literal

from solo_ldm.config.arguments import (
    Bounds,
    Depth,
    Width,
    check_arguments,
    check_keys,
    check_templates,
    check_value,
)
from solo_ldm.methods.ldm import method_kwargs as grid
from solo_ldm.methods.ldm.settings import LDMSettings

# In front of the name of a text model of transformers.
HUGGING_FACE = "hf:"

PROMPTS = ("a photo of a {}.", "a picture of a {}.", "{}")


@dataclass(frozen=True)
class TextSettings:
    """The encoder of text.

    Args:
        name: small, a transformer that is trained from scratch, or hf:NAME, a text model of the
            package transformers, on the hub or in a folder, whose own settings then count.
        tokens: words, those of the captions, others spelt in bytes; or bpe, byte-pair encoding by
            the package tokenizers.
        vocabulary: tokens that there are.
        width: of the transformer.
        depth: its blocks.
        heads: of its attention.
        context: tokens of a text; what is longer is cut.
    """

    name: str = "small"
    tokens: Literal["words", "bpe"] = "words"
    vocabulary: Annotated[int, Bounds(259, limit=2**20)] = 8192
    width: Width = 128
    depth: Depth = 2
    heads: Width = 4
    context: Annotated[int, Bounds(2, limit=2**16)] = 32


@dataclass(frozen=True)
class CrossSettings:
    """The cell of the grid, the encoder of text, and how classes are asked for.

    Args:
        cell: latent model, estimator, heads and target; each modality has heads of its own.
        text: the encoder of text.
        prompts: templates of the texts of a class, with {} in place of its name.
        class_names: what classes are called in prompts; by default as they are in the data.
    """

    cell: LDMSettings
    text: TextSettings = field(default_factory=TextSettings)
    prompts: Sequence[str] = PROMPTS
    class_names: Sequence[str] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as method_kwargs have them."""
        names = None if self.class_names is None else list(self.class_names)
        own = {"text": asdict(self.text), "prompts": list(self.prompts), "class_names": names}
        return {**asdict(self.cell), **own}


_OWN = [one.name for one in fields(CrossSettings) if one.name != "cell"]


def resolve(method_kwargs: Mapping[str, Any]) -> CrossSettings:
    """Check method_kwargs and complete them; a key set to null takes its default.

    All keys of a cell are those of `solo_ldm.methods.ldm.method_kwargs.resolve`.

    Raises:
        ValueError: in one line: an unknown key, a value out of range, or a choice or combination
            that does not exist.
    """
    given = {key: value for key, value in method_kwargs.items() if value is not None}
    check_keys("method_kwargs", given, [*grid.known_keys(), *_OWN])
    own = {key: given.pop(key) for key in _OWN if key in given}
    text = own.pop("text", {})
    check_arguments("method_kwargs", own, CrossSettings, ("cell", "text"))
    check_value("method_kwargs.text", text, Mapping[str, Any])
    text = {key: value for key, value in text.items() if value is not None}
    check_arguments("method_kwargs.text", text, TextSettings)
    made = TextSettings(**text)
    family, name = made.name[: len(HUGGING_FACE)], made.name[len(HUGGING_FACE) :]
    if made.name != "small" and not (family == HUGGING_FACE and name):
        raise ValueError(
            f"method_kwargs.text.name: expected small or hf:NAME, a text model of transformers, "
            f"got {made.name!r}"
        )
    for key in own:
        own[key] = tuple(own[key])
    if own.get("class_names") == ():
        raise ValueError("method_kwargs.class_names: expected a name a class, got none; or null")
    check_templates("method_kwargs.prompts", own.get("prompts", PROMPTS))
    cell = grid.resolve(given)
    if cell.equivariance_weight:
        raise ValueError(
            "method_kwargs.equivariance_weight: expected 0 for method=cross, got "
            f"{cell.equivariance_weight}; leave it out"
        )
    return CrossSettings(cell, made, **own)
