"""Named by the cases' specs; never imported."""
