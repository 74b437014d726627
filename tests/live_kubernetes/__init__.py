"""Tests that run against a real cluster and, as they stand, against the emulated one.

`pytest -m live_kubernetes` takes the cluster that KUBECONFIG names (its current context, which must be allowed to make
a namespace) and needs one image, TRINITY_TEST_IMAGE, with `/bin/sh` and busybox-like tools. Everything is made in a
namespace `trinity-test-…` that is removed at the end. Without that marker the same tests run on the emulator.
"""
