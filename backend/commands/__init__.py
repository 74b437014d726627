"""What each `trinity` command does, without a screen: one module per family of commands."""
