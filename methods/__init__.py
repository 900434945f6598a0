"""Methods: an architecture or a strategy each, in a file or a package that is named as the method is."""

DEFAULT_ARCHITECTURE = "hard_sharing"
"""What a strategy alone is run on: `pcgrad` means `hard_sharing+pcgrad`."""

DEFAULT_STRATEGY = "equal"
"""What an architecture alone is trained with."""

REFERENCE = "single_task"
"""The method that Δ is measured against; its trials are scheduled by themselves when they are missing."""
