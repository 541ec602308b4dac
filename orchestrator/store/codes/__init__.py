"""QR codes: drawn, and put into the folder that other programs watch."""
