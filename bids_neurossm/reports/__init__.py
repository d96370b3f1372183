"""HTML reports, made from what is on disk in OUT_DIR alone."""
