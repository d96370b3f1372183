"""The command line: arguments, exit codes, progress, the demo. No science, and nothing heavy until it is needed."""
