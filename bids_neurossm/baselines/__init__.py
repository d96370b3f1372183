"""What a model has to beat: linear, kernel and site-only predictors on connectivity. No torch."""
