"""Objects as both clusters take them: a shell as the container, told to the emulator by annotations. Builds only.

On a real cluster the annotations mean nothing; on the emulator the same shell runs as a process of this machine, and
what only a kernel can do to a container (out of memory) is played.
"""

from __future__ import annotations

from typing import Any

IDLE = "trap 'exit 5' TERM; echo started; while :; do sleep 1 & wait $!; done"
"""Ends at SIGTERM with code 5, at once."""
COUNTING = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.2 2>/dev/null || sleep 1; done"
CRASHING = "echo a line of this life; sleep 0.3 2>/dev/null || sleep 1; exit 3"
GREEDY = "tail /dev/zero; x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done"
TOOLS = "cat sleep stty tail"
"""What the image must have besides a shell with `echo`, `printf` and `kill`."""
NO_SERVER = "this image has none of httpd, nc, python3 and perl"
_ANSWER = "HTTP/1.0 200 OK\\r\\nContent-Length: 17\\r\\n\\r\\nhello from a pod\\n"
_PYTHON = (
    "import http.server as h, socketserver as s\n"
    "class H(h.BaseHTTPRequestHandler):\n"
    "    def do_GET(self):\n"
    "        self.send_response(200); self.end_headers(); self.wfile.write(b'hello from a pod\\n')\n"
    "s.ThreadingTCPServer.allow_reuse_address = True\n"
    "s.ThreadingTCPServer(('', 8080), H).serve_forever()"
)
_PERL = (
    "use IO::Socket::INET; my $s=IO::Socket::INET->new(LocalPort=>8080,Listen=>8,ReuseAddr=>1) or die; "
    'while(my $c=$s->accept){while(<$c>){last if /^\\s*$/} print $c "' + _ANSWER.replace("\\\\", "\\") + '"; close $c}'
)
SERVING = f"""\
w=/tmp/www; mkdir -p $w 2>/dev/null || w=/dev/shm
echo hello from a pod > $w/index.html
if command -v httpd >/dev/null; then exec httpd -f -p 8080 -h $w
elif busybox httpd --help >/dev/null 2>&1; then exec busybox httpd -f -p 8080 -h $w
elif command -v python3 >/dev/null; then exec python3 -c "$PYTHON"
elif command -v perl >/dev/null; then exec perl -e "$PERL"
elif command -v nc >/dev/null; then while :; do printf '{_ANSWER}' | nc -l -p 8080; done
else echo {NO_SERVER}; exit 42
fi
"""
SERVING_ENV = {"PYTHON": _PYTHON, "PERL": _PERL}
"""Programs for images without busybox's: an environment needs no quoting."""
NOWHERE = "127.0.0.1:9/trinity-test/nothing:missing"
"""An image that no registry has; nobody listens there on any node, so that is known at once, without a network."""


def template(app: str, image: str, script: str, *, played: str = "", memory: str = "", **env: str) -> dict[str, Any]:
    """A pod template. `played`: what the emulator shall play instead of running the script."""
    annotations = {"emulator.test/behaviour": played} if played else {"emulator.test/run": "process"}
    container: dict[str, Any] = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", script],
        "env": [{"name": name, "value": value} for name, value in env.items()],
    }
    if memory:
        container["resources"] = {"limits": {"memory": memory}, "requests": {"memory": memory}}
    spec: dict[str, Any] = {"containers": [container], "terminationGracePeriodSeconds": 2}
    return {"metadata": {"labels": {"app": app}, "annotations": annotations}, "spec": spec}


def workload(app: str, made: dict[str, Any], *, replicas: int = 1, **spec: Any) -> dict[str, Any]:
    """A Deployment, or with `serviceName` a StatefulSet."""
    inside = {"replicas": replicas, "selector": {"matchLabels": {"app": app}}, "template": made} | spec
    return {"metadata": {"name": app}, "spec": inside}


def budget(app: str, least: int) -> dict[str, Any]:
    """A PodDisruptionBudget: so many of it stay."""
    return {"metadata": {"name": app}, "spec": {"minAvailable": least, "selector": {"matchLabels": {"app": app}}}}
