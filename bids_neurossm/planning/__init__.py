"""What a command is about to do: series, labels, atlas, reference, baselines. Nothing is trained or written here."""
