"""Null laws by simulation, and p-values from laws."""
