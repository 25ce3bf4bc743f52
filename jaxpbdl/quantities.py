"""Physical units at the edges: functions of plain numbers that are called with quantities."""

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

__all__ = ["with_units"]

Function = TypeVar("Function", bound=Callable[..., Any])


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
    is dimensionless and may then be given as a plain number too. Units are those of pint's
    application registry.

    **Raises:** TypeError, where the function is decorated, if no annotation names a unit; when it
    is called, for a quantity where none is expected, or a plain number beside quantities where a
    unit is; ValueError for a unit of another dimension. ModuleNotFoundError without pint (extra
    `units`).
    """
    try:
        import pint
    except ModuleNotFoundError:
        raise ModuleNotFoundError("units need pint: pip install 'jaxpbdl[units]'") from None

    hints = get_type_hints(function, include_extras=True)
    result = hints.pop("return", None)
    units = {name: unit for name, hint in hints.items() if (unit := unit_of(hint)) is not None}
    results = [unit_of(part) for part in get_args(result)] if get_origin(result) is tuple else None
    alone = unit_of(result)
    if not units:
        raise TypeError(
            f"no argument of {function.__name__} has a unit: write Annotated[float, 'm/s'], say"
        )
    parameters = signature(function)

    @wraps(function)
    def with_quantities(*args: Any, **kwargs: Any) -> Any:
        given = parameters.bind(*args, **kwargs)
        quantities = [k for k, v in given.arguments.items() if isinstance(v, pint.Quantity)]
        if not quantities:
            return function(*args, **kwargs)
        registry = pint.get_application_registry()
        for name, value in given.arguments.items():
            if name not in quantities:
                if name in units and not registry.Unit(units[name]).dimensionless:
                    raise TypeError(
                        f"{name} has no unit, but {quantities[0]} has one; give {name} as a "
                        f"quantity that converts to {units[name]}"
                    )
            elif name not in units:
                raise TypeError(f"{name} must be a plain value, got a quantity in {value.units}")
            else:
                try:
                    given.arguments[name] = value.m_as(units[name])
                except pint.DimensionalityError as error:
                    raise ValueError(
                        f"{name} must be a quantity that converts to {units[name]}, got one in "
                        f"{value.units}"
                    ) from error
        out = function(*given.args, **given.kwargs)
        if results is not None:
            pairs = zip(out, results, strict=True)
            return tuple(x if unit is None else registry.Quantity(x, unit) for x, unit in pairs)
        return out if alone is None else registry.Quantity(out, alone)

    return cast(Function, with_quantities)


def unit_of(hint: Any) -> str | None:
    """The unit that an annotation names, if it does."""
    if get_origin(hint) is not Annotated:
        return None
    return next((part for part in get_args(hint)[1:] if isinstance(part, str)), None)
