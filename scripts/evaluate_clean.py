"""Evaluate a model on unperturbed images."""
