"""Where searches start, and how they go on from one optimum to another."""
