"""Numbers as they are printed."""


def printed(number: float, digits: int) -> str:
    """A number to so many significant digits, zeros at the end too."""
    return "0" if number == 0.0 else f"{number:#.{digits}g}".rstrip(".")


def half_unit(text: str) -> float:
    """Half a unit of the last printed place."""
    mantissa, _, exponent = text.partition("e")
    decimals = len(mantissa.partition(".")[2])
    return 0.0 if text == "0" else 0.5 * 10.0 ** (int(exponent or 0) - decimals)
