"""What is a card number: the one rule that everything which must not keep one asks.

A card number is 12 to 19 digits, alone or with up to three spaces or dashes between two of them,
that begin as a card scheme's numbers do, have one of that scheme's lengths and pass the Luhn check.
Digits next to a letter are part of a longer word (an id, a hash) and the digits of a decimal
fraction are a number; a UUID and a telephone number (a plus and up to 13 digits) are none either,
though a few of them would pass. Digits of other scripts and typographic spaces and dashes count as
plain ones, because somebody's form may put them there.

Asking is cheap: nearly every text has no 12 digits in a row, which one pass over its bytes shows.
A text with more groups of digits than anybody writes is not worked through: what is left of it
counts as a card number, so that nobody can keep us busy or hide one at the end.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

# First digits (from, to) and the lengths that go with them, of the card schemes in use.
_ISSUERS: tuple[tuple[str, str, range], ...] = (
    ("4", "4", range(13, 20)),  # Visa
    ("51", "55", range(16, 17)),  # Mastercard
    ("2221", "2720", range(16, 17)),  # Mastercard
    ("34", "34", range(15, 16)),  # American Express
    ("37", "37", range(15, 16)),  # American Express
    ("300", "305", range(14, 20)),  # Diners Club
    ("309", "309", range(14, 20)),  # Diners Club
    ("36", "36", range(14, 20)),  # Diners Club
    ("38", "39", range(14, 20)),  # Diners Club
    ("60", "60", range(16, 20)),  # Discover, RuPay
    ("62", "62", range(16, 20)),  # UnionPay
    ("64", "65", range(16, 20)),  # Discover, RuPay
    ("81", "82", range(16, 20)),  # UnionPay, RuPay
    ("3528", "3589", range(16, 20)),  # JCB
    ("1800", "1800", range(15, 16)),  # JCB
    ("2131", "2131", range(15, 16)),  # JCB
    ("2200", "2204", range(16, 20)),  # Mir
    ("9792", "9792", range(16, 17)),  # Troy
    ("50", "50", range(12, 20)),  # Maestro
    ("56", "58", range(12, 20)),  # Maestro
    ("63", "63", range(12, 20)),  # Maestro
    ("67", "67", range(12, 20)),  # Maestro
)
LENGTH_MIN = 12
LENGTH_MAX = 19
_PREFIXES = frozenset(
    prefix
    for prefix in (f"{number:04}" for number in range(10_000))
    if any(first <= prefix[: len(first)] <= last for first, last, _ in _ISSUERS)
)
_GROUPS_MAX = 20_000

# Groups of digits that stand together; any of them in a row may be the number.
_RUN = re.compile(
    r"(?<![0-9A-Za-z])(?<![0-9]\.)"
    r"[0-9]+(?:[ -]{1,3}[0-9]+)*"
    r"(?![0-9A-Za-z])"
)
_GROUP = re.compile(r"[0-9]+")
_UUID = re.compile(
    r"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![0-9A-Za-z])"
)
_TELEPHONE_DIGITS_MAX = 13
_PLAIN_FORMS = {"Zs": " ", "Pd": "-", "Cf": "-"}  # by category: spaces, dashes, invisible ones
_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
_ENOUGH = b"0" * LENGTH_MIN


def may_carry(raw: bytes) -> bool:
    """A first look at UTF-8 text: never wrong when False, sometimes for nothing when True."""
    return _ENOUGH in raw.translate(_DIGITS_TO_ZERO, b" -") or not raw.isascii()


def find(text: str) -> Iterator[tuple[int, int]]:
    """Where card numbers stand in `text`: start and end of each, in order, not overlapping."""
    plain = text if text.isascii() else text.translate(_PLAIN)
    squeezed = plain.encode("utf-8", "surrogatepass").translate(_DIGITS_TO_ZERO, b" -")
    if _ENOUGH not in squeezed:
        return
    if "-" in plain:
        plain = _UUID.sub(lambda found: "x" * len(found[0]), plain)
    looked_at = 0
    for run in _RUN.finditer(plain):
        if run.end() - run.start() < LENGTH_MIN:
            continue
        groups = [group.span() for group in _GROUP.finditer(plain, *run.span())]
        looked_at += len(groups)
        if looked_at > _GROUPS_MAX:
            yield run.start(), len(plain)
            return
        yield from _within(plain, groups)


def carries(text: str) -> bool:
    """True when there is a card number in `text`."""
    return next(find(text), None) is not None


def mask(text: str) -> tuple[str, int]:
    """`text` with the middle digits of each card number replaced, and how many there were."""
    pieces, done, count = [], 0, 0
    for start, end in find(text):
        digits = [unicodedata.digit(character, None) for character in text[start:end]]
        number = "".join(str(digit) for digit in digits if digit is not None)
        pieces += [text[done:start], number[:6], "*" * (len(number) - 10), number[-4:]]
        done, count = end, count + 1
    return ("".join([*pieces, text[done:]]), count) if count else (text, 0)


def is_card_number(digits: str) -> bool:
    """Whether these digits alone, in one piece, are a card number."""
    return _is_issued(digits) and _passes_luhn(digits)


def _within(plain: str, groups: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The card numbers in a run of groups: whole groups that stand next to each other."""
    first = 0
    while first < len(groups):
        last = _end_of_number(plain, groups, first)
        if last is None:
            first += 1
        else:
            yield groups[first][0], groups[last][1]
            first = last + 1


def _end_of_number(plain: str, groups: list[tuple[int, int]], first: int) -> int | None:
    """The last group of the longest card number that begins with the group `first`."""
    digits, found = "", None
    start = groups[first][0]
    shortest = _TELEPHONE_DIGITS_MAX + 1 if plain[start - 1 : start] == "+" else LENGTH_MIN
    for index in range(first, len(groups)):
        digits += plain[slice(*groups[index])]
        long_enough = len(digits) >= 4
        if len(digits) > LENGTH_MAX or (long_enough and digits[:4] not in _PREFIXES):
            break
        if len(digits) >= shortest and is_card_number(digits):
            found = index
    return found


def _plain_characters() -> dict[int, str]:
    """ASCII for every digit, space and dash of other scripts."""
    found = {}
    for code in (*range(0x80, 0xFFFF), *range(0x1D7CE, 0x1D800)):
        digit = unicodedata.digit(chr(code), None)
        plain = _PLAIN_FORMS.get(unicodedata.category(chr(code)))
        if digit is not None or plain is not None:
            found[code] = str(digit) if digit is not None else str(plain)
    return found


_PLAIN = _plain_characters()


def _is_issued(digits: str) -> bool:
    return any(
        first <= digits[: len(first)] <= last and len(digits) in lengths
        for first, last, lengths in _ISSUERS
    )


def _passes_luhn(digits: str) -> bool:
    doubled = (2 * int(digit) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(n - 9 if n > 9 else n for n in doubled)) % 10 == 0
