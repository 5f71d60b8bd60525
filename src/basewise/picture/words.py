"""Numbers and lists as a reader should see them; the report writes every number through here."""

from __future__ import annotations

import math
from collections.abc import Iterable

__all__ = [
    "MINUS",
    "NONE",
    "counted",
    "duration",
    "equals",
    "estimate",
    "gap",
    "listing",
    "number",
    "p_value",
    "percent",
    "quantity",
    "sample",
    "tick",
]

MINUS = "−"
ROUNDING = 1e-9  # of sums in double precision
NONE = "–"  # what a table shows where there is no number
_SPACE = "\N{NO-BREAK SPACE}"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None) -> str:
    """A measured number with three significant digits: `0.700`, `12.3`, `1,230`, `1.20 × 10⁻⁵`."""
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    if value and not 1e-3 <= abs(value) < 1e7:
        return _by_power(value, 3)
    if 0.9995 <= value < 1:  # "1.00" would claim too much
        return f"{value:.4f}" if value < 0.99995 else f">{_SPACE}0.9999"
    return "0" if value == 0 else _fixed(value, _decimals(value))


def tick(value: float, digits: int = 2) -> str:
    """A number beside an axis: `0.5`, `−2`, `1,234`, `2.3 × 10⁻⁹`."""
    if value and not 1e-3 <= abs(value) < 1e7:
        return _by_power(value, digits)
    kept = round(value) if abs(value) >= 10**digits else float(f"{value:.{digits}g}")
    return f"{kept:,.15g}".replace("-", MINUS)


def _by_power(value: float, digits: int) -> str:
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    return f"{mantissa} × 10{str(int(power)).translate(_SUPERSCRIPT)}".replace("-", MINUS)


def _decimals(value: float) -> int:
    """How many decimals show three significant digits."""
    size = abs(float(f"{value:.3g}"))
    return 2 if size == 0 else max(2 - math.floor(math.log10(size)), 0)


def _fixed(value: float, decimals: int) -> str:
    text = f"{float(f'{value:.3g}') if decimals == 0 else value:,.{decimals}f}"
    return text.replace("-", MINUS) if float(text.replace(",", "")) else text.lstrip("-")


def quantity(value: float | None) -> str:
    """A whole number, a count, in full: `5,920`."""
    return NONE if value is None or not math.isfinite(value) else f"{value:,.0f}"


def gap(value: float | None) -> str:
    """A completeness error; what rounding alone leaves is written as nothing."""
    return "0" if value is not None and abs(value) < ROUNDING else number(value)


def percent(share: float | None) -> str:
    """A share as `12.3 %`."""
    if share is None or not math.isfinite(share):
        return NONE
    return f"{number(100 * share)}{_SPACE}%"


def estimate(value: float, low: float | None = None, high: float | None = None) -> str:
    """A number with its interval: `0.714 [0.690, 0.738]`; without one, the number.

    All three have the decimals that show three digits of the largest, as long as that leaves
    at least two digits of the value.
    """
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return number(value)
    largest = max(map(abs, (value, low, high)))
    near_one = any(0.9995 <= part < 1 for part in (value, low, high))
    if not near_one and 1e-3 <= largest < 1e7 and largest < 10 * abs(value):
        # Of a share that may be 1, 0.997 and 1 must not become the same.
        decimals = 3 if largest == 1 else _decimals(largest)
        return f"{_fixed(value, decimals)} [{_fixed(low, decimals)}, {_fixed(high, decimals)}]"
    return f"{number(value)} [{number(low)}, {number(high)}]"


def p_value(value: float | None, letter: str = "q") -> str:
    """A p or q value: `q = 0.003`, `q < 0.001`; without a letter `0.003`, `< 0.001`."""
    if value is None or math.isnan(value):
        return NONE
    if value < 0.001:
        sign, text = "<", "0.001"
    else:
        sign, text = "=", f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
    if not letter:
        return text if sign == "=" else f"{sign}{_SPACE}{text}"
    return f"{letter}{_SPACE}{sign}{_SPACE}{text}"


def equals(name: str, value: float) -> str:
    """`p = 0.983`, `p > 0.9999`."""
    said = number(value)
    return f"{name}{_SPACE}{said}" if said.startswith(">") else f"{name}{_SPACE}={_SPACE}{said}"


def sample(*sizes: int) -> str:
    """`n = 2,960`, `n = 2,960 and 3,001`."""
    return f"n{_SPACE}={_SPACE}{listing(map(quantity, sizes))}"


def counted(count: int, one: str, many: str = "") -> str:
    """`1 sequence`, `1,072 sequences`, `2 classes`."""
    return f"{quantity(count)} {one if count == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """A time with two digits: `< 0.1 s`, `0.4 s`, `25 s`, `3.5 min`, `11 h`, `2.0 days`."""
    if seconds < 0.05:
        return "< 0.1 s"
    for unit, size, limit in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48)):
        if seconds < limit * size:
            return f"{_two(seconds / size)} {unit}"
    return f"{_two(seconds / 86400)} days"


def _two(value: float) -> str:
    return f"{value:.1f}" if value < 9.95 else f"{value:,.0f}"


def listing(items: Iterable[object]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    words = [str(item) for item in items]
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
