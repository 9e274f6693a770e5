"""Where facts come from when they are asked for again: one module a kind of source."""
