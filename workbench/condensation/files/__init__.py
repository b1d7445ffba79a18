"""Distilled images as files: written for other programs, and others' read."""
