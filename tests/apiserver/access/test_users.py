"""Users with tokens of their own, from the command line to the API."""

import json

import pytest
from click.testing import CliRunner

from motorpool.api.errors import Unauthorized
from motorpool.apiserver.access import userfile
from motorpool.apiserver.access.userfile import UserFile
from motorpool.apiserver.app import build_app
from motorpool.apiserver.authentication import ADMIN, Authenticators, TokenAuthenticator
from motorpool.apiserver.kubeconfig import write_kubeconfig
from motorpool.apiserver.serve import serve
from motorpool.cli.main import main
from tests.apiserver.conftest import TOKEN
from tests.apiserver.test_kubectl import Kubectl
from tests.apiserver.test_kubectl import pytestmark as real

CREATED = "2026-01-01T12:00:00Z"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "pki" / "users.json"


async def test_who_is_added_comes_in_at_once_and_who_is_removed_does_not(file):
    users = UserFile(file)
    with pytest.raises(Unauthorized):
        await users.authenticate("Bearer mp-x")
    added = userfile.add(file, "alice", ["staff"], created=CREATED)
    user = await users.authenticate(f"Bearer {added.token}")
    assert (user.name, user.groups) == ("alice", ("staff", "system:authenticated"))
    bob = userfile.add(file, "bob", [], created=CREATED)
    userfile.remove(file, "alice")
    with pytest.raises(Unauthorized):
        await users.authenticate(f"Bearer {added.token}")
    assert (await users.authenticate(f"bearer {bob.token}")).name == "bob"


def test_the_file_holds_no_token_and_is_its_owner_s(file):
    added = userfile.add(file, "alice", [], created=CREATED)
    assert added.token not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(userfile.NameTaken):
        userfile.add(file, "alice", [], created=CREATED)
    with pytest.raises(userfile.NoSuchUser):
        userfile.remove(file, "bob")


async def test_a_file_that_cannot_be_read_lets_nobody_in(file):
    users = UserFile(file)
    added = userfile.add(file, "alice", [], created=CREATED)
    await users.authenticate(f"Bearer {added.token}")
    file.write_text("{")
    with pytest.raises(Unauthorized):
        await users.authenticate(f"Bearer {added.token}")


@pytest.fixture
def data_dir(tmp_path, pki):
    directory = tmp_path / "data"
    (directory / "pki").mkdir(parents=True)
    (directory / "pki" / "ca.crt").write_bytes(pki.ca.read_bytes())
    return directory


def run(*arguments):
    result = CliRunner().invoke(main, ["user", *map(str, arguments)])
    return result.exit_code, result.output


def test_the_command_adds_lists_and_removes(data_dir, pki, tmp_path):
    write_kubeconfig(data_dir / "kubeconfig", server="https://x:1", ca=pki.ca, token="t")
    place = ("--data-dir", data_dir)
    target = tmp_path / "alice.kubeconfig"
    code, out = run("add", "alice", "--group", "staff", "--kubeconfig", target, *place)
    assert (code, out) == (0, f"user alice comes in with {target}\n")
    assert target.stat().st_mode & 0o777 == 0o600
    code, out = run("ls", *place)
    assert out.splitlines()[0].split() == ["NAME", "GROUPS", "CREATED"]
    assert out.splitlines()[1].split()[:2] == ["alice", "staff"]
    code, out = run("ls", "--output", "json", *place)
    assert json.loads(out)[0]["groups"] == ["staff"]
    code, out = run("add", "bob", "--kubeconfig", target, *place)
    assert code == 1
    assert f"{target} exists already" in out
    code, out = run("add", "alice", "--kubeconfig", tmp_path / "other", *place)
    assert code == 1
    assert "there is a user alice already" in out
    assert run("add", "system:admin", *place)[0] == 1
    assert run("rm", "alice", *place) == (0, "user alice removed\n")
    assert run("rm", "alice", *place)[0] == 1
    assert run("ls", "--data-dir", tmp_path / "none")[0] == 1


@real[0]
@real[1]
async def test_a_user_may_what_their_bindings_say(registry, pki, data_dir, tmp_path):
    users = UserFile(data_dir / "pki" / "users.json")
    tokens = Authenticators((TokenAuthenticator({TOKEN: ADMIN}), users))
    async with serve(build_app(registry, tokens=tokens), "127.0.0.1", 0, pki) as serving:
        own = data_dir / "kubeconfig"
        write_kubeconfig(own, server=serving.url, ca=pki.ca, token=TOKEN)
        target = tmp_path / "alice.kubeconfig"
        place = ("--kubeconfig", target, "--data-dir", data_dir)
        assert run("add", "alice", "--group", "staff", *place)[0] == 0
        admin, alice = Kubectl(tmp_path, own), Kubectl(tmp_path / "alice", target)
        assert "alice" in await alice("auth whoami")
        code, _, err = await alice.run("get", "pods")
        assert 'User "alice" cannot list resource "pods"' in err
        await admin("create rolebinding staff --clusterrole=edit --group=staff")
        code, _, err = await alice.run("get", "pods")
        assert (code, err) == (0, "No resources found in default namespace.\n")
        assert "created" in await alice("create configmap c")
        assert run("rm", "alice", "--data-dir", data_dir)[0] == 0
        code, _, err = await alice.run("get", "pods")
        assert code == 1
        assert "Unauthorized" in err
