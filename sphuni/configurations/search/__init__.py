"""Batches of starts, run on processes, stopped and taken up again."""
