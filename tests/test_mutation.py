"""The faults that mutation testing plants, and the children that run them."""

from __future__ import annotations

import ast
import marshal
import time

from tests.support.mutation.mutants import mutants
from tests.support.mutation.trial import in_child

SOURCE = '''
"""What is documented stays."""

FLOOR = 1e-5


class Model:
    def __init__(self, scale: Annotated[float, Bounds(2)] = 0.5) -> None:
        """Of a scale of 3."""
        self.scale = scale

    def value(self, x, y):
        if x.ndim != 2 or len(y) < 1:
            raise ValueError(f"expected 4 of {x - y}")
        return (x - y).clamp_min(0.0).mean(dim=1) / self.scale + FLOOR

    def extra_repr(self):
        return f"{self.scale + 7}"
'''
FAULTS = [
    "module: 1e-05 → 2e-05",
    "Model.__init__: 0.5 → 1.0",
    "Model.__init__: removed self.scale = scale",
    "Model.value: → and in x.ndim != 2 or len(y) < 1",
    "Model.value: != → == in x.ndim != 2",
    "Model.value: 2 → 3",
    "Model.value: < → <= in len(y) < 1",
    "Model.value: < → >= in len(y) < 1",
    "Model.value: 1 → 2",
    "Model.value: removed raise ValueError(f'expected 4 of {x - y}')",
    "Model.value: no value in return (x - y).clamp_min(0.0).mean(dim=1) / self.scale + FLOOR",
    "Model.value: + → - in (x - y).clamp_min(0.0).mean(dim=1) / self.scale + FLOOR",
    "Model.value: / → * in (x - y).clamp_min(0.0).mean(dim=1) / self.scale",
    "Model.value: mean → sum in (x - y).clamp_min(0.0).mean(dim=1)",
    "Model.value: no clamp_min in (x - y).clamp_min(0.0)",
    "Model.value: - → + in x - y",
    "Model.value: swapped x - y",
    "Model.value: 0.0 → 1.0",
    "Model.value: 1 → 2 (2)",
]


def test_faults_are_in_what_runs_and_not_in_texts_and_annotations():
    found = mutants(SOURCE)
    assert [one.key for one in found] == FAULTS
    at_import = [one.key for one in found if one.imported]
    assert at_import == FAULTS[:2]


def test_each_fault_changes_the_code_and_leaves_the_others_as_they_are():
    plain = marshal.dumps(compile(ast.parse(SOURCE), "toy.py", "exec"))
    codes = [marshal.dumps(one.compile("toy.py")) for one in mutants(SOURCE)]
    assert len({plain, *codes}) == 1 + len(FAULTS)


def test_a_child_returns_a_value_or_how_it_ended():
    assert in_child(lambda: ["a", 1], 10.0) == ["a", 1]
    assert in_child(lambda: 1 / 0, 10.0) == "died"
    assert in_child(lambda: time.sleep(60), 0.2) == "timeout"
