"""The commands `sandbox …`."""
