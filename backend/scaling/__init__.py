"""Policies, which are pure, and the controller that asks one of them once a second."""
