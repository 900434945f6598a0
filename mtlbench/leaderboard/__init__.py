"""Leaderboards: what is drawn from records, and from nothing else. Nothing in here trains, or needs torch."""
