"""From an experiment to trials: each one a specification with a protocol card and an id."""
