"""What is kept of the accounts on disk: sessions, codes, histories, operators' wishes."""
