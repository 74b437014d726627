"""A user of an OpenID provider: the ID token is renewed when it ends, and what the provider gave in its place is in the
kubeconfig afterwards, with all else as it was; a refresh token may be good for one exchange only.
"""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from backend.config.fleet_file import KubernetesFile
from backend.contract.clock import SystemClock
from backend.fleet.kube import oidc
from backend.fleet.kube.access import Access
from backend.fleet.kube.answers import NotAccepted
from backend.fleet.kube.oidc import replaced
from tests.kube_emulator import Emulator

CONFIG = """\
# my clusters, do not sort
apiVersion: v1
kind: Config
current-context: here
contexts:
- {{name: here, context: {{cluster: here, user: me}}}}
clusters:
- name: here
  cluster: {{server: {server}}}   # the near one
users:
- name: somebody
  user: {{token: "x"}}
- name: me
  user:
    auth-provider:
      name: oidc
      config:
        client-id: trinity   # public
        client-secret: hush
        {tokens}
        idp-issuer-url: {issuer}
preferences: {{}}
"""


def jwt(seconds: float, number: int = 0) -> str:
    claims = json.dumps({"exp": int(time.time() + seconds), "n": number}).encode()
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b"{}", claims, b"signed"))


@dataclass
class Provider:
    """Takes each refresh token once. `basic`: whether it wants the client named in a header."""

    cluster: Emulator
    basic: bool = True
    lasts_s: float = 3600.0
    url: str = ""
    good: str = "refresh-0"
    given: list[str] = field(default_factory=list)

    async def found(self, request: web.Request) -> web.Response:
        return web.json_response({"token_endpoint": f"{self.url}/token"})

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        named = request.headers.get("Authorization", "").startswith("Basic ") if self.basic else "client_id" in form
        if not named:
            return web.json_response({"error": "invalid_client"}, status=401)
        if form.get("refresh_token") != self.good:
            return web.json_response({"error": "invalid_grant"}, status=400)
        self.given.append(jwt(self.lasts_s, len(self.given) + 1))
        self.good = f"refresh-{len(self.given)}"
        self.cluster.account("robot", self.given[-1])
        return web.json_response({"id_token": self.given[-1], "refresh_token": self.good})


@contextlib.asynccontextmanager
async def provider(**named: object) -> AsyncIterator[Provider]:
    async with Emulator() as cluster:
        made = Provider(cluster, **named)  # type: ignore[arg-type]
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", made.found)
        app.router.add_post("/token", made.token)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield made
        finally:
            await runner.cleanup()


def written(path: Path, made: Provider, tokens: str) -> str:
    text = CONFIG.format(server=made.cluster.url, issuer=made.url, tokens=tokens)
    path.write_text(text)
    return text


async def asks(path: Path) -> Access:
    access = Access(KubernetesFile(kubeconfig=str(path)), SystemClock(), env={})
    assert await access.get_json("/api/v1/namespaces/default")
    return access


@pytest.mark.parametrize("basic", [True, False], ids=["named in a header", "named in the form"])
async def test_renewed_tokens_are_in_the_kubeconfig_and_nothing_else_changed(tmp_path: Path, basic: bool) -> None:
    async with provider(basic=basic) as made:
        old = jwt(-60)
        before = written(tmp_path / "real", made, f"id-token: {old}\n        refresh-token: refresh-0  # once")
        (tmp_path / "real").chmod(0o640)
        link = tmp_path / "config"
        link.symlink_to("real")
        access = await asks(link)
        await access.close()
        after = before.replace(old, f'"{made.given[0]}"').replace("refresh-0", '"refresh-1"')
        assert (tmp_path / "real").read_text() == after
        assert link.is_symlink()
        assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640
        assert sorted(path.name for path in tmp_path.iterdir()) == ["config", "real"], "no lock, no part is left"
        again = await asks(link)
        await again.close()
        assert len(made.given) == 1, "the next one begins with what was written"


async def test_tokens_that_cannot_be_written_are_kept_in_mind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(oidc, "write_atomically", full)
    async with provider(lasts_s=-1.0) as made:  # each is over at once, so that each request renews
        before = written(tmp_path / "config", made, "refresh-token: refresh-0")
        renewed: oidc.Renewed = {}
        config = yaml.safe_load(before)["users"][1]["user"]["auth-provider"]["config"]
        for count in (1, 2, 3):
            files = [tmp_path / "config"]
            token = await oidc.oidc_token(config, "me", files=files, env={}, now=time.time(), renewed=renewed)
            assert token == made.given[-1]
            assert len(made.given) == count
        assert (tmp_path / "config").read_text() == before


async def test_without_a_refresh_token_one_is_told_to_log_in(tmp_path: Path) -> None:
    async with provider() as made:
        written(tmp_path / "config", made, f"id-token: {jwt(-60)}")
        with pytest.raises(NotAccepted, match="has expired and there is no refresh token"):
            await asks(tmp_path / "config")
        written(tmp_path / "config", made, "refresh-token: used-up")
        with pytest.raises(NotAccepted, match=r"does not renew the ID token of me \(40[01]\)"):
            await asks(tmp_path / "config")


@pytest.mark.parametrize(
    "config",
    [
        "{client-id: a, id-token: old, refresh-token: 'old too'}",
        "{client-id: a}",
        '\n        client-id: a  # kept\n        id-token: |-\n          old\n        refresh-token: ""\n',
        "\n        client-id: ünïcode\n",
    ],
)
def test_tokens_are_put_into_any_yaml(config: str) -> None:
    text = f"# ü\nusers:\n- name: me\n  user:\n    auth-provider:\n      name: oidc\n      config: {config}\nother: 1\n"
    tokens = {"id-token": 'a.b"c', "refresh-token": "new: #1"}
    before, after = yaml.safe_load(text), yaml.safe_load(replaced(text, "me", tokens))
    before["users"][0]["user"]["auth-provider"]["config"] |= tokens
    assert after == before
    with pytest.raises(ValueError, match="no oidc user you"):
        replaced(text, "you", tokens)
