"""Writes the corpus of malformed drill files: `python -m tests.fuzz.scenario_corpus`.

Half of it is made by hand, one way each in which people and programs break a file; the rest is a sound drill damaged
by a seeded hand. The files are kept in the repository, so that the corpus is the same for everybody. A file that the
reader would take is no member.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from backend.contract.errors import UsageError
from backend.drills.check import load_scenario

CORPUS = Path(__file__).parent / "scenarios"
SIZE = 200
SEED = 20261121

BASE = """\
drill: 1
name: sample
title: A sound drill to be damaged
about: Nothing is proven by it.
tags: [core, inference]
seed: 7
targets:
  pool: {workload: llm, replicas: 2}
  victim: {from: pool, pick: busiest}
safety:
  environments: [dev, staging]
  blast_radius: {max_down: 1, keep_healthy: 1}
  max_runtime: 120s
  fault_ttl: 30s
  lease: {heartbeat: 250ms, expires: 1s, on_controller_loss: rollback}
load:
  chat:
    kind: chat-stream
    arrival: {model: poisson, rate: "min(4/s, 0.5 * capacity(pool, replicas=1))"}
    request: {max_tokens: 16, deadline: 20s, slow_over: 5s}
hypothesis:
  - {id: right, expr: "wrong(chat) == 0", grace: 1s}
abort:
  - {expr: "failed(chat, last=5s) > 10", for: 500ms, do: rollback}
phases:
  - name: baseline
    hold: {for: 10s, min_requests: {chat: 20}}
    gate: true
    expect: ["ok_ratio(chat) == 1.0"]
  - name: kill
    inject:
      - id: kill
        fault: process.kill
        target: victim
        signal: KILL
        respawn: held
        when: "in_flight(victim) >= 1"
        within: 10s
        verify: [pid_gone]
    hold: {for: 10s, min_requests: {chat: 20}}
    expect: ["failed(chat) == 0", "detect(kill) <= 500ms"]
  - name: recovery
    heal: [kill]
    until: {expr: "healthy(pool) == 2", within: 15s}
    hold: {for: 5s}
    expect: ["p95(ttft(chat)) <= 3 * baseline.p95(ttft(chat))"]
