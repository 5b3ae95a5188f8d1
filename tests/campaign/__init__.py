"""A campaign that tries to break the project: `python -m tests.campaign`, docs/reliability.md."""
