"""Trains a network through its phases: the loop, checkpoints, selection and what is measured on the way."""
