"""Explorers: one widget per record type."""
