"""The functions of one Value, as methods: `x.sqrt()` is `sqrt(x)`."""

from __future__ import annotations

from engine import ops

TYPE_CHECKING = False  # as `typing` has it, without the milliseconds of importing that
if TYPE_CHECKING:
    from typing import Any

    from engine.ops import Primitive
    from engine.value import Number, Value


class Methods:
    """What a Value can do beyond the operators and the functions that nets are made of.

    Each is a row of the table by its name, and returns a Value. Each raises DomainError where it has no value.
    """

    __slots__ = ()

    if TYPE_CHECKING:

        @staticmethod
        def __primitive__(row: Primitive, operands: tuple[Any, ...]) -> Value:
            """The node that `row` makes of the operands: `Value` sees to it."""

    def expm1(self) -> Value:
        """The exponential less one, e^self − 1, exact also near 0."""
        return self.__primitive__(ops.EXPM1, (self,))

    def log1p(self) -> Value:
        """log(1 + self), exact also near 0; self must be above −1."""
        return self.__primitive__(ops.LOG1P, (self,))

    def log10(self) -> Value:
        """The logarithm to base 10 of self, which must be above 0."""
        return self.__primitive__(ops.LOG10, (self,))

    def log2(self) -> Value:
        """The logarithm to base 2 of self, which must be above 0."""
        return self.__primitive__(ops.LOG2, (self,))

    def sqrt(self) -> Value:
        """The square root of self, which must not be negative; its derivative at 0 is infinite."""
        return self.__primitive__(ops.SQRT, (self,))

    def cbrt(self) -> Value:
        """The cube root, of negative numbers too; its derivative at 0 is infinite."""
        return self.__primitive__(ops.CBRT, (self,))

    def sin(self) -> Value:
        """The sine; self is in radians."""
        return self.__primitive__(ops.SIN, (self,))

    def cos(self) -> Value:
        """The cosine; self is in radians."""
        return self.__primitive__(ops.COS, (self,))

    def tan(self) -> Value:
        """The tangent; self is in radians."""
        return self.__primitive__(ops.TAN, (self,))

    def asin(self) -> Value:
        """The arcsine in radians; self must lie from −1 to 1, where its derivative is infinite."""
        return self.__primitive__(ops.ASIN, (self,))

    def acos(self) -> Value:
        """The arccosine in radians; self must lie from −1 to 1, where its derivative is infinite."""
        return self.__primitive__(ops.ACOS, (self,))

    def atan(self) -> Value:
        """The arctangent in radians."""
        return self.__primitive__(ops.ATAN, (self,))

    def sinh(self) -> Value:
        """The hyperbolic sine."""
        return self.__primitive__(ops.SINH, (self,))

    def cosh(self) -> Value:
        """The hyperbolic cosine."""
        return self.__primitive__(ops.COSH, (self,))

    def asinh(self) -> Value:
        """The inverse hyperbolic sine."""
        return self.__primitive__(ops.ASINH, (self,))

    def acosh(self) -> Value:
        """The inverse hyperbolic cosine of self, which must be at least 1; its derivative there is infinite."""
        return self.__primitive__(ops.ACOSH, (self,))

    def atanh(self) -> Value:
        """The inverse hyperbolic tangent of self, which must lie between −1 and 1."""
        return self.__primitive__(ops.ATANH, (self,))

    def logsigmoid(self) -> Value:
        """The logarithm of σ(self), exact also where σ(self) is tiny."""
        return self.__primitive__(ops.LOGSIGMOID, (self,))

    def softplus(self) -> Value:
        """log(1 + e^self), a smooth relu; its derivative is σ(self)."""
        return self.__primitive__(ops.SOFTPLUS, (self,))

    def softsign(self) -> Value:
        """self/(1 + |self|)."""
        return self.__primitive__(ops.SOFTSIGN, (self,))

    def step(self) -> Value:
        """1 above 0, else 0, with derivative 0 everywhere."""
        return self.__primitive__(ops.STEP, (self,))

    def leaky_relu(self, slope: Value | Number = 0.01) -> Value:
        """A relu that leaks: self above 0, else slope·self; at 0 the derivative is the slope."""
        return self.__primitive__(ops.LEAKY_RELU, (self, slope))

    def elu(self, alpha: Value | Number = 1.0) -> Value:
        """The exponential linear unit: self above 0, else alpha·(e^self − 1). Clevert and others 2015."""
        return self.__primitive__(ops.ELU, (self, alpha))

    def gelu(self) -> Value:
        """self·Φ(self), with the normal distribution Φ and not its tanh approximation. Hendrycks and Gimpel 2016."""
        return self.__primitive__(ops.GELU, (self,))

    def silu(self) -> Value:
        """self·σ(self), also called swish."""
        return self.__primitive__(ops.SILU, (self,))

    def sign(self) -> Value:
        """−1, 0 or 1, with derivative 0 everywhere."""
        return self.__primitive__(ops.SIGN, (self,))

    def maximum(self, other: Value | Number) -> Value:
        """The larger of the two; a tie shares the derivative half and half."""
        return self.__primitive__(ops.MAXIMUM, (self, other))

    def minimum(self, other: Value | Number) -> Value:
        """The smaller of the two; a tie shares the derivative half and half."""
        return self.__primitive__(ops.MINIMUM, (self, other))

    def clamp(self, low: Value | Number, high: Value | Number) -> Value:
        """Self kept from low to high. At a bound the derivative is still 1, as in PyTorch."""
        return self.__primitive__(ops.CLAMP, (self, low, high))

    def hypot(self, other: Value | Number) -> Value:
        """√(self² + other²) without overflow; at (0, 0) its derivatives are 0."""
        return self.__primitive__(ops.HYPOT, (self, other))

    def atan2(self, x: Value | Number) -> Value:
        """The angle in radians of the point (x, self); at (0, 0) its derivatives are 0."""
        return self.__primitive__(ops.ATAN2, (self, x))

    def logaddexp(self, other: Value | Number) -> Value:
        """log(e^self + e^other) without overflow."""
        return self.__primitive__(ops.LOGADDEXP, (self, other))

    def erf(self) -> Value:
        """The error function."""
        return self.__primitive__(ops.ERF, (self,))

    def erfc(self) -> Value:
        """1 − erf(self), exact also where that is tiny."""
        return self.__primitive__(ops.ERFC, (self,))

    def abs(self) -> Value:
        """The absolute value, with derivative 0 at 0; the builtin `abs(x)` gives the same."""
        return self.__primitive__(ops.ABS, (self,))

    # As NumPy calls them on an array of Values: np.arcsin(array).
    arcsin, arccos, arctan, arctan2 = asin, acos, atan, atan2
    arcsinh, arccosh, arctanh = asinh, acosh, atanh
