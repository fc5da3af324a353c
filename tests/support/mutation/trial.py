"""A fault in a forked child: the tests that execute it, until one fails."""

from __future__ import annotations

import contextlib
import gc
import importlib.machinery
import json
import os
import select
import shutil
import signal
import time
import types
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from tests.support.mutation.mutants import Mutant
from tests.support.mutation.work import Work

OPTIONS = [
    *("-n", "0", "-q", "-s", "-p", "no:cacheprovider", "-p", "no:faulthandler"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
]
_Functions = dict[tuple[str, int], list[types.FunctionType]]


def in_child(function: Callable[[], Any], seconds: float) -> Any:
    """Return what a function returns in a forked child, "timeout" or "died"."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        for descriptor in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        try:
            os.write(writing, json.dumps(function()).encode() + b"\n")
        finally:
            os._exit(0)
    os.close(writing)
    received, end = b"", time.monotonic() + seconds
    while not received.endswith(b"\n"):
        if not select.select([reading], [], [], max(0.0, end - time.monotonic()))[0]:
            received = b'"timeout"\n'
        elif more := os.read(reading, 2**16):
            received += more
        else:
            received = b'"died"\n'
    os.close(reading)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # and what its tests have started
    os.waitpid(child, 0)
    return json.loads(received)


class Warm:
    """A pytest plugin that tries faults in place of running the tests it has collected.

    The functions exist: a child puts the changed code into them.
    """

    def __init__(self, work: Work) -> None:
        self._work = work

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Learn which tests execute what, and try the faults within functions."""
        from tests.support import processes

        work, items = self._work, {item.nodeid: item for item in session.items}
        processes._CONTEXT = get_context("fork")  # children inherit the fault
        temporary: Path = session.config._tmp_path_factory.getbasetemp()  # pyright: ignore
        paths = {str(Path.cwd() / name): name for name in work.modules}
        known = _learn(work, items, paths)
        gc.collect()
        functions = _functions(paths)
        gc.freeze()
        for name, one in work.todo:
            if one.imported:
                continue
            nodes, seconds = work.tests_of(name, one, known)
            attempt = partial(_try, name, one, [items[node] for node in nodes], functions)
            start = time.monotonic()
            ended = in_child(attempt, 20.0 + 4.0 * seconds) if nodes else "untested"
            work.note(name, one, ended, time.monotonic() - start)
            for path in temporary.iterdir():
                shutil.rmtree(path, ignore_errors=True)
        return True


def _learn(work: Work, items: dict[str, Any], paths: dict[str, str]) -> dict[str, Any]:
    """Return what the tests execute, kept in a file for those that have not changed."""
    from tests.support.mutation.executed import digest, execute

    texts = {name: Path(name).read_text() for name in paths.values()}

    def version(node: str, lines: Any) -> str:
        return digest(items[node].path.read_text(), *(texts[name] for name in sorted(lines)))

    path = work.folder / "tests.json"
    known = {
        node: one
        for node, one in (json.loads(path.read_text()) if path.exists() else {}).items()
        if node in items
        and texts.keys() >= one["lines"].keys()
        and one["version"] == version(node, one["lines"])
    }
    fresh = [item for node, item in items.items() if node not in known]
    if fresh:
        spool = work.folder / "spool"
        spool.mkdir(exist_ok=True)

        def learn() -> str:
            (spool / "found").write_text(json.dumps(execute(fresh, paths, spool)))
            return "done"

        print(f"{len(fresh)} tests: what they execute", flush=True)
        if in_child(learn, 3600.0) == "done":
            for node, one in json.loads((spool / "found").read_text()).items():
                known[node] = {**one, "version": version(node, one["lines"])}
            path.write_text(json.dumps(known))
    return known


def _functions(paths: dict[str, str]) -> dict[str, _Functions]:
    """Return the functions of the modules, by their names and first lines."""
    found: dict[str, _Functions] = {name: {} for name in paths.values()}
    for one in gc.get_objects():
        if isinstance(one, types.FunctionType) and one.__code__.co_filename in paths:
            of_module = found[paths[one.__code__.co_filename]]
            of_module.setdefault(_place(one.__code__), []).append(one)
    return found


def _place(code: types.CodeType) -> tuple[str, int]:
    return code.co_qualname, code.co_firstlineno  # pyright: ignore[reportAttributeAccessIssue]


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield inner
            yield from _codes(inner)


def _try(name: str, one: Mutant, items: list[Any], functions: dict[str, _Functions]) -> str:
    """Put the changed code into the functions; return the first test that fails, or nothing."""
    for code in _codes(one.compile(str(Path.cwd() / name))):
        for function in functions[name].get(_place(code), ()):
            function.__code__ = code
    for item, following in zip(items, [*items[1:], None], strict=True):
        if any(each.failed for each in runtestprotocol(item, log=False, nextitem=following)):
            return item.nodeid
    return ""


def try_at_import(work: Work) -> None:
    """Try the faults of constants and defaults: a child imports the packages with the fault."""
    known = json.loads((work.folder / "tests.json").read_text())
    for name, one in work.todo:
        if one.imported:
            nodes, seconds = work.tests_of(name, one, known)
            start = time.monotonic()
            attempt = partial(_import_and_try, name, one, nodes)
            ended = in_child(attempt, 60.0 + 4.0 * seconds) if nodes else "untested"
            work.note(name, one, ended, time.monotonic() - start)


def _import_and_try(name: str, one: Mutant, nodes: list[str]) -> str:
    path = str(Path.cwd() / name)
    code, plain = one.compile(path), importlib.machinery.SourceFileLoader.get_code
    failed: list[str] = []

    def get_code(self: Any, fullname: str) -> Any:
        return code if self.path == path else plain(self, fullname)

    class First:
        def pytest_collection_finish(self) -> None:
            from tests.support import processes

            processes._CONTEXT = get_context("fork")

        def pytest_runtest_logreport(self, report: Any) -> None:
            if report.failed:
                failed.append(report.nodeid)

    importlib.machinery.SourceFileLoader.get_code = get_code
    ended = pytest.main([*OPTIONS, "-x", *nodes], plugins=[First()])
    return failed[0] if failed else ("import" if ended else "")
