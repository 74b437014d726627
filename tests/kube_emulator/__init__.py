"""A Kubernetes API server for tests: storage, watches, subresources, rights and faults as the real one has them, with a
small controller-manager, scheduler and kubelet. Stands alone: imports nothing of backend or console.
"""

from tests.kube_emulator.emulator import ADMIN_TOKEN, Emulator

__all__ = ["ADMIN_TOKEN", "Emulator"]
