"""What several methods use; no method itself."""
