"""What an account's process does where it cannot be confined; the rest is in tests/process."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from orchestrator.system import interpreter

CODE = """
import json, os, sys, threading
from pathlib import Path
from orchestrator.worker import confining
from orchestrator.worker.spec import ChildSpec

threading.Thread(target=threading.Event().wait, daemon=True).start()  # so it cannot be done
folder = Path(sys.argv[1])
spec = ChildSpec("a", folder / "session.sqlite3", folder / "session.lock", confine=sys.argv[2])
confined = confining.confine(spec)
outcome = confined.outcome
print(json.dumps([confined.missing, outcome and [outcome.kind.value, outcome.text]]))
"""


@pytest.mark.parametrize(("mode", "missing"), [("auto", "fault"), ("required", "fault"), ("off", "off")])
def test_who_cannot_be_confined_says_so(tmp_path: Path, mode: str, missing: str) -> None:
    line = interpreter.script(CODE, str(tmp_path), mode)
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    said, outcome = json.loads(done.stdout)
    assert said == missing
    assert ("the process could not be confined: 2 threads run already" in done.stderr) == (mode != "off")
    if mode == "required":
        kind, text = outcome
        assert kind == "machine"
        assert "could not be confined" in text
    else:
        assert outcome is None
