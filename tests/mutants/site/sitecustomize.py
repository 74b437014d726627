"""Read by Python at each start of a process under a mutant's environment, and by nothing else."""

import os
import sys
from pathlib import Path

if os.environ.get("MUTANT"):
    sys.path.append(str(Path(__file__).resolve().parents[3]))
    from tests.mutants import hook

    hook.install(os.environ["MUTANT"], os.environ.get("MUTANT_LOG", ""))
