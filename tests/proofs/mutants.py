"""Do the tests notice? Every mutant of the money modules is one small lie, and has to be found.

Mental model: a mutant is the module with one node of its syntax changed: a comparison turned, a
number moved by one, `and` for `or`, a condition negated, a statement or a returned value left out,
a keyword argument dropped. One pytest process collects the tests of the module and runs them once
as they are; then, for each mutant, a fork of it exchanges the code of the module's functions for
the mutant's and runs them again until one fails ("killed"). No file is changed. What survives is
printed with its line.

Run by `make prove`, or `python -m tests.proofs.mutants [MODULE ...]`.
"""

from __future__ import annotations

import ast
import copy
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import pytest
from _pytest.runner import runtestprotocol
from rich.console import Console

BASE_DIR = Path(__file__).resolve().parent.parent.parent
# module -> the tests that have to notice, the quickest to notice first
TARGETS = {
    "payments/bookkeeping.py": [
        "tests/payments/test_bookkeeping.py",
        "tests/payments/test_bookkeeping_examples.py",
        "tests/payments/test_create_payment.py",
        "tests/payments/test_provider_events.py",
        "tests/payments/test_refunds.py",
        "tests/payments/test_disputes.py",
    ],
    "payments/idempotency.py": [
        "tests/payments/test_idempotency.py",
        "tests/payments/test_create_payment.py",
        "tests/payments/test_resume_payment.py",
    ],
    "ledger/posting.py": [
        "tests/ledger/test_posting.py",
        "tests/ledger/test_posting_arguments.py",
        "tests/ledger/test_reversals.py",
        "tests/ledger/test_floors_and_holds.py",
    ],
}
REQUIRED_SHARE = 0.9
WORKERS = 2
_ENVIRONMENT = "FLORIN_MUTANTS"

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
}

Mutation = tuple[str, Callable[[ast.AST], None]]


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One lie: the module, its number there, the line and what is changed."""

    path: str
    number: int
    line: int
    words: str


def mutations_of(node: ast.AST) -> Iterator[Mutation]:
    """What can be changed about one node, as (words, change in place)."""
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            other = _COMPARISONS[type(operator)]
            yield f"{type(operator).__name__} → {other.__name__}", _set_operator(place, other)
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC and not _is_text(node):
        other_arithmetic = _ARITHMETIC[type(node.op)]
        words = f"{type(node.op).__name__} → {other_arithmetic.__name__}"
        yield words, lambda n: setattr(n, "op", other_arithmetic())
    elif isinstance(node, ast.BoolOp):
        swapped = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield f"→ {swapped.__name__}", lambda n: setattr(n, "op", swapped())
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        value = node.value
        changed = not value if isinstance(value, bool) else value + 1
        yield f"{value} → {changed}", lambda n: setattr(n, "value", changed)
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield "condition negated", _negate
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield "returns None", lambda n: setattr(n, "value", ast.Constant(None))
    elif isinstance(node, ast.Call) and node.keywords and not _is_declaration(node):
        for place, keyword in enumerate(node.keywords):
            if keyword.arg and keyword.arg != "strict":
                yield f"without {keyword.arg}=", _drop_keyword(place)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield "statement left out", lambda n: setattr(n, "value", ast.Constant(None))


def _set_operator(place: int, operator: type[ast.cmpop]) -> Callable[[ast.AST], None]:
    def change(node: ast.AST) -> None:
        assert isinstance(node, ast.Compare)
        node.ops[place] = operator()

    return change


def _drop_keyword(place: int) -> Callable[[ast.AST], None]:
    def change(node: ast.AST) -> None:
        assert isinstance(node, ast.Call)
        node.keywords.pop(place)

    return change


def _negate(node: ast.AST) -> None:
    assert isinstance(node, ast.If | ast.IfExp | ast.While)
    node.test = ast.UnaryOp(ast.Not(), node.test)


def _is_text(node: ast.BinOp) -> bool:
    sides = (node.left, node.right)
    return any(
        isinstance(side, ast.JoinedStr | ast.Constant) and not _is_number(side) for side in sides
    )


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_declaration(node: ast.Call) -> bool:
    """`@dataclass(...)` and `field(...)`: what they declare is no behaviour of the money path."""
    return isinstance(node.func, ast.Name) and node.func.id in ("dataclass", "field")


def _sites(tree: ast.Module) -> Iterator[tuple[ast.AST, int, Mutation]]:
    """(node, line, mutation) of everything that can be changed, always in the same order.

    Left out: assertions (`zip(strict=True)` is one), messages and declarations of dataclasses.
    """
    skipped: set[int] = set()
    for node in ast.walk(tree):
        declared = isinstance(node, ast.Call) and _is_declaration(node)
        asserted = isinstance(node, ast.keyword) and node.arg == "strict"
        if isinstance(node, ast.Assert | ast.JoinedStr) or declared or asserted:
            skipped.update(id(inner) for inner in ast.walk(node))
    line = 0
    for node in ast.walk(tree):
        line = getattr(node, "lineno", line)
        if id(node) not in skipped:
            for mutation in mutations_of(node):
                yield node, line, mutation


def mutants_of(path: str) -> list[Mutant]:
    """Every mutant of a module."""
    tree = ast.parse((BASE_DIR / path).read_text(encoding="utf-8"))
    return [
        Mutant(path=path, number=number, line=line, words=words)
        for number, (_, line, (words, _)) in enumerate(_sites(tree))
    ]


def mutated(path: str, number: int) -> CodeType:
    """The module's code with one change."""
    tree = copy.deepcopy(ast.parse((BASE_DIR / path).read_text(encoding="utf-8")))
    for place, (node, _, (_, change)) in enumerate(list(_sites(tree))):
        if place == number:
            change(node)
    return compile(ast.fix_missing_locations(tree), str(BASE_DIR / path), "exec")


