"""The paper's claims: their language, verdicts and report."""
