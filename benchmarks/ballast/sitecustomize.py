"""Makes the fork server large, so that its children are over any `memory_limit`: by the environment alone.

With this folder on PYTHONPATH and ORCHESTRATOR_TEST_BALLAST set, the fork server holds that many bytes. Each
of its children has a share of them in its own memory (PSS), as if it had grown.
"""

import os
import sys

if os.environ.get("ORCHESTRATOR_TEST_BALLAST") and any("forkserver" in one for one in sys.orig_argv):
    BALLAST = b"\1" * int(os.environ["ORCHESTRATOR_TEST_BALLAST"])
