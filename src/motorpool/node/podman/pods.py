"""A Pod's place in podman: the podman pod that holds its network, found by its labels."""

from collections.abc import Callable

from motorpool.api.meta import Object, at, uid_of
from motorpool.node.addresses import Addresses
from motorpool.node.podman.libpod import Libpod, LibpodError, is_no_change
from motorpool.node.podman.observed import address_of, is_network_error
from motorpool.node.podman.processes import process_of
from motorpool.node.podman.spec import LABEL_OWNER, LABEL_UID, Network, pod_spec

GONE = 404


class PodmanPods:
    def __init__(
        self, libpod: Libpod, addresses: Addresses, owner: str, tell: Callable[[str], None]
    ) -> None:
        """*tell* gets, once, why Pods have no addresses of their own."""
        self._libpod = libpod
        self._addresses = addresses
        self._owner = owner
        self._tell = tell
        self.network: Network = "bridge"

    async def ensure(self, pod: Object, host_ip: str, recorded_ip: str) -> tuple[str, str]:
        """The podman pod's id, and the Pod's address. Raises OSError."""
        found = await self.find(uid_of(pod))
        if found and await self._is_lost(found[0]):
            # As a kubelet does: what was in it goes with it.
            await self.remove(uid_of(pod))
            found = []
        if found:
            return found[0], await self._start(found[0], pod, host_ip, recorded_ip)
        address = "" if at(pod, "spec", "hostNetwork") else self._loopback(recorded_ip)
        try:
            made = await self._create(pod, address)
            return made, await self._start(made, pod, host_ip, address)
        except LibpodError as error:
            if self.network != "bridge" or not is_network_error(str(error)):
                raise
            self._give_up_bridge(str(error))
        await self.remove(uid_of(pod))
        return await self.ensure(pod, host_ip, "")

    def _give_up_bridge(self, why: str) -> None:
        self.network = "ports"
        self._tell(
            f"podman cannot make networks here ({why}): pods have loopback addresses, at which "
            "only the ports that their specs name are reached"
        )

    def _loopback(self, recorded_ip: str) -> str:
        if self.network == "bridge":
            return ""
        return recorded_ip if recorded_ip.startswith("127.") else self._addresses.allocate()

    async def _create(self, pod: Object, address: str) -> str:
        spec = pod_spec(pod, self._owner, self.network, address)
        return str((await self._libpod.post("/pods/create", spec))["Id"])

    async def _is_lost(self, id_: str) -> bool:
        """Whether what holds the network is gone and its monitor with it: podman has not noticed,
        never will, and starts nothing in there."""
        inspected = await self._libpod.get(f"/pods/{id_}/json")
        infra = await self._libpod.get(f"/containers/{inspected['InfraContainerID']}/json")
        status = infra["State"]["Status"]
        return status in ("running", "stopping") and not process_of(infra).is_alive()

    async def _start(self, id_: str, pod: Object, host_ip: str, loopback: str) -> str:
        """Starts what holds the network, and only that: `start` of a pod would start all in it."""
        inspected = await self._libpod.get(f"/pods/{id_}/json")
        infra = inspected["InfraContainerID"]
        state = await self._libpod.get(f"/containers/{infra}/json")
        if state["State"]["Status"] != "running":
            await self._libpod.post(f"/containers/{infra}/start")
            state = await self._libpod.get(f"/containers/{infra}/json")
        if at(pod, "spec", "hostNetwork"):
            return host_ip
        # A pod keeps the network that it was made with, whatever is made now.
        return published_at(inspected) or address_of(state) or loopback

    async def find(self, uid: str) -> list[str]:
        labels = [f"{LABEL_OWNER}={self._owner}", f"{LABEL_UID}={uid}"]
        found = await self._libpod.get("/pods/json", filters={"label": labels})
        return [str(pod["Id"]) for pod in found or ()]

    async def uids(self) -> set[str]:
        """Of every Pod that has one."""
        labels = [f"{LABEL_OWNER}={self._owner}"]
        found = await self._libpod.get("/pods/json", filters={"label": labels})
        return {str(pod["Labels"][LABEL_UID]) for pod in found or ()}

    async def remove(self, uid: str) -> None:
        """With all that is in it, at once."""
        for id_ in await self.find(uid):
            try:
                inspected = await self._libpod.get(f"/pods/{id_}/json")
                for container in inspected.get("Containers") or ():
                    await kill(self._libpod, str(container["Id"]))
                await self._libpod.delete(f"/pods/{id_}", force=True)
            except LibpodError as error:
                if error.status != GONE:
                    raise


async def kill(libpod: Libpod, container: str) -> None:
    """At once, where it runs."""
    try:
        await libpod.post(f"/containers/{container}/kill", signal="SIGKILL")
    except LibpodError as error:
        if not is_no_change(error):
            raise


def published_at(pod: Object) -> str:
    """The loopback address of a podman pod's published ports; "" where it has another network."""
    infra = pod.get("InfraConfig") or {}
    if "slirp4netns" not in (infra.get("Networks") or ()) and infra.get("Networks"):
        return ""
    for bindings in (infra.get("PortBindings") or {}).values():
        for binding in bindings or ():
            if str(binding.get("HostIp", "")).startswith("127."):
                return str(binding["HostIp"])
    return ""
