"""Schedules, predictions, denoisers, and the samplers that ask them."""
