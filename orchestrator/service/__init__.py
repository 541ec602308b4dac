"""The parent process: starts the accounts' processes, watches them, carries out operators' commands."""
