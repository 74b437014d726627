"""`python -m backend.daemon`."""

from backend.daemon.main import main

if __name__ == "__main__":
    main()
