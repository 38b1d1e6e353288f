"""Sends messages to one topic."""
