"""Receives messages of one subscription."""
