"""The kinds of value a request may hold, each taking exactly its JSON type.

Mental model: REST framework's own fields are kind ("12" is a number, 1 is true, 5 is text); with
money that kindness hides mistakes, so these take no other type than their own. The code of a
ValidationError is the name of an `ErrorCode`; `validated` turns the first one into a FlorinError.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

from ledger import money
from payments.errors import ErrorCode, FlorinError

# The largest whole number that every JSON reader keeps exact (RFC 7493, I-JSON), 2^53 - 1.
AMOUNT_MINOR_MAX = 9_007_199_254_740_991
METADATA_ENTRIES_MAX = 50
METADATA_KEY_LENGTH_MAX = 40
METADATA_VALUE_LENGTH_MAX = 500


class AmountField(serializers.IntegerField):
    """A whole number of minor units from 1 to 2^53 - 1; `12.0`, `"12"` and `true` are refused."""

    default_error_messages = {
        "required": "The amount in minor units is required, as a whole number.",
        "null": "The amount in minor units is a whole number, not null.",
        "amount_invalid": "The amount is a whole number of minor units from 1 to {maximum}.",
    }

    def __init__(self, **options: Any) -> None:
        # The limits are told here for the schema; to_internal_value below is what checks.
        super().__init__(min_value=1, max_value=AMOUNT_MINOR_MAX, **options)
        self.validators = []

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int or not 1 <= data <= AMOUNT_MINOR_MAX:
            self.fail("amount_invalid", maximum=AMOUNT_MINOR_MAX)
        return int(data)


class WholeNumberField(serializers.IntegerField):
    """A whole number between two bounds; `12.0`, `"12"` and `true` are refused."""

    default_error_messages = {"not_whole": "This has to be a whole number, {least} to {most}."}

    def __init__(self, *, least: int, most: int, **options: Any) -> None:
        # The limits are told here for the schema; to_internal_value below is what checks.
        super().__init__(min_value=least, max_value=most, **options)
        self.validators = []

    def to_internal_value(self, data: Any) -> int:
        least, most = self.min_value, self.max_value
        assert least is not None
        assert most is not None
        if type(data) is not int or not least <= data <= most:
            self.fail("not_whole", least=least, most=most)
        return int(data)


@extend_schema_field({"type": "string", "pattern": "^[A-Z]{3}$"})
class CurrencyField(serializers.CharField):
    """An ISO 4217 code in capitals."""

    default_error_messages = {
        "currency_invalid": "The currency is an ISO 4217 code in capitals, such as EUR."
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(min_length=3, max_length=3, **options)
        self.validators = []

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("currency_invalid")
        try:
            money.validate_currency(data)
        except ValueError:
            self.fail("currency_invalid")
        return str(data)


class TextField(serializers.CharField):
    """Text, and nothing that turns into text."""

    default_error_messages = {"not_text": "This has to be text (a JSON string)."}

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("not_text")
        return str(data)


class ChoiceField(serializers.ChoiceField):
    """One of a few words; the message lists them."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or data not in self.choices:
            words = ", ".join(str(choice) for choice in self.choices)
            raise ValidationError(f"This has to be one of: {words}.", code="parameter_invalid")
        return data


class FlagField(serializers.BooleanField):
    """true or false; neither 1 nor "true"."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            raise ValidationError("This has to be true or false.", code="parameter_invalid")
        return data


class WebAddressField(TextField):
    """An absolute http or https address without a password in it."""

    default_error_messages = {
        "not_address": "This has to be an absolute http or https address, without a password."
    }

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        try:
            parts = urlsplit(text)
            absolute = parts.scheme in ("http", "https") and bool(parts.hostname)
            plain = parts.username is None and text.isprintable() and " " not in text
        except ValueError:
            absolute = plain = False
        if not (absolute and plain):
            self.fail("not_address")
        return text


@extend_schema_field(
    {
        "type": "object",
        "additionalProperties": {"type": "string", "maxLength": METADATA_VALUE_LENGTH_MAX},
        "propertyNames": {"minLength": 1, "maxLength": METADATA_KEY_LENGTH_MAX},
        "maxProperties": METADATA_ENTRIES_MAX,
    }
)
class MetadataField(serializers.Field[Any, Any, Any, Any]):
    """The caller's own notes: up to 50 pairs of text, names up to 40, values up to 500 long."""

    def to_internal_value(self, data: Any) -> dict[str, str]:
        if not isinstance(data, dict):
            raise ValidationError("Metadata is an object of text.", code="parameter_invalid")
        if len(data) > METADATA_ENTRIES_MAX:
            raise ValidationError(
                f"Metadata has at most {METADATA_ENTRIES_MAX} pairs.", code="parameter_invalid"
            )
        for name, value in data.items():
            self._check(name, value)
        return data

    def to_representation(self, value: Any) -> Any:
        return value

    @staticmethod
    def _check(name: str, value: Any) -> None:
        if not 1 <= len(name) <= METADATA_KEY_LENGTH_MAX:
            message = f"A name has 1 to {METADATA_KEY_LENGTH_MAX} characters."
        elif not isinstance(value, str) or len(value) > METADATA_VALUE_LENGTH_MAX:
            message = f"A value is text of at most {METADATA_VALUE_LENGTH_MAX} characters."
        else:
            return
        raise ValidationError({name[:METADATA_KEY_LENGTH_MAX]: [message]})


class StrictSerializer(serializers.Serializer[Any]):
    """A request body whose unknown names are refused instead of dropped."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        for name in data:
            if name not in self.fields:
                shown = name.encode("ascii", "replace").decode()[:100]
                raise FlorinError(
                    ErrorCode.parameter_unknown, f"There is no parameter {shown!r}.", param=shown
                )
        values: dict[str, Any] = super().to_internal_value(data)
        return values


def validated(serializer: type[StrictSerializer], data: Any) -> dict[str, Any]:
    """The values of a parsed body, defaults filled in. Raises FlorinError with the parameter."""
    try:
        values: dict[str, Any] = dict(_kept(serializer).run_validation(data))
    except ValidationError as error:
        raise _refusal(error.detail) from None
    return values


@cache
def _kept(serializer: type[StrictSerializer]) -> StrictSerializer:
    """One instance per body: validation keeps no state, and making the fields costs the most."""
    return serializer()


def _refusal(detail: Any) -> FlorinError:
    """The first problem of a serializer, with the path of its parameter."""
    path: list[str] = []
    while not isinstance(detail, ErrorDetail):
        if isinstance(detail, Mapping):
            name, detail = next(iter(detail.items()))
            path.append(str(name))
        else:
            detail = detail[0]
    param = ".".join(path)
    codes = {"amount_minor": ErrorCode.amount_invalid, "currency": ErrorCode.currency_invalid}
    code = codes.get(param, ErrorCode.parameter_invalid)
    if detail.code and detail.code in ErrorCode.__members__:
        code = ErrorCode[detail.code]
    return FlorinError(code, f"{param}: {detail}", param=param)
