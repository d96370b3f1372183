"""The process of a command: environment, machine, signals, work folder, and the processes it leaves behind: none."""
