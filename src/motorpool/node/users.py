"""Who a container's program is, where its manifest wants somebody. Pure."""

from motorpool.api.meta import Object, at


def not_heeded(container: Object, pod: Object, uid: int) -> str:
    """What its ``securityContext`` says of users and a process of *uid* does not do; or ""."""
    own, common = container.get("securityContext") or {}, at(pod, "spec", "securityContext") or {}
    asked = {**common, **{key: value for key, value in own.items() if value is not None}}
    user = asked.get("runAsUser")
    name = container["name"]
    if user is not None and int(user) != uid:
        wish = f"as user {user}"
    elif user is None and asked.get("runAsNonRoot") and uid == 0:
        wish = "as another user than root"
    else:
        return ""
    return (
        f"container {name} is to run {wish} and runs as user {uid}: processes of this node have "
        "the user who started the platform"
    )
