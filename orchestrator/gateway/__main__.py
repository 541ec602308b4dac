"""Runs the gateway: ``python -P -m orchestrator.gateway``, which the service does."""

from orchestrator.gateway.main import main

main()
