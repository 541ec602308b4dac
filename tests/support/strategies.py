"""Messages of the library's, drawn by their definitions: whatever a peer may send."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from support.protobufs import ADA, GROUP, Proto

NASTY = st.sampled_from(
    [
        "",
        " ",
        "\0",
        "\u202e",
        "../../x",
        "a" * 300,
        "\N{GRINNING FACE}" * 300,
        "x@lid",
        ADA,
        GROUP,
        ":@:",
        "@",
        '{"id": 1}',
        '{"id": "1", "display_text": "\\ud800"}',
        "[" * 3000,
        "text/html\r\nX: y",
        "CON",
        "BEGIN:VCARD\nTEL;waid=1:\nTEL:+49 151 00002\nitem1.TEL;waid=4915100002:x",
    ]
)
TEXTS = NASTY | st.text(max_size=20)
WHOLE = st.sampled_from([0, 1, 2, 7, 2**31 - 1, 2**32 - 1])


def scalars(field: Proto) -> st.SearchStrategy[Any]:
    match field.cpp_type:
        case field.CPPTYPE_STRING if field.type == field.TYPE_BYTES:
            return st.binary(max_size=40) | st.just(b"x" * 32)
        case field.CPPTYPE_STRING:
            return TEXTS
        case field.CPPTYPE_BOOL:
            return st.booleans()
        case field.CPPTYPE_ENUM:
            return st.sampled_from([value.number for value in field.enum_type.values])
        case field.CPPTYPE_DOUBLE | field.CPPTYPE_FLOAT:
            return st.floats(width=32)
        case field.CPPTYPE_INT32:
            return st.integers(-(2**31), 2**31 - 1)
        case field.CPPTYPE_UINT32:
            return WHOLE
        case field.CPPTYPE_INT64:
            return st.integers(-(2**63), 2**63 - 1)
        case _:
            return WHOLE | st.just(2**64 - 1)


@st.composite
def messages(draw: st.DrawFn, kind: Proto, depth: int = 4, first: str | None = None) -> Proto:
    """Draw a message with some of its fields, and one of them in any case."""
    made = kind()
    fields = kind.DESCRIPTOR.fields
    names = draw(st.sets(st.sampled_from([one.name for one in fields]), max_size=3)) if fields else set()
    for name in sorted(names | ({first} if first else set())):
        field = kind.DESCRIPTOR.fields_by_name[name]
        if field.message_type is None:
            if field.is_repeated:
                getattr(made, name).extend(draw(st.lists(scalars(field), max_size=4)))
            else:
                setattr(made, name, draw(scalars(field)))
        elif field.is_repeated:
            inner = messages(field.message_type._concrete_class, depth - 1)
            getattr(made, name).extend(draw(st.lists(inner, max_size=3)) if depth else [])
        elif depth:
            getattr(made, name).CopyFrom(draw(messages(field.message_type._concrete_class, depth - 1)))
        else:
            getattr(made, name).SetInParent()
    return made
