"""Files read and written: whole or not at all, with limits, hashes and one sentence for what cannot be used."""
