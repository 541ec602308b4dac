"""What a process gives up before it handles what strangers send."""

from __future__ import annotations

from orchestrator.system.cores import keep_out_of_cores

__all__ = ["keep_out_of_cores"]
