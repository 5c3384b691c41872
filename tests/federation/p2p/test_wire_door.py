import socket

from loopback import wait_for

from covey.federation.p2p.wire_door import Door, connected_to
from covey.federation.p2p.wire_refusal import Refusals


class Scene:
    """A door with a fake view of who is connected; a look takes no time unless told."""

    def __init__(self):
        self.present, self.now, self.look_s, self.events = set(), 0.0, 0.0, []
        self.refusals = Refusals(lambda kind, message, **facts: self.events.append(message))
        self.door = Door(self.refusals, self.look, lambda: self.now)

    def look(self):
        self.now += self.look_s
        return None if self.present is None else set(self.present)

    def refused(self):
        self.door.sweep()
        return {peer: reasons["handshake"] for peer, reasons in self.refusals.by_peer().items()}


def test_a_connection_that_ends_without_a_call_is_named_by_its_host():
    scene = Scene()
    scene.present = {"ipv4:10.0.0.9:50001"}
    scene.door.knocked()
    assert scene.refused() == {}  # its handshake may still be going on
    scene.present = set()
    assert scene.refused() == {"10.0.0.9": 1}
    assert scene.events == ["refused 10.0.0.9: a connection without a certificate of this run"]


def test_a_connection_that_has_called_was_let_in():
    scene = Scene()
    scene.present = {"ipv4:10.0.0.9:50001"}
    scene.door.knocked()
    scene.door.called("ipv4:10.0.0.9:50001")
    scene.present = set()
    assert scene.refused() == {}


def test_two_at_once_are_two_whoever_is_seen_first():
    scene = Scene()
    scene.present = {"ipv4:10.0.0.9:1", "ipv4:10.0.0.8:2"}
    scene.door.knocked()
    scene.door.knocked()
    scene.door.called("ipv4:10.0.0.8:2")
    scene.present = set()
    assert scene.refused() == {"10.0.0.9": 1}


def test_one_that_is_gone_before_the_look_is_somebody():
    scene = Scene()
    scene.door.knocked()
    assert scene.refused() == {"somebody": 1}


def test_a_crowd_is_counted_without_a_look_at_each():
    scene = Scene()
    scene.look_s = 0.01
    for _ in range(1_000):
        scene.now += 0.0001
        scene.door.knocked()
    scene.now += 1
    assert sum(scene.refused().values()) == 1_000
    assert len(scene.events) <= 11  # 1, 2, 4, … 512, and what the last look found


def test_where_nobody_can_look_nobody_is_accused():
    scene = Scene()
    scene.present = None
    scene.door.knocked()
    assert scene.refused() == {}


def test_the_other_ends_of_a_port_are_seen():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            other, _ = server.accept()
            with other:
                own = client.getsockname()[1]
                assert connected_to(port) == {f"ipv4:127.0.0.1:{own}"}
        wait_for(lambda: connected_to(port) == set())
