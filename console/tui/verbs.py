"""Verbs."""


class Verbs:
    def __init__(self, app: object) -> None: ...
