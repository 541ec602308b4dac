"""Reads a file that a client uploads, as it comes: the body itself, or the file of a form (RFC 7578)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from orchestrator.errors import OrchestratorError

FORM: Final = "multipart/form-data"
MOST_PARTS: Final = 32
"""Parts of a form."""
MOST_FIELD: Final = 4096
"""Bytes of a part that is no file."""
MOST_HEADERS: Final = 8192
"""Bytes of the headers of a part. Not every version of the parser has a bound of its own."""


class Incoming:
    """A file on its way.

    Args:
        request: The request. Its body is read by `pieces`, and by nobody else.

    Attributes:
        fields: The other fields of the form, as far as the form has been read: all of them after `pieces`.
        name: What the client calls the file, None if it does not say; known with the first piece.
        media_type: What the client says the file is, in small letters, empty if it does not say.
        has_file: Whether there was a file.
    """

    def __init__(self, request: Request) -> None:
        kind, options = parse_options_header(request.headers.get("content-type", "")[:1000])
        self.fields: dict[str, str] = {}
        self.name: str | None = None
        self._is_form = kind == FORM.encode()
        self.media_type = "" if self._is_form else kind.decode("latin-1")
        self.has_file = not self._is_form
        self._request = request
        self._boundary = options.get(b"boundary", b"")
        self._pieces: list[bytes] = []
        self._parts = self._header_bytes = 0
        self._header: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self._headers: dict[bytes, bytes] = {}
        self._field: str | None = None
        self._value = bytearray()
        self._is_over = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the bytes of the file.

        Raises:
            OrchestratorError: The body is no valid form (`bad_request`), or has no file (`file_missing`).
        """
        if not self._is_form:
            async for piece in self._request.stream():
                if piece:
                    yield piece
            return
        parser = self._parser()
        async for data in self._request.stream():
            try:
                if data:
                    parser.write(data)
            except (FormParserError, ValueError):
                raise _bad("the form cannot be read") from None
            for piece in self._pieces:
                yield piece
            self._pieces.clear()
        if not self._is_over:
            raise _bad("the form has no end")
        if not self.has_file:
            raise OrchestratorError("the form has no file", key="file_missing")

    def _parser(self) -> MultipartParser:
        try:
            return MultipartParser(
                self._boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": lambda data, start, end: self._take_header(0, data[start:end]),
                    "on_header_value": lambda data, start, end: self._take_header(1, data[start:end]),
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._take,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except (FormParserError, ValueError):
            raise _bad("the form has no usable boundary") from None

    # What the parser calls

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise _bad("the form has too many parts")
        self._headers.clear()
        self._header_bytes = 0
        self._value.clear()
        self._field = None

    def _take_header(self, which: int, data: bytes) -> None:
        self._header_bytes += len(data)
        if self._header_bytes > MOST_HEADERS:
            raise _bad("the headers of a part of the form are too long")
        self._header[which].extend(data)

    def _end_header(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        name.clear()
        value.clear()

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" not in options and name != "file":
            self._field = name
            return
        if self.has_file:
            raise _bad("the form has more than one file")
        self.has_file = True
        self.name = options.get(b"filename", b"").decode("utf-8", "replace") or None
        kind, _ = parse_options_header(self._headers.get(b"content-type", b""))
        self.media_type = kind.decode("latin-1")

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self._pieces.append(data[start:end])
            return
        self._value += data[start:end]
        if len(self._value) > MOST_FIELD:
            raise _bad("a field of the form is too long")

    def _end_part(self) -> None:
        if self._field is not None:
            self.fields[self._field] = self._value.decode("utf-8", "replace")

    def _end(self) -> None:
        self._is_over = True


def _bad(why: str) -> OrchestratorError:
    return OrchestratorError(why, key="bad_request")
