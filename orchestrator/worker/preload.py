"""What the fork server imports before it forks, so that children share it: all but neonize and Go's library.

neonize itself must not be among it: its import loads Go's library and starts a thread, and neither survives a
fork. What it imports in its turn does, and is most of what a child would have to import.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import sys
from types import ModuleType

MODULES = (
    # neonize 0.5.2's own imports
    "asyncio",
    "bs4",
    "concurrent.futures.process",
    "concurrent.futures.thread",
    "ctypes.util",
    "google.protobuf.descriptor",
    "google.protobuf.descriptor_pool",
    "google.protobuf.internal.builder",
    "google.protobuf.internal.containers",
    "google.protobuf.message",
    "google.protobuf.runtime_version",
    "google.protobuf.symbol_database",
    "httpx",
    "linkpreview",
    "magic",
    "phonenumbers",
    "PIL.Image",
    "PIL.ImageSequence",
    "PIL.PngImagePlugin",
    "platform",
    "requests",
    "segno",
    "shlex",
    "tqdm",
    "uuid",
    # ours
    "multiprocess.connection",
    "qrcode",
    "sqlite3",
    "orchestrator.qr",
    "orchestrator.worker.main",
)
"""A missing one is no harm here: whoever needs it says so."""
MESSAGES = (
    "neonize.proto.Neonize_pb2",
    "neonize.proto.waAICommon.WAWebProtobufsAICommon_pb2",
    "neonize.proto.waAICommonDeprecated.WAAICommonDeprecated_pb2",
    "neonize.proto.waCommon.WACommon_pb2",
    "neonize.proto.waCompanionReg.WAWebProtobufsCompanionReg_pb2",
    "neonize.proto.waConsumerApplication.WAConsumerApplication_pb2",
    "neonize.proto.waE2E.WAWebProtobufsE2E_pb2",
    "neonize.proto.waMsgApplication.WAMsgApplication_pb2",
)
"""Those of neonize's own modules that protobuf has generated: they make types of messages, no more."""


def load() -> None:
    """Import them, and keep the garbage collector from writing to what is shared."""
    for name in MODULES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    with contextlib.suppress(Exception):  # whatever it is, the child meets it again, and can say so
        load_messages()
    gc.collect()
    gc.freeze()


def load_messages() -> None:
    """Import neonize's message types without neonize: 4 MB and a third of the CPU of a child's start.

    An empty package takes neonize's place meanwhile. A child that imports neonize gets the real one, which
    finds these modules imported already.
    """
    found = importlib.util.find_spec("neonize")
    if found is None or "neonize" in sys.modules:
        return
    package = ModuleType("neonize")
    package.__path__ = list(found.submodule_search_locations or ())
    sys.modules["neonize"] = package
    try:
        for name in MESSAGES:
            importlib.import_module(name)
    finally:
        del sys.modules["neonize"]


load()
