"""How good predictions are: metrics, intervals, calibration, comparisons. No torch, no files."""
