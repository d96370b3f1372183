"""What a group analysis writes: its cells, tables, maps, model card and methods text."""
