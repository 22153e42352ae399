"""What a stranger's model meets before our own process touches it: a child process with limits (`admission` asks, `child` answers)."""
