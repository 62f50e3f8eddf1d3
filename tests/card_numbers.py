"""Card numbers made up by hypothesis: every scheme, every length, every way to write them."""

from __future__ import annotations

from hypothesis import strategies as st

# First digits and lengths, written down anew rather than taken from the code under test
# (https://en.wikipedia.org/wiki/Payment_card_number).
SCHEMES: list[tuple[list[str], list[int]]] = [
    (["4"], [13, 16, 19]),
    ([str(prefix) for prefix in range(51, 56)], [16]),
    (["2221", "2300", "2500", "2699", "2720"], [16]),
    (["34", "37"], [15]),
    (["300", "305", "309", "36", "38", "39"], [14, 16, 19]),
    (["6011", "644", "649", "65"], [16, 19]),
    (["622126", "622925", "62"], [16, 17, 18, 19]),
    (["3528", "3589"], [16, 17, 18, 19]),
    (["5018", "5020", "5038", "5893", "6304", "6759", "6761"], [12, 13, 14, 15, 16, 17, 18, 19]),
    (["2200", "2204"], [16, 17, 18, 19]),
]


def check_digit(payload: str) -> str:
    """The digit that makes `payload` pass the Luhn check (ISO/IEC 7812-1, annex B)."""
    total = 0
    for position, digit in enumerate(reversed(payload)):
        doubled = int(digit) * (2 if position % 2 == 0 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return str(-total % 10)


@st.composite
def card_numbers(draw: st.DrawFn) -> str:
    """The digits of a valid number."""
    prefixes, lengths = draw(st.sampled_from(SCHEMES))
    prefix, length = draw(st.sampled_from(prefixes)), draw(st.sampled_from(lengths))
    missing = length - len(prefix) - 1
    payload = prefix + draw(st.text("0123456789", min_size=missing, max_size=missing))
    return payload + check_digit(payload)


@st.composite
def written(draw: st.DrawFn, number: str) -> str:
    """A number as somebody may write it: in one piece, or in groups of any sizes."""
    if draw(st.booleans()):
        return number
    separator = draw(st.sampled_from([" ", "-"]))
    size = draw(st.integers(1, 8))
    return separator.join(number[at : at + size] for at in range(0, len(number), size))
