"""The options of a strategy: the keyword-only arguments of its function, with type hints and defaults."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from pipeline.errors import ConfigError

PLAIN = (type(None), bool, int, float, str)


@dataclass(frozen=True)
class Option:
    """One option of a strategy."""

    name: str
    hint: Any
    default: Any

    def __str__(self) -> str:
        """Show name, type and default, as messages and the `strategies` command do."""
        return f"{self.name}: {inspect.formatannotation(self.hint)} = {self.default!r}"


def options_of(function: Callable[..., Any], strategy: str) -> tuple[Option, ...]:
    """Return the options of `function`, in their order.

    Raises
    ------
    ConfigError
        Its signature is not ``signal(bars, *, option: type = default, ...)``.
    """
    try:
        signature = inspect.signature(function)
        hints = get_type_hints(function) if inspect.isroutine(function) else {}
    except (NameError, TypeError, ValueError) as error:
        raise ConfigError(
            f"strategy {strategy!r}: the signature of `signal` cannot be read ({error}); options need type hints that "
            f"exist. Repair the hints."
        ) from error
    arguments = list(signature.parameters.values())
    rest = arguments[1:]
    positional = [each for each in arguments if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    optional = [each for each in rest if each.kind is each.KEYWORD_ONLY and each.default is not each.empty]
    if positional != arguments[:1] or optional != rest or not arguments:
        raise ConfigError(
            f"strategy {strategy!r}: its function is signal{signature}; bars come first and options are keyword-only "
            f"with defaults. Write it as `def signal(bars, *, window: int = 20):`."
        )
    return tuple(Option(each.name, hints.get(each.name, _hint(each.default)), each.default) for each in rest)


def converted(params: Mapping[str, Any], options: tuple[Option, ...], strategy: str) -> dict[str, Any]:
    """Return every option of a strategy with its value: the one of `params`, made to fit its hint, or the default.

    Raises
    ------
    ConfigError
        An unknown option, or a value that does not fit; the message lists the options with types and defaults.
    """
    known = {option.name: option for option in options}
    for name in params:
        if name not in known:
            raise ConfigError(_refusal(name, "is not an option", options, strategy))
    values = {option.name: option.default for option in options if _is_plain(option.default)}
    for name, value in params.items():
        values[name] = _fit(value, known[name], options, strategy)
    return values


def _fit(value: Any, option: Option, options: tuple[Option, ...], strategy: str) -> Any:
    from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

    hint = inspect.formatannotation(option.hint)
    try:
        adapter = TypeAdapter(option.hint, config=ConfigDict(allow_inf_nan=False))
        fitted = adapter.validate_python(value)
    except PydanticSchemaGenerationError:
        raise ConfigError(
            _refusal(option.name, f"has a type that no config can give, {hint}", options, strategy)
        ) from None
    except ValidationError:
        raise ConfigError(_refusal(option.name, f"is {value!r}, not {hint}", options, strategy)) from None
    if isinstance(value, bool) and not isinstance(fitted, bool):
        raise ConfigError(_refusal(option.name, f"is {value!r}, not {hint}", options, strategy))
    if not _is_plain(fitted):
        raise ConfigError(_refusal(option.name, f"has a type that no config can give, {hint}", options, strategy))
    return fitted


def _refusal(name: str, what: str, options: tuple[Option, ...], strategy: str) -> str:
    listed = "; its options are " + ", ".join(map(str, options)) if options else "; it has no options"
    return f"strategy.params.{name} of {strategy!r} {what}{listed}. Set one of these, or leave it out."


def _is_plain(value: Any) -> bool:
    """Tell whether a value can travel and be written down: numbers, texts, truth values, and lists of them."""
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return type(value) in PLAIN


def _hint(default: Any) -> Any:
    """Return the type that an option without a hint has: that of its default."""
    return type(default) if type(default) in PLAIN and default is not None else Any
