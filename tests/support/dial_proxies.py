"""A program: has neonize dial through the proxies on stdin (JSON), and prints what each raised, as JSON."""

import json
import os
import sys
from pathlib import Path

from neonize import client
from neonize._binder import ProxySettings


def main() -> None:
    """Run."""
    one = client.NewClient(str(Path(sys.argv[1]) / "session.sqlite3"))
    errors = []
    for url in json.load(sys.stdin):
        try:
            one.connect(ProxySettings(url))
        except client.NeonizeError as error:
            errors.append(str(error))
        else:
            errors.append("it returned")
    print(json.dumps(errors), flush=True)
    os._exit(0)  # Go's threads would go on


if __name__ == "__main__":
    main()
