"""Money as whole minor units of an ISO 4217 currency, and splits that always add up.

Mental model: an amount is an integer with a currency's name on it. Nothing here is ever a float,
nothing is rounded silently, and two currencies never meet in one sum. How many decimals a payment
provider uses for a currency is the provider's own table; the one here is ISO 4217's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

# PostgreSQL's bigint, in which amounts are stored.
LARGEST_AMOUNT_MINOR = 2**63 - 1

_TWO_DECIMALS = """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF
    CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD
    GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL
    MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR
    PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP
    TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG
"""
_NO_DECIMALS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
# ISO 4217: the number of decimals of each currency in circulation. Funds codes, metals and the
# codes for tests and for "no currency" are left out: nobody pays with them.
EXPONENTS: dict[str, int] = {
    **dict.fromkeys(_TWO_DECIMALS.split(), 2),
    **dict.fromkeys(_NO_DECIMALS.split(), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}


class InvalidMoney(ValueError):
    """An amount or a currency that cannot stand in the books; says which and what would."""


class UnknownCurrency(InvalidMoney):
    """Not the three upper-case letters of an ISO 4217 currency."""


class CurrencyMismatch(InvalidMoney):
    """Two currencies in one sum or comparison."""


def is_currency(currency: object) -> bool:
    """Whether this is the code of an ISO 4217 currency, in upper case."""
    return isinstance(currency, str) and currency in EXPONENTS


def validate_currency(currency: str) -> str:
    """The currency itself, or UnknownCurrency."""
    if not is_currency(currency):
        raise UnknownCurrency(
            f"{currency!r} is not a currency: use an ISO 4217 code in upper case, such as 'EUR'."
        )
    return currency


def exponent(currency: str) -> int:
    """Decimals between the currency's minor and its major unit, by ISO 4217: 0, 2, 3 or 4."""
    return EXPONENTS[validate_currency(currency)]


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units, of any sign, and its currency.

    Raises InvalidMoney for an amount that is no integer or does not fit a bigint, UnknownCurrency
    for a code that is not ISO 4217's.
    """

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        validate_currency(self.currency)
        if isinstance(self.amount_minor, bool) or not isinstance(self.amount_minor, int):
            raise InvalidMoney(
                f"{self.amount_minor!r} is no amount: use an integer number of minor units."
            )
        if abs(self.amount_minor) > LARGEST_AMOUNT_MINOR:
            raise InvalidMoney(
                f"{self.amount_minor} is out of range: at most {LARGEST_AMOUNT_MINOR} minor units."
            )

    @classmethod
    def from_major(cls, amount: Decimal | str, currency: str) -> Money:
        """The amount given in major units, such as "10.50".

        Raises InvalidMoney where it is no number or not a whole number of minor units.
        """
        try:
            minor = Decimal(amount).scaleb(exponent(currency))
            whole = minor.to_integral_exact()
        except InvalidOperation as error:
            raise InvalidMoney(f"{amount!r} is no amount: use digits such as '10.50'.") from error
        if not minor.is_finite() or whole != minor:
            raise InvalidMoney(
                f"{amount} {currency} is not a whole number of minor units: "
                f"{currency} has {exponent(currency)} decimals."
            )
        return cls(int(whole), currency)

    @property
    def major(self) -> Decimal:
        """The amount in major units, with the currency's own number of decimals."""
        return Decimal(self.amount_minor).scaleb(-exponent(self.currency))

    def __add__(self, other: Money) -> Money:
        self._same_currency(other)
        return Money(self.amount_minor + other.amount_minor, self.currency)

    def __sub__(self, other: Money) -> Money:
        return self + -other

    def __neg__(self) -> Money:
        return Money(-self.amount_minor, self.currency)

    def __lt__(self, other: Money) -> bool:
        self._same_currency(other)
        return self.amount_minor < other.amount_minor

    def __le__(self, other: Money) -> bool:
        return not other < self

    def __str__(self) -> str:
        return f"{self.major:,f} {self.currency}"

    def _same_currency(self, other: Money) -> None:
        if self.currency != other.currency:
            raise CurrencyMismatch(
                f"{self} and {other} are in different currencies: convert one of them first."
            )


def allocate(money: Money, weights: Sequence[int]) -> list[Money]:
    """Split by weights so that the parts add up to the whole: the largest-remainder method.

    Each part is its exact share rounded down or up to a minor unit; the units left over go to the
    largest remainders, the earlier part first among equals. A weight of 0 gets nothing. Negative
    money is split like positive. Raises InvalidMoney unless the weights are non-negative integers
    with at least one above 0.
    """
    valid = all(type(weight) is int and weight >= 0 for weight in weights)
    if not valid or not any(weights):
        raise InvalidMoney(
            f"{list(weights)} cannot split money: use integers of 0 and more, one above 0."
        )
    sign = -1 if money.amount_minor < 0 else 1
    total = sum(weights)
    shares = [divmod(abs(money.amount_minor) * weight, total) for weight in weights]
    left_over = abs(money.amount_minor) - sum(whole for whole, _ in shares)
    # sorted() is stable, which gives the earlier part the unit among equal remainders.
    by_remainder = sorted(range(len(shares)), key=lambda index: -shares[index][1])
    favoured = set(by_remainder[:left_over])
    return [
        Money(sign * (whole + (index in favoured)), money.currency)
        for index, (whole, _) in enumerate(shares)
    ]
