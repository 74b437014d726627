"""What a fleet's edge is made with."""

from __future__ import annotations

from pathlib import Path

from backend.daemon.edges import stats_password


def test_the_password_of_the_statistics_page_is_made_once_and_for_this_user_only(tmp_path: Path) -> None:
    path = tmp_path / "stats.password"
    word = stats_password(path)
    assert len(word) >= 24 and stats_password(path) == word
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("")  # what a crash between two steps could leave
    assert len(stats_password(path)) >= 24
