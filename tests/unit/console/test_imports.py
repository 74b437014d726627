"""State and renderers stay free of the screen libraries; the console's start loads only what its first frame needs."""

from __future__ import annotations

import subprocess
import sys


def loaded_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_state_and_render_load_no_screen_library():
    modules = loaded_after(
        "import console.state.simulator, console.state.table, console.state.log_explorer, console.state.late_source\n"
        "import console.render.panels, console.render.charts, console.render.detail, console.render.theme\n"
        "import console.render.ledger_columns, console.render.layout"
    )
    assert not {name for name in modules if name.split(".")[0] in ("textual", "rich")}


def test_the_first_frame_loads_no_client_and_no_view_that_is_not_shown():
    modules = loaded_after("import console.tui.app")
    unwanted = {"httpx", "polars", "console.tui.views.detail", "console.tui.dialogs", "console.tui.log_pane"}
    assert not unwanted & modules
    assert not {name for name in modules if name.startswith("console.tui.views.") and name.endswith("requests")}
