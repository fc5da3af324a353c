"""Methods by name. Nothing is imported, Lightning least of all, before a method is asked for."""

from __future__ import annotations

import inspect
import os
import sys
from importlib import import_module
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from solo_ldm.config.suggestions import suggestion

if TYPE_CHECKING:
    from solo_ldm.methods.base import BaseMethod

# Methods of this package, named as a method of a user's own is: module and class.
METHODS = {
    "gaussprob": "solo_ldm.methods.ldm.body.GaussProb",
    "sphereprob": "solo_ldm.methods.ldm.body.SphereProb",
    "ldm": "solo_ldm.methods.ldm.body.LDM",
    "cross": "solo_ldm.methods.cross.method.Cross",
    "masked": "solo_ldm.methods.masked.method.Masked",
    "supervised": "solo_ldm.methods.supervised.Supervised",
}

# Methods of other packages, as FAMILY/NAME: the module whose `find` knows them.
FAMILIES = {"lightly": "solo_ldm.methods.lightly", "solo": "solo_ldm.integrations.solo_learn"}


def find_method(name: str) -> Any:
    """Return the class of a method.

    Args:
        name: one of `METHODS`; lightly/NAME or solo/NAME; or my_package.my_module.MyMethod, a
            subclass of `solo_ldm.methods.base.BaseMethod` in a module that is installed or that
            lies below the current directory.

    Raises:
        ValueError: in one line: there is no such method, its package is not installed, or the
            class does not fulfil the contract.
    """
    family, slash, member = name.partition("/")
    if slash and family in FAMILIES:
        return import_module(FAMILIES[family]).find(member)
    if "." in name:
        return _own_method(name)
    if name not in METHODS:
        known = [*METHODS, *(f"{family}/NAME" for family in FAMILIES)]
        hint = suggestion(name, list(METHODS))
        if (files("solo_ldm.configs") / f"{name}.yaml").is_file():  # as in solo-learn's own YAMLs
            hint = (
                f"; set method=solo/{name} (solo-learn's, with SOLO_LEARN=CHECKOUT) or start from "
                f"--config-name {name} (ours)"
            )
        raise ValueError(
            f"method: expected {', '.join(known)} or my_module.MyMethod, got {name!r}{hint}"
        )
    return _imported(METHODS[name])


def _own_method(name: str) -> type[BaseMethod]:
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a console script looks beside itself alone
    try:
        kind = _imported(name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"method: expected my_module.MyMethod, got {name}: there is no module {error.name}; "
            "run where it lies, or install its package"
        ) from error
    except AttributeError as error:
        raise ValueError(f"method: expected my_module.MyMethod, got {name}: {error}") from error
    except Exception as error:
        raise ValueError(
            f"method: importing {name} failed: {type(error).__name__}: {error}"
        ) from error
    from solo_ldm.methods.base import BaseMethod

    if not inspect.isclass(kind) or not issubclass(kind, BaseMethod):
        raise ValueError(
            f"method: expected a subclass of solo_ldm.methods.base.BaseMethod, got {name}; see the "
            "docstring of BaseMethod"
        )
    lacking = sorted(kind.__abstractmethods__)
    if lacking:
        raise ValueError(f"method: {name} lacks {' and '.join(lacking)}; see solo_ldm.methods.base")
    return kind


def _imported(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)
