"""What else could explain a result: permuted labels, confounds, motion and site probes, fingerprints. No torch."""
