"""The problems: what is optimised, how one start is solved, what is proved."""
