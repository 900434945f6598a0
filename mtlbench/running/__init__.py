"""Runs trials: alone, or many under Ray Tune; and everything that needs a trial rebuilt."""
