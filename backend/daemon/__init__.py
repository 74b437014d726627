"""trinityd: the control process. Wires all parts, serves the control API, owns no logic of its own."""
