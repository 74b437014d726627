"""What a person has set in the console, in one JSON file: a section for each matter. Never raises, never loses a file.

Owns the file. A file that cannot be read is told and kept aside before anything is written in its place; what other
consoles wrote meanwhile is read again first, so that each keeps its sections.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Literal

import msgspec

Sections = dict[str, dict[str, object]]


class Preferences:
    """Values by section and name, each plain JSON data. Without a path they live as long as the console does."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.problem = ""
        """What is wrong with the file, a sentence; nothing where it is well."""
        self._state: Literal["well", "broken", "closed"] = "well"
        """Broken: it is not what we wrote. Closed: the system does not let us read it."""
        self._sections: Sections = {}
        self._read()

    def get(self, section: str, name: str) -> object:
        """What was last put there; None where nothing was."""
        return self._sections.get(section, {}).get(name)

    def put(self, section: str, name: str, value: object) -> str:
        """Keep a value (None forgets it), in the file too. Returns what there is to say about the file, or nothing;
        the value holds in this console either way."""
        self._read()
        kept = {key: found for key, found in self._sections.get(section, {}).items() if key != name}
        self._sections[section] = kept if value is None else {**kept, name: value}
        if self.path is None:
            return ""
        if self._state == "closed":
            return self.problem
        said = ""
        try:
            if self._state == "broken":
                aside = self._aside()
                self.path.replace(aside)
                said = f"What could not be read is kept as {aside}."
            self._write(self.path)
        except OSError as error:
            self.problem = f"{self.path} cannot be written ({error.strerror}): what is set is forgotten at the end."
            return self.problem
        self._state, self.problem = "well", ""
        return said

    def _read(self) -> None:
        """Take what the file says now over what is held; a file that says nothing leaves it."""
        if self.path is None:
            return
        try:
            found = msgspec.json.decode(self.path.read_bytes(), type=Sections)
        except FileNotFoundError:
            self._state, self.problem = "well", ""
        except OSError as error:
            self._state = "closed"
            self.problem = f"{self.path} cannot be read ({error.strerror}): what is set is forgotten at the end."
        except (msgspec.MsgspecError, RecursionError) as error:
            self._state = "broken"
            self.problem = f"{self.path} is not what the console writes ({error}): it goes by its defaults."
        else:
            self._state, self.problem = "well", ""
            self._sections |= found

    def _aside(self) -> Path:
        """A name beside the file that is not taken."""
        assert self.path is not None
        number, place = 1, self.path.with_name(f"{self.path.name}.bad")
        while place.exists():
            number += 1
            place = self.path.with_name(f"{self.path.name}.bad-{number}")
        return place

    def _write(self, path: Path) -> None:
        """All of it or nothing: a reader never sees half a file."""
        data = msgspec.json.format(msgspec.json.encode(self._sections), indent=2) + b"\n"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except OSError:
            Path(name).unlink()
            raise
