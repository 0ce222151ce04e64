import httpx
import pytest

from motorpool.api.errors import InternalError
from motorpool.apiserver.access.impersonation import impersonation
from motorpool.apiserver.app import build_app
from motorpool.apiserver.authentication import TokenAuthenticator, User
from tests.apiserver.objects import refusal


def test_no_header_asks_for_nobody():
    assert impersonation([("accept", "*/*")]) is None


def test_each_part_needs_its_own_permission():
    asked = impersonation(
        [
            ("impersonate-user", "eve"),
            ("impersonate-group", "a"),
            ("impersonate-group", "b"),
            ("impersonate-uid", "7"),
            ("impersonate-extra-acme.com%2Fteam", "x"),
        ]
    )
    assert asked.user == User(
        "eve", ("a", "b", "system:authenticated"), "7", {"acme.com/team": ("x",)}
    )
    needs = [(need.group, need.qualified, need.name) for need in asked.needs]
    assert needs == [
        ("", "users", "eve"),
        ("", "groups", "a"),
        ("", "groups", "b"),
        ("authentication.k8s.io", "uids", "7"),
        ("authentication.k8s.io", "userextras/acme.com/team", "x"),
    ]


def test_an_account_has_the_groups_of_accounts():
    asked = impersonation([("impersonate-user", "system:serviceaccount:demo:sa")])
    assert asked.user.groups == (
        "system:serviceaccounts",
        "system:serviceaccounts:demo",
        "system:authenticated",
    )
    assert asked.needs[0][1:] == ("", "serviceaccounts", "", "demo", "sa", "")


def test_groups_alone_are_nobody():
    with pytest.raises(InternalError):
        impersonation([("impersonate-group", "a")])


async def test_who_may_not_impersonate_is_told(registry):
    bob = TokenAuthenticator({"t": User("bob", ("system:authenticated",))})
    transport = httpx.ASGITransport(build_app(registry, tokens=bob))
    headers = {"authorization": "Bearer t", "impersonate-user": "alice"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://test", headers=headers
    ) as http:
        answer = await http.get("/version")
    message = (
        'users "alice" is forbidden: User "bob" cannot impersonate resource "users" in API group '
        '"" at the cluster scope'
    )
    assert refusal(answer) == (403, "Forbidden", message)
