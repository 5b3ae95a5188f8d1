"""Attacks over data sets: suites, transfer, ALMA prox, clean scores, resume and progress."""
