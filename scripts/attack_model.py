"""Attack a model with a suite at one radius, and write the evidence."""
