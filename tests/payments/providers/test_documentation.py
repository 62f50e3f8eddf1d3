"""The tables in docs/providers.md and docs/sandbox.md are what the code says.

    python -m tests.payments.providers.test_documentation

writes the tables that need no run (codes, capabilities, instruments, knobs) anew.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from payments.providers.refusals import STANDARD
from payments.providers.sandbox.provider import SandboxProvider
from payments.providers.sandbox.service import schema, staging
from payments.providers.sandbox.service.instruments import BY_TOKEN
from payments.providers.sandbox.service.knobs import KNOBS
from payments.providers.stripe.intents import CARD_FEATURES
from payments.providers.stripe.provider import StripeProvider
from tests.payments.providers import capability_matrix

DOCS = capability_matrix.DOCUMENT.parent


def refusals() -> str:
    """The standard codes."""
    lines = ["| code | another try may succeed | words for the payer |", "|---|---|---|"]
    for code, standard in STANDARD.items():
        may = "yes" if standard.retryable else "no"
        lines.append(f"| `{code}` | {may} | {standard.payer_message} |")
    return "\n".join(lines)


def instruments() -> str:
    """Test cards and bank accounts."""
    lines = ["| token | number | what happens |", "|---|---|---|"]
    for row in BY_TOKEN.values():
        number = " ".join(row.number[i : i + 4] for i in range(0, len(row.number), 4))
        number = row.number if row.kind == "bank_debit" else number
        lines.append(f"| `{row.name}` | {number} | {row.words} |")
    return "\n".join(lines)


def knobs() -> str:
    """The settings of an account."""
    lines = ["| knob | default | what it does |", "|---|---|---|"]
    for name, knob in KNOBS.items():
        default = str(knob.default).lower() if isinstance(knob.default, bool) else knob.default
        lines.append(f"| `{name}` | {default} | {knob.words} |")
    return "\n".join(lines)


def capabilities() -> str:
    """What each provider says of itself, as the actions read it."""
    sandbox = SandboxProvider().capabilities
    plain = StripeProvider(card_features=frozenset()).capabilities
    granted = StripeProvider(card_features=CARD_FEATURES).capabilities
    lines = ["| capability | sandbox | stripe |", "|---|---|---|"]
    for field in dataclasses.fields(sandbox):
        if field.type != "bool":
            continue
        name, words = field.name, {True: "yes", False: "no"}
        stripe = words[getattr(plain, name)]
        if getattr(plain, name) != getattr(granted, name):
            stripe = "by contract"
        lines.append(f"| `{name}` | {words[getattr(sandbox, name)]} | {stripe} |")
    return "\n".join(lines)


TABLES = {
    ("providers.md", "capabilities"): capabilities,
    ("providers.md", "refusals"): refusals,
    ("sandbox.md", "instruments"): instruments,
    ("sandbox.md", "knobs"): knobs,
}


def _split(document: Path, name: str) -> tuple[str, str, str]:
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    before, _, rest = document.read_text().partition(begin)
    table, _, after = rest.partition(end)
    return before + begin, table.rstrip("\n"), end + after


@pytest.mark.parametrize(("file", "name"), TABLES)
def test_a_table_in_the_docs_is_what_the_code_says(file: str, name: str) -> None:
    assert _split(DOCS / file, name)[1] == TABLES[file, name]()


def _service_sources() -> str:
    folder = Path(staging.__file__).parent
    return "".join(path.read_text() for path in sorted(folder.glob("*.py")))


def test_the_sandbox_page_names_every_control_event_and_movement() -> None:
    page = (DOCS / "sandbox.md").read_text()
    assert [name for name in staging.PAYMENT_ACTIONS if f"/{name}`" not in page] == []
    told = {
        f"{subject}.{name}"
        for subject, names in re.findall(r"^\| `(\w+)\.` \| (.*) \|$", page, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", names)
    }
    left = set(re.findall(r'"((?:payment|refund|dispute)\.[a-z_]+)"', _service_sources()))
    assert told == left | {"payment.partially_captured"}
    kinds = re.findall(r"'(\w+)'", schema.SCHEMA.partition("kind IN (")[2].partition(")")[0])
    assert len(kinds) > 10
    assert [kind for kind in kinds if f"`{kind}`" not in page] == []


def test_the_sandbox_page_names_every_address() -> None:
    page = (DOCS / "sandbox.md").read_text()
    paths = set(re.findall(r'r"(/v1/[a-z_]+)', _service_sources()))
    assert len(paths) > 8
    assert [path for path in paths if path not in page] == []


def test_the_capability_matrix_is_what_the_suite_runs() -> None:
    shown = _split(capability_matrix.DOCUMENT, "capability matrix")[1]
    assert shown == capability_matrix.render(capability_matrix.expected())


def main() -> None:
    """Write the tables."""
    for (file, name), table in TABLES.items():
        before, _, after = _split(DOCS / file, name)
        (DOCS / file).write_text(f"{before}{table()}\n{after}")


if __name__ == "__main__":
    main()
