"""Tests that run against a real cluster and, as they stand, against the emulated one.

`pytest -m live_kubernetes` takes the cluster that KUBECONFIG names (its current context, which must be allowed to do
everything: namespaces, roles, cordoned nodes) and needs one image, TRINITY_TEST_IMAGE, with `/bin/sh` and busybox-like
tools (busybox, alpine, debian). Everything is made in a namespace `trinity-test-…` that is removed at the end, nodes
are as they were. What a cluster does not let us do is said before the first test. Without that marker the same tests
run on the emulator.
"""
