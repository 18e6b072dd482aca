"""Native loops: a kernel's formula as text, compiled for one dimension and type."""
