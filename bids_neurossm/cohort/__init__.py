"""Many runs as one dataset: the store, the splits, surrogates and duplicates. No torch."""
