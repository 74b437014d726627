"""`python -m backend.daemon`."""

from backend.daemon.main import main

main()
