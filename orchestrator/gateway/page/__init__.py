"""The page: one screen on which an operator sees what needs a person, scans codes, and acts."""
