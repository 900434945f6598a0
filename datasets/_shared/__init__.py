"""Helpers that several datasets use; no dataset is defined here."""
