"""Tables: one file each, and how they are printed."""
