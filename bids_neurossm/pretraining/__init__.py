"""Masked autoencoding of series without labels: training, reconstruction, checkpoints of encoders."""
