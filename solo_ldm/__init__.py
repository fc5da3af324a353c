"""Self-supervised learning as latent distribution matching.

`pretrain` trains a backbone on images, `load` gives it back. This file imports nothing, so that
`solo_ldm.latents`, `solo_ldm.entropy` and `solo_ldm.objective` need torch alone.
"""

__version__ = "0.2.0"

# The module of each function, imported when it is asked for.
_FACES = {
    "pretrain": "solo_ldm.commands.pretrain.call",
    "load": "solo_ldm.commands.pretrain.trained",
}


def __getattr__(name):
    if name not in _FACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_FACES[name]), name)


def __dir__():
    return [*globals(), *_FACES]
