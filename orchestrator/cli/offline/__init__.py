"""What commands show and change while no service runs."""
