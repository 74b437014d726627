"""Faults a shim holds for a drill: each with its own time limit, read back from the kernel, and verified gone.

What dies with the shim by itself: burners and memory children (their parent's death is their signal), a frozen
thread (the kernel frees what a dead tracer held), the full disk. What stays in the program and is to be undone by
pid: SIGSTOP (SIGCONT) and the descriptor limit (soft = hard).
"""
