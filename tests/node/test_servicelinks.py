"""The variables that lead containers to Services."""

from types import SimpleNamespace

from motorpool.api import core
from motorpool.node.containers import Containers, links_file
from motorpool.node.servicelinks import service_variables, variables_of
from motorpool.node.supervisor import records
from motorpool.node.volumes import make_pod_directories
from tests.node.conftest import pod, shell, until

ADDRESS = "127.128.66.1"


def service(name="iris-predictor", *ports, namespace="default", address=ADDRESS, **spec):
    ports = ports or ({"port": 80, "protocol": "TCP"},)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"type": "ClusterIP", "clusterIP": address, "ports": list(ports), **spec},
    }


def served(address, port):
    return True


def names(variables):
    return {name.partition("_SERVICE_HOST")[0] for name in variables if "_SERVICE_HOST" in name}


def variables(obj, *services, is_served=served, has_token_path=False):
    return service_variables(obj, services, is_served, has_token_path=has_token_path)


def test_a_service_of_two_ports_has_the_variables_that_the_kubelet_gives():
    ports = {"name": "http", "port": 80}, {"name": "grpc-web", "port": 9000, "protocol": "TCP"}
    assert variables_of(service("iris-predictor", *ports), served) == {
        "IRIS_PREDICTOR_SERVICE_HOST": ADDRESS,
        "IRIS_PREDICTOR_SERVICE_PORT": "80",
        "IRIS_PREDICTOR_SERVICE_PORT_HTTP": "80",
        "IRIS_PREDICTOR_SERVICE_PORT_GRPC_WEB": "9000",
        "IRIS_PREDICTOR_PORT": f"tcp://{ADDRESS}:80",
        "IRIS_PREDICTOR_PORT_80_TCP": f"tcp://{ADDRESS}:80",
        "IRIS_PREDICTOR_PORT_80_TCP_PROTO": "tcp",
        "IRIS_PREDICTOR_PORT_80_TCP_PORT": "80",
        "IRIS_PREDICTOR_PORT_80_TCP_ADDR": ADDRESS,
        "IRIS_PREDICTOR_PORT_9000_TCP": f"tcp://{ADDRESS}:9000",
        "IRIS_PREDICTOR_PORT_9000_TCP_PROTO": "tcp",
        "IRIS_PREDICTOR_PORT_9000_TCP_PORT": "9000",
        "IRIS_PREDICTOR_PORT_9000_TCP_ADDR": ADDRESS,
    }


def test_a_port_that_leads_nowhere_has_no_variables_and_no_other_takes_its_place():
    ports = {"name": "http", "port": 80}, {"name": "grpc", "port": 9000}
    found = variables_of(service("iris", *ports), lambda address, port: port >= 1024)
    assert found["IRIS_SERVICE_HOST"] == ADDRESS
    assert found["IRIS_SERVICE_PORT_GRPC"] == "9000"
    assert not {"IRIS_SERVICE_PORT", "IRIS_PORT", "IRIS_SERVICE_PORT_HTTP"} & set(found)
    assert variables_of(service("iris", ports[0]), lambda address, port: port >= 1024) == {}
    assert variables_of(service("dns", {"port": 53, "protocol": "UDP"}), served) == {}


def test_services_that_are_not_routed_have_none():
    assert variables_of(service(address="None"), served) == {}
    assert variables_of(service(address="10.217.3.4"), served) == {}
    assert variables_of(service(address="", type="ExternalName"), served) == {}


def test_only_services_of_the_pods_namespace_count_and_only_where_they_are_wanted():
    near, far = service("near"), service("far", namespace="other", address="127.128.66.2")
    assert names(variables(pod(), near, far)) == {"NEAR"}
    assert variables(pod(enableServiceLinks=False), near, far) == {}


def test_the_apis_own_service_is_for_those_who_have_the_tokens_path():
    api = service("kubernetes", {"name": "https", "port": 443})
    assert variables(pod(), api) == {}
    found = variables(pod(enableServiceLinks=False), api, has_token_path=True)
    assert found["KUBERNETES_SERVICE_HOST"] == ADDRESS
    assert found["KUBERNETES_SERVICE_PORT"] == "443"


async def test_a_container_has_the_services_of_its_start_and_what_runs_beside_it_too(platform):
    await platform.client.create(core.SERVICE, service("early"))
    script = 'echo "$EARLY_SERVICE_HOST:$EARLY_SERVICE_PORT $(EARLY_PORT) $MADE" > $OUT; sleep 99'
    env = [
        {"name": "OUT", "value": str(platform.data_dir / "out")},
        {"name": "MADE", "value": "$(EARLY_SERVICE_HOST)/v2"},
    ]
    go = platform.data_dir / "go"
    test = f'test -f {go} -a -n "$EARLY_PORT" -a -z "$LATE_PORT"'
    probe = {"exec": {"command": ["/bin/sh", "-c", test]}, "periodSeconds": 1}
    await platform.create(pod("web", shell(script, env=env, readinessProbe=probe)))
    out = platform.data_dir / "out"
    await until(lambda: out.exists() and out.read_text().endswith("\n"))
    assert out.read_text() == f"{ADDRESS}:80 tcp://{ADDRESS}:80 {ADDRESS}/v2\n"
    await platform.client.create(core.SERVICE, service("late", address="127.128.66.4"))
    go.touch()
    await until(lambda: platform.container().get("ready"))


async def test_a_containers_own_variable_wins(platform):
    await platform.client.create(core.SERVICE, service("iris"))
    out = platform.data_dir / "out"
    env = [{"name": "IRIS_SERVICE_HOST", "value": "mine"}, {"name": "OUT", "value": str(out)}]
    script = 'echo "$IRIS_SERVICE_HOST $IRIS_SERVICE_PORT" > $OUT; sleep 99'
    await platform.create(pod("web", shell(script, env=env)))
    await until(lambda: out.exists() and out.read_text().endswith("\n"))
    assert out.read_text() == "mine 80\n"


def test_the_note_of_a_start_is_not_among_the_supervisors_records(tmp_path, capfd):
    scene = SimpleNamespace(pod={}, pod_dir=tmp_path / "uid", container=SimpleNamespace(name="a"))
    make_pod_directories(scene.pod_dir)

    Containers(None, {}, {}, links=lambda _: {"X_SERVICE_HOST": "127.128.0.9"}).note_links(scene)

    assert "127.128.0.9" in links_file(scene.pod_dir, "a").read_text()
    assert records.load(tmp_path) == []
    assert capfd.readouterr().err == ""
