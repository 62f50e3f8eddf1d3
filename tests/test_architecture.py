"""The rules of the house, as far as a machine can see them.

Each test reads the source or the model registry and lists every place that breaks a rule, so that
one run shows all there is to do.
"""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.db import models

BASE_DIR = Path(__file__).resolve().parent.parent
APPS = ("config", "payments", "webhooks", "ledger", "audit")
LONGEST_FUNCTION_LINES = 70
# A name that says nothing about what a module is for collects whatever has no place.
FORBIDDEN_NAMES = {"utils", "common", "helpers", "managers", "services", "constants", "misc"}
# Written in two halves so that this file does not find itself.
UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|HA" r"CK)\b|NotImplemented" r"Error")
# Tables whose every change is kept by django-simple-history, which .update() goes past.
FLOAT_COLUMNS = (models.FloatField, models.DecimalField)
MONEY = re.compile(r"amount|minor|fee|debit|credit|balance|price|total")


def modules(*, tests: bool = False) -> Iterator[Path]:
    """Every Python file of the product, with `tests` those of the tests too."""
    for name in (*APPS, *(["tests"] if tests else [])):
        yield from sorted((BASE_DIR / name).rglob("*.py"))


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def nodes(path: Path) -> list[ast.AST]:
    """Everything in a file, at any depth."""
    return list(ast.walk(parsed(path)))


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(BASE_DIR)}:{line}"


def own_models() -> Iterator[type[models.Model]]:
    for name in APPS[1:]:
        yield from apps.get_app_config(name).get_models()


def test_imports_keep_their_contracts() -> None:
    completed = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout


def test_no_function_is_longer_than_a_screen() -> None:
    too_long = [
        f"{where(path, node.lineno)} {node.name}: {length} lines"
        for path in modules(tests=True)
        for node in nodes(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > LONGEST_FUNCTION_LINES
    ]
    assert too_long == []


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(BASE_DIR))
        for path in modules()
        if path.name != "__init__.py"
        and "migrations" not in path.parts
        and ast.get_docstring(parsed(path)) is None
    ]
    assert silent == []


def test_no_module_has_a_name_that_means_nothing() -> None:
    assert [str(path) for path in modules(tests=True) if path.stem in FORBIDDEN_NAMES] == []


def test_nothing_is_left_for_later() -> None:
    marks = [
        f"{where(path, number)} {line.strip()}"
        for path in modules(tests=True)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if UNFINISHED.search(line)
    ]
    assert marks == []


def test_no_foreign_key_leaves_its_app() -> None:
    """Only payments may point at another app's rows, and only at Django's users."""
    allowed = {"auth", "contenttypes"}
    leaving = [
        f"{model._meta.label}.{field.name} → {field.related_model._meta.label}"
        for model in own_models()
        for field in model._meta.get_fields()
        if isinstance(field, models.ForeignKey)
        and isinstance(field.related_model, type)
        and field.related_model._meta.app_label not in {model._meta.app_label, *allowed}
    ]
    assert leaving == []


def test_no_money_is_a_float_or_a_decimal() -> None:
    wrong = [
        f"{model._meta.label}.{field.name}"
        for model in own_models()
        for field in model._meta.get_fields()
        if isinstance(field, FLOAT_COLUMNS) and MONEY.search(field.name)
    ]
    assert wrong == []


def test_no_money_column_is_smaller_than_a_bigint() -> None:
    wrong = [
        f"{model._meta.label}.{field.name} is {type(field).__name__}"
        for model in own_models()
        for field in model._meta.get_fields()
        if field.name.endswith("_minor")
        and "basis" not in field.name
        and not isinstance(field, models.BigIntegerField)
    ]
    assert wrong == []


def history_tracked() -> set[str]:
    """Names of the models whose changes django-simple-history keeps."""
    return {model.__name__ for model in own_models() if hasattr(model, "history")}


@pytest.mark.parametrize("method", ["update", "bulk_update", "bulk_create"])
def test_no_change_goes_past_the_history(method: str) -> None:
    tracked = history_tracked()
    assert tracked, "no model is tracked: this test would prove nothing"
    past = [
        f"{where(path, node.lineno)} {ast.unparse(node)[:80]}"
        for path in modules()
        if "migrations" not in path.parts
        for node in nodes(path)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == method
        and any(f"{name}.objects" in ast.unparse(node.func) for name in tracked)
    ]
    assert past == []


def test_domain_logic_is_not_in_signals_or_save() -> None:
    """Audit listens to sign-ins and history; nobody else listens to anything."""
    listening = [
        where(path, node.lineno)
        for path in modules()
        if "audit" not in path.parts
        for node in nodes(path)
        if isinstance(node, ast.FunctionDef)
        and any("receiver(" in ast.unparse(decorator) for decorator in node.decorator_list)
    ]
    overriding = [f"{model._meta.label}.save" for model in own_models() if "save" in vars(model)]
    assert listening == []
    assert overriding == []
