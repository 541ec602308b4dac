"""What a command keeps open until its process ends."""

from __future__ import annotations

import atexit
import contextlib
from typing import Final

UNTIL_THE_END: Final = contextlib.ExitStack()
"""What is entered here is left while Python still runs threads. Later nobody could wait for one any more."""
atexit.register(UNTIL_THE_END.close)
