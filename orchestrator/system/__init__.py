"""The machine under the service: files, memory, clocks, logs, systemd."""