report: {formats: [json, junit, md], compare: {with: last-pass, fail_on: regression}}
"""


def swapped(old: str, new: str) -> bytes:
    """The sound drill with one place changed."""
    if BASE.count(old) < 1:
        raise ValueError(f"the sound drill has no {old!r}")
    return BASE.replace(old, new, 1).encode()


SWAPS: tuple[tuple[str, str, str], ...] = (
    # unknown, missing and repeated keys
    ("unknown-top-key", "seed: 7", "sede: 7"),
    ("unknown-target-key", "replicas: 2}", "replicsa: 2}"),
    ("unknown-lease-key", "expires: 1s", "expire: 1s"),
    ("unknown-load-key", "kind: chat-stream", "kindof: chat-stream"),
    ("unknown-hold-key", "{for: 5s}", "{during: 5s}"),
    ("unknown-injection-key", "respawn: held", "respawned: held"),
    ("unknown-report-key", "formats:", "format:"),
    ("duplicate-top-key", "seed: 7", "seed: 7\nseed: 8"),
    ("duplicate-target", "  victim: {from: pool, pick: busiest}", "  pool: {workload: llm}"),
    ("duplicate-key-in-flow", "max_down: 1, keep", "max_down: 1, max_down: 2, keep"),
    ("missing-version", "drill: 1\n", ""),
    ("missing-title", "title: A sound drill to be damaged\n", ""),
    ("missing-rate", ', rate: "min(4/s, 0.5 * capacity(pool, replicas=1))"', ""),
    ("missing-hold", "    hold: {for: 5s}\n", ""),
    ("missing-fault", "        fault: process.kill\n", ""),
    # YAML cleverness
    ("anchor", "tags: [core", "tags: &t [core"),
    ("alias-without-anchor", "seed: 7", "seed: *seed"),
    ("merge-key", "  victim: {from", "  <<: {a: 1}\n  victim: {from"),
    ("custom-tag", "seed: 7", "seed: !secret 7"),
    ("python-tag", "title: A sound", "title: !!python/name:os.system A sound"),
    ("standard-tag", "seed: 7", 'seed: !!int "7"'),
    ("two-documents", "targets:\n", "---\ntargets:\n"),
    ("directive", "drill: 1\n", "%YAML 3.0\n---\ndrill: 1\n"),
    ("complex-key", "seed: 7", "? [a, b]\n: 7"),
    ("sequence-as-key", "  pool: {workload", "  [pool]: {workload"),
    # types
    ("version-two", "drill: 1", "drill: 2"),
    ("version-text", "drill: 1", 'drill: "one"'),
    ("seed-float", "seed: 7", "seed: 7.5"),
    ("seed-text", "seed: 7", "seed: seven"),
    ("seed-hex", "seed: 7", "seed: 0x7"),
    ("seed-huge", "seed: 7", "seed: 99999999999999999999999999"),
    ("seed-null", "seed: 7", "seed: ~"),
    ("seed-list", "seed: 7", "seed: [7]"),
    ("name-number-list", "name: sample", "name: [sample]"),
    ("name-empty", "name: sample", "name: ''"),
    ("name-spaces", "name: sample", "name: a sample"),
    ("name-path", "name: sample", "name: ../../etc/passwd"),
    ("name-long", "name: sample", f"name: {'x' * 400}"),
    ("title-null", "title: A sound drill to be damaged", "title:"),
    ("tags-text", "tags: [core, inference]", "tags: core"),
    ("tags-mapping", "tags: [core, inference]", "tags: {core: true}"),
    ("gate-yes", "gate: true", "gate: yes"),
    ("gate-number", "gate: true", "gate: 1"),
    ("targets-list", "targets:\n  pool: {workload: llm, replicas: 2}\n  victim:", "targets:\n  - victim:"),
    ("phases-mapping", "  - name: recovery", "  name: recovery"),
    ("replicas-text", "replicas: 2}", "replicas: two}"),
    ("replicas-zero", "replicas: 2}", "replicas: 0}"),
    ("infinite-number", "max_tokens: 16", "max_tokens: .inf"),
    ("not-a-number", "keep_healthy: 1", "keep_healthy: .nan"),
    # units
    ("duration-without-unit", "max_runtime: 120s", "max_runtime: 120"),
    ("duration-wrong-unit", "fault_ttl: 30s", "fault_ttl: 30sec"),
    ("duration-negative", "fault_ttl: 30s", "fault_ttl: -30s"),
    ("duration-with-space", "heartbeat: 250ms", "heartbeat: 250 ms"),
    ("duration-text", "deadline: 20s", "deadline: soon"),
    ("duration-empty", "slow_over: 5s", "slow_over: ''"),
    ("lease-too-short", "expires: 1s", "expires: 300ms"),
    ("heartbeat-too-fast", "heartbeat: 250ms", "heartbeat: 1ms"),
    ("runtime-too-short", "max_runtime: 120s", "max_runtime: 20s"),
    ("deadline-zero", "deadline: 20s", "deadline: 0s"),
    # words
    ("unknown-kind", "kind: chat-stream", "kind: chat-streem"),
    ("unknown-arrival", "model: poisson", "model: uniform"),
    ("unknown-signal", "signal: KILL", "signal: SIGKILL"),
    ("unknown-respawn", "respawn: held", "respawn: never"),
    ("unknown-pick", "pick: busiest", "pick: lazy"),
    ("unknown-do", "do: rollback}", "do: continue}"),
    ("unknown-format", "formats: [json", "formats: [pdf"),
    ("unknown-fail-on", "fail_on: regression", "fail_on: anything"),
    ("unknown-loss-policy", "on_controller_loss: rollback", "on_controller_loss: continue"),
    # faults, proofs, keys of another fault
    ("unknown-fault", "fault: process.kill", "fault: process.murder"),
    ("fault-typo", "fault: process.kill", "fault: proces.kill"),
    ("proof-unknown", "verify: [pid_gone]", "verify: [pid_missing]"),
    ("proof-of-another", "verify: [pid_gone]", "verify: [proc_state_T]"),
    ("no-proof", "verify: [pid_gone]", "verify: []"),
    ("key-of-another-latency", "signal: KILL", "latency: 200ms"),
    ("key-of-another-cores", "signal: KILL", "cores: 2"),
    ("key-of-another-status", "signal: KILL", "status: 503"),
    ("key-of-another-scale", "signal: KILL", "replicas: 3"),
    ("fault-needs-its-key", "fault: process.kill", "fault: process.exit"),
    ("kill-of-a-pool", "target: victim", "target: pool"),
    ("unknown-victim", "target: victim", "target: victm"),
    ("unknown-pool-of-victim", "from: pool", "from: pond"),
    ("victim-with-workload", "{from: pool, pick: busiest}", "{from: pool, workload: llm}"),
    ("pool-with-index", "{workload: llm, replicas: 2}", "{workload: llm, index: 0}"),
    ("pool-of-nothing", "{workload: llm, replicas: 2}", "{replicas: 2}"),
    ("pool-of-two-things", "{workload: llm, replicas", "{workload: llm, role: inference, replicas"),
    ("index-and-pick", "pick: busiest", "index: 0, pick: busiest"),
    ("index-negative", "pick: busiest", "index: -1"),
    ("heal-unknown", "heal: [kill]", "heal: [kil]"),
    ("heal-twice", "heal: [kill]", "heal: [kill, kill]"),
    ("gate-that-injects", "    hold: {for: 10s, min_requests: {chat: 20}}\n    expect: [\"failed",
     "    gate: true\n    hold: {for: 10s}\n    expect: [\"failed"),
    ("sample-of-unknown-load", "min_requests: {chat: 20}", "min_requests: {chta: 20}"),
    ("sample-negative", "min_requests: {chat: 20}", "min_requests: {chat: -20}"),
    ("two-faults-of-one-name", "        verify: [pid_gone]\n",
     "        verify: [pid_gone]\n      - {id: kill, fault: process.kill, target: victim, verify: [pid_gone]}\n"),
    ("two-phases-of-one-name", "name: recovery", "name: baseline"),
    ("no-phases", BASE[BASE.index("phases:"):BASE.index("report:")], "phases: []\n"),
    ("no-load", BASE[BASE.index("load:"):BASE.index("hypothesis:")], "load: {}\n"),
    # expressions
    ("expr-unclosed", '"wrong(chat) == 0"', '"wrong(chat == 0"'),
    ("expr-empty", '"wrong(chat) == 0"', '""'),
    ("expr-number", '"wrong(chat) == 0"', '"1 + 1"'),
    ("expr-unknown-function", '"wrong(chat) == 0"', '"wrnog(chat) == 0"'),
    ("expr-unknown-load", '"wrong(chat) == 0"', '"wrong(chap) == 0"'),
    ("expr-python", '"wrong(chat) == 0"', '"__import__(\'os\').system(\'true\')"'),
    ("expr-attribute", '"wrong(chat) == 0"', '"chat.__class__ == 0"'),
    ("expr-statement", '"wrong(chat) == 0"', '"wrong(chat) = 0"'),
    ("expr-lambda", '"wrong(chat) == 0"', '"(lambda: 0)() == 0"'),
    ("expr-huge-power", '"wrong(chat) == 0"', '"9**9**9 == 0"'),
    ("expr-unit-mismatch", '"detect(kill) <= 500ms"', '"detect(kill) <= 500"'),
    ("expr-wrong-unit", '"detect(kill) <= 500ms"', '"detect(kill) <= 500mb"'),
    ("expr-of-later-phase", '"ok_ratio(chat) == 1.0"', '"recovery.ok_ratio(chat) == 1.0"'),
    ("expr-of-later-fault", '"ok_ratio(chat) == 1.0"', '"detect(kill) <= 1s"'),
    ("expr-unknown-fault", '"detect(kill) <= 500ms"', '"detect(kil) <= 500ms"'),
    ("expr-chained", '"wrong(chat) == 0"', '"0 <= wrong(chat) <= 1"'),
    ("expr-dangling-and", '"wrong(chat) == 0"', '"wrong(chat) == 0 and"'),
    ("expr-two-values", '"wrong(chat) == 0"', '"wrong(chat) wrong(chat)"'),
    ("expr-unicode-operator", '"wrong(chat) == 0"', '"wrong(chat) ≤ 0"'),
    ("expr-deep", '"wrong(chat) == 0"', f'"{"(" * 300}1{")" * 300} == 1"'),
    ("rate-without-unit", "min(4/s, 0.5 * capacity(pool, replicas=1))", "4 apples"),
    ("rate-is-a-condition", "min(4/s, 0.5 * capacity(pool, replicas=1))", "failed(chat) == 0"),
    ("rate-unknown-pool", "capacity(pool, replicas=1)", "capacity(pond, replicas=1)"),
    ("when-of-nothing", "in_flight(victim) >= 1", "in_flight(nobody) >= 1"),
    ("until-number", '"healthy(pool) == 2"', '"healthy(pool)"'),
    # layout
    ("tab-indent", "  pool: {workload", "\tpool: {workload"),
    ("bad-indent", "  max_runtime: 120s", "   max_runtime: 120s"),
    ("unclosed-flow", "tags: [core, inference]", "tags: [core, inference"),
    ("unclosed-quote", '"wrong(chat) == 0", grace', '"wrong(chat) == 0, grace'),
    ("stray-bracket", "seed: 7", "seed: 7]"),
    ("missing-colon", "seed: 7", "seed 7"),
    ("value-after-value", 'title: A sound', 'title: "A" sound'),
    ("at-sign", "seed: 7", "seed: @7"),
    ("percent", "seed: 7", "seed: %7"),
    ("backtick", "seed: 7", "seed: `7`"),
)  # fmt: skip


def whole() -> Iterator[tuple[str, bytes]]:
    """Files that are wrong as a whole: by their bytes, their size, their shape."""
    base = BASE.encode()
    yield "empty", b""
    yield "only-blank-lines", b"\n\n\n"
    yield "only-a-comment", b"# a drill\n"
    yield "only-a-word", b"drill\n"
    yield "a-list", b"- drill: 1\n- name: x\n"
    yield "a-number", b"42\n"
    yield "only-the-version", b"drill: 1\n"
    yield "json-with-trailing-comma", b'{"drill": 1,, "name": "x"}\n'
    yield "html", b"<!DOCTYPE html><html><body>drill: 1</body></html>\n"
    yield "nul-byte", base.replace(b"seed: 7", b"seed: 7\x00")
    yield "escape-byte", base.replace(b"A sound drill", b"\x1b[31mA sound drill")
    yield "bell-byte", base.replace(b"seed: 7", b"seed: \x07")
    yield "not-utf8", base.replace(b"sound", b"so\xffund")
    yield "latin-1", base.replace(b"damaged", b"besch\xe4digt")
    yield "cut-utf8", base[:120] + "é".encode()[:1]
    yield "utf16", BASE.encode("utf-16")
    yield "binary", bytes(range(256)) * 8
    yield "surrogate", base.replace(b"sound", b"so\xed\xa0\x80und")
    yield "carriage-returns-and-a-typo", BASE.replace("seed: 7", "sede: 7").replace("\n", "\r\n").encode()
    yield "old-mac-line-ends", BASE.replace("seed: 7", "sede: 7").replace("\n", "\r").encode()
    yield "byte-order-mark-and-a-typo", b"\xef\xbb\xbf" + base.replace(b"seed: 7", b"sede: 7")
    yield "deep-lists", b"drill: 1\nname: " + b"[" * 1000 + b"]" * 1000 + b"\n"
    yield "deep-mappings", b"drill: 1\nname: " + b"{a: " * 200 + b"1" + b"}" * 200 + b"\n"
    yield "deep-blocks", b"".join(b" " * i + b"a:\n" for i in range(200))
    yield "half-a-file", base[: len(base) // 2]
    yield "twice", base + base
    yield "wide-list", b"drill: 1\ntags: [" + b"a, " * 5000 + b"]\nname: x\n"
    yield "billion-laughs", b"a: &a [l,l]\nb: &b [*a,*a]\nc: &c [*b,*b]\ndrill: 1\n"


def damaged(rng: random.Random) -> bytes:
    """The sound drill after one accident at a random place."""
    lines = BASE.splitlines()
    keyed = [i for i, line in enumerate(lines) if ":" in line]
    at = rng.choice(keyed)
    key, _, rest = lines[at].partition(":")
    accidents: list[Callable[[], str]] = [
        lambda: f"{key}x:{rest}",
        lambda: f"{key}:{rest}]",
        lambda: f"{key}: {{{rest.strip()}",
        lambda: f"{key}{rest}",
        lambda: f"{key}: [[]]",
        lambda: f"{key}: -1",
        lambda: f"{lines[at]}\n{lines[at]}",
        lambda: f"   {lines[at]}",
        lambda: f"{key}: {rest.strip()[::-1]}",
        lambda: f"{key}: {rng.choice(['1e999', '0b1', '2026-01-01', 'on', '12:30:45', '|', '>-', '*', '&', '!'])}",
        lambda: f"{key}:{rest}{chr(rng.choice([0x0, 0x8, 0x7F, 0x85, 0x2028, 0xFFFE]))}",
        lambda: f"{key}: {rest.strip().swapcase()}",
    ]  # fmt: skip
    lines[at] = rng.choice(accidents)()
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")


def is_refused(data: bytes) -> bool:
    """Whether the reader does not take it (bytes that are no text included)."""
    try:
        load_scenario(data.decode("utf-8"), "corpus.yaml")
    except (UnicodeDecodeError, UsageError):
        return True
    return False


def corpus() -> dict[str, bytes]:
    """File name -> bytes, 200 of them; the same each time."""
    load_scenario(BASE, "the sound drill")
    made = [(name, swapped(old, new)) for name, old, new in SWAPS] + list(whole())
    for name, data in made:
        if not is_refused(data):
            raise ValueError(f"{name} is taken: no malformed file")
    rng, seen = random.Random(SEED), {data for _, data in made}
    while len(made) < SIZE:
        data = damaged(rng)
        if data not in seen and is_refused(data):
            seen.add(data)
            made.append((f"accident-{len(made)}", data))
    return {f"{number:03d}-{name}.yaml": data for number, (name, data) in enumerate(made[:SIZE], 1)}


def main() -> int:
    CORPUS.mkdir(exist_ok=True)
    for old in CORPUS.glob("*.yaml"):
        old.unlink()
    for name, data in corpus().items():
        (CORPUS / name).write_bytes(data)
    sys.stdout.write(f"{len(list(CORPUS.glob('*.yaml')))} files in {CORPUS}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