def become(path: str, number: int) -> None:
    """Exchange the code of the module's functions, and its constants, for the mutant's.

    In place, because other modules have imported the functions by name.
    """
    name = path.removesuffix(".py").replace("/", ".")
    module = importlib.import_module(name)
    mutant = ModuleType(name)
    exec(mutated(path, number), mutant.__dict__)
    for key, old in list(vars(module).items()):
        new = vars(mutant).get(key)
        if isinstance(old, type) and old.__module__ == name:
            for attribute, inner in list(vars(old).items()):
                _exchange(inner, vars(new).get(attribute))
        elif isinstance(old, FunctionType):
            if old.__module__ == name:
                _exchange(old, new)
        elif isinstance(old, int | str | tuple | frozenset | timedelta) and old != new:
            for other in list(sys.modules.values()):
                if getattr(other, key, None) is old:
                    setattr(other, key, new)


def _exchange(old: object, new: object) -> None:
    if isinstance(old, property) and isinstance(new, property):
        old, new = old.fget, new.fget
    elif isinstance(old, classmethod | staticmethod) and isinstance(new, type(old)):
        old, new = old.__func__, new.__func__
    if isinstance(old, FunctionType) and isinstance(new, FunctionType):
        old.__code__ = new.__code__
        old.__defaults__ = new.__defaults__
        old.__kwdefaults__ = new.__kwdefaults__


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """As a pytest plugin: the tests as they are, then once more for each mutant of this process."""
    if _ENVIRONMENT not in os.environ:
        return None
    task = json.loads(os.environ[_ENVIRONMENT])
    began = time.monotonic()
    failed = _first_failure(session.items)
    if failed:
        raise pytest.UsageError(f"the tests fail without any mutant: {failed}")
    patience_seconds = 20 + 4 * (time.monotonic() - began)
    with Path(task["results"]).open("a") as results:
        for number in task["numbers"]:
            killed = _try(session.items, task["path"], number, patience_seconds)
            results.write(json.dumps([number, killed]) + "\n")
            results.flush()
    return True


def _first_failure(items: list[pytest.Item]) -> str:
    """Run the tests until one fails; gives what it said. Shared fixtures are kept for the next."""
    for item, following in zip(items, [*items[1:], items[0]], strict=True):
        for report in runtestprotocol(item, nextitem=following, log=False):
            if report.failed:
                return f"{item.nodeid}\n{report.longreprtext}"
    return ""


def _try(items: list[pytest.Item], path: str, number: int, patience_seconds: float) -> bool:
    """Whether the tests notice this mutant, or hang with it."""
    from django.db import connections

    from webhooks import lanes

    lanes.close_side_connection()
    connections.close_all()
    child = os.fork()
    if child == 0:
        killed = True
        try:
            become(path, number)
            killed = bool(_first_failure(items))
        finally:
            os._exit(1 if killed else 0)
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status) != 0
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def _killed(path: str, numbers: list[int], folder: Path) -> dict[int, bool]:
    """Try some mutants in one pytest process. Raises RuntimeError when it does not get on."""
    results = folder / f"{numbers[0]}.jsonl"
    tests = [test for test in TARGETS[path] if (BASE_DIR / test).exists()]
    task = json.dumps({"path": path, "numbers": numbers, "results": str(results)})
    completed = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.proofs.mutants", "-q", "--no-header"),
            *("--timeout", "0", "-W", "ignore::DeprecationWarning", *tests),
        ],
        cwd=BASE_DIR,
        env=os.environ | {_ENVIRONMENT: task},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = results.read_text().splitlines() if results.exists() else []
    found: dict[int, bool] = dict(json.loads(line) for line in lines)
    if len(found) != len(numbers):
        raise RuntimeError(f"{completed.stdout[-3000:]}\n{completed.stderr[-3000:]}")
    return found


def prove(path: str, console: Console) -> float:
    """Try every mutant of a module, print counts and survivors, give the share that died."""
    began = time.monotonic()
    mutants = mutants_of(path)
    slices = [list(range(first, len(mutants), WORKERS)) for first in range(WORKERS)]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(WORKERS) as workers:
        parts = workers.map(lambda numbers: _killed(path, numbers, Path(folder)), slices)
        found = {number: died for part in parts for number, died in part.items()}
    killed = [found[mutant.number] for mutant in mutants]
    share = sum(killed) / len(mutants)
    console.print(
        f"{path}: {sum(killed)} of {len(mutants)} mutants died ({share:.1%}) "
        f"in {time.monotonic() - began:.0f} s"
    )
    for mutant, died in zip(mutants, killed, strict=True):
        if not died:
            console.print(f"  survived: {mutant.path}:{mutant.line} {mutant.words}", style="red")
    return share


def main() -> int:
    """Prove the modules that are named, or all; 0 when enough of each one's mutants died."""
    console = Console(width=110)
    shares = [prove(path, console) for path in sys.argv[1:] or TARGETS]
    return 0 if min(shares) >= REQUIRED_SHARE else 1


if __name__ == "__main__":
    sys.exit(main())
