"""Evidence: its schema, reading, writing, queries, and the one enumerator of jobs and paths."""
