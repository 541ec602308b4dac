"""What all sections of the configuration have in common."""

from __future__ import annotations

import dataclasses
from types import UnionType
from typing import Any, ClassVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, model_validator

from orchestrator.config import types
from orchestrator.config.yaml_tree import Scalar


def default_of(cls: type, name: str) -> Any:  # noqa: ANN401 - whatever the field holds
    """Return the default of a field of the settings: no default is written twice."""
    return next(field.default for field in dataclasses.fields(cls) if field.name == name)


def as_mapping(value: Any, expected: str = "a mapping of keys to values") -> object:  # noqa: ANN401
    """Take a blank section as an empty one, and refuse everything else that is no mapping."""
    if isinstance(value, dict | BaseModel):
        return value
    if isinstance(value, Scalar) and value.type == "nothing":
        return {}  # `accounts:` and then nothing: a fresh file, or everything in it commented out
    raise types.Unfit(expected, types.kind(value))


class Section(BaseModel):
    """A mapping of keys to values. The values come in as nodes of the YAML tree.

    Attributes:
        place: Where the section stands, for a message about a key in the wrong place.
        required: Keys without a default.
    """

    # A value may be a password, so pydantic must not show any.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    place: ClassVar[str]
    required: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _check_form(cls, value: object) -> object:
        return as_mapping(value)

    def given(self) -> dict[str, Any]:
        """Return the values that stand in the file, without those of keys that were left out."""
        return {
            name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set
        }


def section_of(section: type[Section], key: str) -> type[Section] | None:
    """Return the section that a key holds, possibly beside null; None if the key has a value."""
    annotation = section.model_fields[key].annotation
    alternatives = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    for one in alternatives:
        if isinstance(one, type) and issubclass(one, Section):
            return one
    return None
