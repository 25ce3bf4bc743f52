"""Physical units at the edges: functions of plain numbers that are called with quantities."""

from collections.abc import Callable, Sequence
from functools import wraps
from inspect import Parameter, signature
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

__all__ = ["with_units"]

Function = TypeVar("Function", bound=Callable[..., Any])
PLAIN = ("1", "")
MANY = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def with_units(function: Function) -> Function:
    """The function, called with quantities of pint. Units stand in its annotations:

        @with_units
        def half_life(size: Annotated[float, "m"], viscosity: Annotated[float, "m^2/s"]
                      ) -> Annotated[float, "s"]: ...

    A quantity is converted to the unit that its argument names and goes in as a plain number or
    array, so what is inside may be compiled and differentiated; what comes out gets the unit of the
    return annotation (of each part, for `tuple[Annotated[..], ..]`). Called without any quantity,
    the function is what it was.

    **Arguments:** `function`, with `Annotated[type, "unit"]` on what has a unit, and `"1"` on what
    is dimensionless and may then be given as a plain number beside quantities. Units are those of
    pint's application registry.

    **Raises:** where the function is decorated, TypeError if none of its arguments names a unit, or
    if `*args` or `**kwargs` do, and ValueError for a unit that pint does not know. When it is
    called, TypeError for a quantity where none is expected, or a plain number beside quantities
    where a unit is; ValueError for a unit of another dimension. ModuleNotFoundError without pint
    (extra `units`).
    """
    try:
        import pint
    except ModuleNotFoundError:
        raise ModuleNotFoundError("units need pint: pip install 'jaxpbdl[units]'") from None

    registry, parameters = pint.get_application_registry(), signature(function)
    hints = get_type_hints(function, include_extras=True)
    result = hints.pop("return", None)
    units = {name: unit for name, hint in hints.items() if (unit := unit_of(hint)) is not None}
    for name, unit in units.items():
        if parameters.parameters[name].kind in MANY:
            raise TypeError(f"{name} stands for any number of arguments, which have no units here")
        try:
            registry.Unit(unit)
        except pint.UndefinedUnitError as error:
            raise ValueError(f"the unit of {name} is not known: {error}") from error
    if not units:
        raise TypeError(
            f"no argument of {function.__name__} has a unit: write Annotated[float, 'm/s'], say"
        )

    @wraps(function)
    def with_quantities(*args: Any, **kwargs: Any) -> Any:
        given = parameters.bind(*args, **kwargs)
        values = given.arguments
        quantities = [name for name, value in values.items() if isinstance(value, pint.Quantity)]
        for name, value in values.items():
            if parameters.parameters[name].kind in MANY:
                several = value.values() if isinstance(value, dict) else value
                if any(isinstance(one, pint.Quantity) for one in several):
                    raise TypeError(f"{name} must be plain values, got a quantity among them")
        if not quantities:
            return function(*args, **kwargs)
        for name, value in values.items():
            unit = units.get(name)
            if name not in quantities:
                if unit is not None and unit not in PLAIN and value is not None:
                    raise TypeError(
                        f"{name} has no unit, but {quantities[0]} has one; give {name} as a "
                        f"quantity that converts to {unit}"
                    )
            elif unit is None:
                raise TypeError(f"{name} must be a plain value, got a quantity in {value.units}")
            else:
                try:
                    values[name] = value.m_as(unit)
                except pint.DimensionalityError as error:
                    raise ValueError(
                        f"{name} must be a quantity that converts to {unit}, got one in "
                        f"{value.units}"
                    ) from error
        return _with_result_units(function(*given.args, **given.kwargs), result, registry.Quantity)

    return cast(Function, with_quantities)


def unit_of(hint: Any) -> str | None:
    """The unit that an annotation names, if it does, alone or in a union with others."""
    if get_origin(hint) in (Union, UnionType):
        return next((unit for part in get_args(hint) if (unit := unit_of(part)) is not None), None)
    if get_origin(hint) is not Annotated:
        return None
    return next((part for part in get_args(hint)[1:] if isinstance(part, str)), None)


def _with_result_units(out: Any, hint: Any, quantity: Callable[[Any, str], Any]) -> Any:
    """What a function returned, with the units of its annotation."""
    if get_origin(hint) is tuple:
        parts: Sequence[Any] = get_args(hint)
        if parts and parts[-1] is Ellipsis:
            parts = parts[:1] * len(out)
        pairs = zip(out, parts, strict=True)
        return tuple(_with_result_units(one, part, quantity) for one, part in pairs)
    unit = unit_of(hint)
    return out if unit is None or out is None else quantity(out, unit)
