"""What is read from and written to BIDS datasets: queries, names, labels, sidecars, atomic writes."""
