"""Tables, figures and the page: queries over evidence, and what they look like."""
