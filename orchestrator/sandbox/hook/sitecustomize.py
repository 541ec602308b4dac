"""Lets neonize take the sandbox for WhatsApp, without a change to neonize or to the program that uses it.

Python imports a module of this name whenever it starts with this folder on PYTHONPATH, so the client, its
spawned and forked children and the fork server between them all get it. Where ORCHESTRATOR_SANDBOX_ROOT_KEY
is set (64 hex digits: the public key that signs the sandbox's Noise certificates), that key takes the place
of WhatsApp's in the memory of every process that loads neonize's library, as soon as it is loaded. A process
changed like this can no longer talk to the real WhatsApp, whose certificates do not verify any more.

This file stands alone: it cannot count on the package it is shipped with, and as every Python program of
that environment starts with it, it imports nothing that Python has not loaded by then.
"""
# pathlib would be the dearest import of all:
# ruff: noqa: PTH100, PTH119, PTH120, PTH123

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any

VARIABLE = "ORCHESTRATOR_SANDBOX_ROOT_KEY"
WHATSAPP = bytes.fromhex("142375574d0a587166aae71ebe516437c4a28b73e3695c6ce1f7f9545da8ee6b")
"""The key whatsmeow is compiled with (its WACertPubKey), which neonize's library holds once."""


class RootKeyError(OSError, RuntimeError):
    """The key cannot be put in place, so neonize must not be used.

    It is an OSError because neonize takes any other error while loading its library for a damaged
    download, and would go and fetch that library three times.
    """


class Trigger:
    """A finder of modules that finds none, but learns first that neonize is about to be imported.

    Args:
        text: The key as the environment has it.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._pulled = False

    def find_spec(
        self, name: str, _path: "Sequence[str] | None" = None, _target: "ModuleType | None" = None
    ) -> None:
        """Watch the loading of libraries from now on, if the module is neonize's.

        Raises:
            ImportError: The key is malformed. Said here because Python hides the errors of a sitecustomize.
        """
        # It stays in sys.meta_path for good: the import system is walking that list right now.
        if name.startswith("neonize") and not self._pulled:
            watch_libraries(parse_key(self._text))
            self._pulled = True


def parse_key(text: str) -> bytes:
    """Read the 32 bytes of a key from hex.

    Raises:
        ImportError: It is no such key, or is WhatsApp's own.
    """
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ImportError(
            f"{VARIABLE} must be the 64 hex digits of the sandbox's root key, not {text!r}: set it to what"
            " `orchestrator sandbox env` prints, or unset it to use the real WhatsApp"
        )
    if key == WHATSAPP:
        raise ImportError(f"{VARIABLE} is WhatsApp's own key; unset it to use the real WhatsApp")
    return key


def watch_libraries(key: bytes) -> None:
    """Replace the key in every library of neonize's that ctypes loads from now on, however and whenever."""
    import ctypes

    # CDLL itself, reached through its subclass: a program may have put a stand-in at ctypes.CDLL in order to
    # import neonize without its library. Changing the class covers its subclasses and LoadLibrary too.
    loader: Any = ctypes.PyDLL.__mro__[1]
    load = loader.__init__

    def load_and_replace(self: "ctypes.CDLL", *args: object, **kwargs: object) -> None:
        load(self, *args, **kwargs)
        path = os.fsdecode(self._name or "")
        # A copy in memory is opened by its descriptor, and is then known as "/memfd:neonize-… (deleted)".
        names = {os.path.basename(one).removeprefix("memfd:") for one in (path, os.path.realpath(path))}
        if any(name.startswith("neonize-") for name in names):
            replace_key(self, path, key)

    loader.__init__ = load_and_replace


def replace_key(library: "ctypes.CDLL", path: str, key: bytes) -> None:
    """Write the key over WhatsApp's in a library that is loaded, unless that has been done.

    Raises:
        RootKeyError: The library does not hold exactly one of the two, once.
    """
    import ctypes

    try:
        places = writable_memory(library)
    except (AttributeError, OSError) as error:
        raise RootKeyError(f"cannot look for WhatsApp's root key in {path}: {error}") from error
    # Two threads may be here at once. There is no lock, which a fork could leave locked for ever: what each
    # looks at is one copy of the memory, and what it writes is written in one step under the GIL, so each
    # sees either key whole and writes the same.
    found = []
    own = 0
    for start, size in places:
        memory = ctypes.string_at(start, size)
        own += memory.count(key)
        offset = memory.find(WHATSAPP)
        while offset >= 0:
            found.append(start + offset)
            offset = memory.find(WHATSAPP, offset + 1)
    if len(found) + own != 1:
        raise RootKeyError(
            f"{path} holds WhatsApp's root key {len(found)} times and the sandbox's {own} times, where one of"
            " them should be there once: the sandbox does not know this version of neonize"
        )
    for address in found:
        (ctypes.c_char * len(key)).from_address(address).raw = key


def writable_memory(library: "ctypes.CDLL") -> list[tuple[int, int]]:
    """Return address and size of each piece of a loaded library's file that is mapped writable.

    Raises:
        AttributeError: It is not neonize's library.
        OSError: The system does not tell.
    """
    import ctypes

    # Where one of its functions is tells which file is the library's. Names are no help: that of the file may
    # be a link to another, or have been deleted or given to a new file since.
    inside = ctypes.cast(library["GetVersion"], ctypes.c_void_p).value or 0
    files = set()
    pieces = []
    with open("/proc/self/maps", "rb") as maps:
        for line in maps:
            limits, permissions, _, device, inode, *_ = line.split()
            start, end = (int(limit, 16) for limit in limits.split(b"-"))
            if start <= inside < end:
                files.add((device, inode))
            if permissions.startswith(b"rw"):
                pieces.append((start, end - start, (device, inode)))
    return [(start, size) for start, size, file in pieces if file in files]


def run_next() -> None:
    """Import the sitecustomize that this one hides, if there is one; its errors are its own."""
    here = os.path.dirname(os.path.abspath(__file__))
    folders = [os.path.abspath(entry) for entry in sys.path]
    further = sys.path[folders.index(here) + 1 :] if here in folders else []
    for finder in sys.meta_path:
        spec = finder.find_spec("sitecustomize", further)
        if spec is not None and spec.loader is not None:
            import importlib.util

            module = importlib.util.module_from_spec(spec)
            sys.modules["sitecustomize"] = module
            spec.loader.exec_module(module)
            return


_text = os.environ.get(VARIABLE)
if _text is not None:
    sys.meta_path.insert(0, Trigger(_text))
run_next()
