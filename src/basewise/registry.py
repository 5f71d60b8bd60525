"""Components and the tables that name them.

A *component* is its settings plus one verb: a frozen, validated dataclass whose
constructor does nothing else. A *registry* is one table per kind,
`name -> "module:Class"`, imported on first use; other packages add rows through
the entry-point group `basewise.<kind>s`.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, ClassVar, TypeVar, cast, dataclass_transform

from pydantic import ConfigDict, ValidationError
from pydantic import dataclasses as pydantic_dataclasses
from pydantic_core import ErrorDetails

from basewise.errors import ConfigError, UnknownName, nearest

__all__ = ["Registry", "component", "settings_of"]

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def component(cls: type[T]) -> type[T]:
    """Make a class a component: frozen, keyword-only, validated when constructed.

    Raises
    ------
    ConfigError
        From the constructor: an unknown setting (the nearest known one is named)
        or a value that is not allowed. One line.
    """
    made = pydantic_dataclasses.dataclass(
        frozen=True,
        kw_only=True,
        config=ConfigDict(extra="forbid", arbitrary_types_allowed=True),
    )(cls)
    validate = made.__init__

    @functools.wraps(validate)
    def __init__(self: Any, **settings: Any) -> None:
        known = [field.name for field in dataclasses.fields(made)]
        for key in settings:
            if key not in known:
                raise ConfigError(
                    f"{made.__name__} has no setting {key!r}.{nearest(key, known)} "
                    f"It has {', '.join(known) or 'no settings'}.{_within(made, key, settings)}"
                )
        try:
            validate(self, **settings)
        except ValidationError as error:
            problems = "; ".join(_say(detail) for detail in error.errors())
            raise ConfigError(f"{made.__name__}: {problems}.") from None

    made.__init__ = __init__  # type: ignore[method-assign]
    return cast(type[T], made)


def _within(made: Any, key: str, settings: Mapping[str, Any]) -> str:
    """How to give a setting that is of a component inside of this one; empty if it is of none."""
    for field, table in _tables_of(made):
        asked = settings.get(field)
        names = [asked] if isinstance(asked, str) else table.names()
        having = [name for name in names if key in table.settings(name)]
        if having:
            given = {"type": having[-1], key: settings[key]}
            whose = ", ".join(map(repr, having))
            return f" It is one of {field} ({whose}), and given in a table: {field}={given}."
    return ""


def _tables_of(made: Any) -> Iterator[tuple[str, Registry]]:
    """The settings of a component that are components of a table, and that table."""
    for field, about in made.__pydantic_fields__.items():
        for rule in about.metadata:
            table = getattr(getattr(rule, "func", None), "__self__", None)
            if isinstance(table, Registry):
                yield field, table


def _say(detail: ErrorDetails) -> str:
    where = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "missing":
        return f"the setting {where!r} is needed"
    message = detail["msg"].removeprefix("Value error, ").rstrip(".")
    if not detail["loc"]:  # settings that do not go together: the message names them
        return message
    return f"{where} = {detail['input']!r}: {message[:1].lower() + message[1:]}"


def settings_of(component: Any) -> dict[str, Any]:
    """The settings of a component as plain values, nested components included."""
    return {
        field.name: _plain(getattr(component, field.name))
        for field in dataclasses.fields(component)
    }


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if not dataclasses.is_dataclass(value):
        return value
    kind = {"type": Registry.name_of(value)} if Registry.names_it(value) else {}
    return kind | settings_of(value)


class Registry:
    """The table of one kind of component.

    Parameters
    ----------
    kind : str
        What the components are, in the singular, as errors should say it.
    table : mapping of str to str
        `name -> "module:Class"`.
    """

    _names: ClassVar[dict[str, str]] = {}  # "module:Class" -> name, over all tables

    def __init__(self, kind: str, table: Mapping[str, str]):
        self.kind = kind
        self._own = dict(table)
        Registry._names |= {path: name for name, path in table.items()}

    @functools.cached_property
    def _table(self) -> dict[str, str]:
        group = entry_points(group=f"basewise.{self.kind.replace(' ', '_')}s")
        found = {point.name: point.value for point in group} | self._own
        Registry._names |= {path: name for name, path in found.items()}
        return found

    def names(self) -> list[str]:
        """Every name, sorted."""
        return sorted(self._table)

    def get(self, name: str) -> Any:
        """The class behind `name`, imported now.

        Raises
        ------
        UnknownName
            Naming the nearest known name.
        """
        if name not in self._table:
            raise UnknownName(self.kind, name, self._table)
        module, _, attribute = self._table[name].partition(":")
        return getattr(import_module(module), attribute)

    def settings(self, name: Any) -> list[str]:
        """The settings of the component of a name; none where there is no such name."""
        cls = self.get(name) if name in self._table else None
        return (
            [field.name for field in dataclasses.fields(cls)]
            if dataclasses.is_dataclass(cls)
            else []
        )

    def _as_table(self, given: str) -> str:
        """How to give what `windows:5` or `windows(size=5)` says; empty where it says nothing."""
        found = re.fullmatch(r"(\w+)\W+(?:(\w+)\s*=\s*)?([\w.]+)\W*", given)
        settings = self.settings(found[1]) if found else []
        if not found or not settings:
            return ""
        value: Any = found[3]
        with suppress(ValueError, SyntaxError):
            value = ast.literal_eval(value)
        table = {"type": found[1], found[2] or settings[0]: value}
        return f"settings are given in a table: {self.kind.split()[-1]}={table}"

    def build(self, given: Any) -> Any:
        """A component from its name, from a table with `type`, or from itself.

        Raises
        ------
        ConfigError
            If there is no such name or setting, or it is none of these.
        """
        if isinstance(given, int | float | list | tuple):
            raise ConfigError(
                f"{given!r} is no {self.kind}; give a name or a table with 'type'; one of "
                f"{', '.join(self.names())}."
            )
        if isinstance(given, str):
            if given not in self._table and (said := self._as_table(given)):
                raise ConfigError(f"{said}.")
            given = {"type": given}
        if not isinstance(given, Mapping):
            return given
        settings = dict(given)
        if "type" not in settings:
            raise ConfigError(
                f"A table for a {self.kind} needs the key 'type'; one of {', '.join(self.names())}."
            )
        name = settings.pop("type")
        made = self.get(name)
        try:
            return made(**settings)
        except ConfigError as error:
            if isinstance(error, UnknownName):
                raise
            # A component speaks of its class; who wrote the table knows its name.
            said = str(error).removeprefix(made.__name__)
            said = said if said.startswith((": ", " has no setting ")) else f": {error}"
            raise type(error)(f"{self.kind} {name!r}{said}") from None

    @staticmethod
    def names_it(component: Any) -> bool:
        """Whether the component's class is in a table."""
        return Registry.name_of(component) != type(component).__name__

    @staticmethod
    def name_of(component: Any) -> str:
        """The name a component is registered under; its class name if it is in no table."""
        cls = component if isinstance(component, type) else type(component)
        return Registry._names.get(f"{cls.__module__}:{cls.__qualname__}", cls.__name__)
