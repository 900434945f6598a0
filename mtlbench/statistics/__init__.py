"""Pure functions of records: Δ, intervals and tests, agreement of plans, sums over corruptions, selection bias."""
