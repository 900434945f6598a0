"""From a dataset plugin to batches: prepared once into memory-mapped arrays, then served, shuffled and augmented."""
