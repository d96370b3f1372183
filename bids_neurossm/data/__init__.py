"""Data that ship with the package: atlases, denoising strategies, recipes, class-to-term tables, report templates."""
