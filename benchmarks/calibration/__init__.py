"""How often each test rejects: uniform points (its size) and eight departures (its power)."""
