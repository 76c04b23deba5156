"""What the cameras can send: measured against a broker that keeps nothing, before anything is compared."""

import json
import socket
import subprocess
import sys

import mqtt5

from compare.runs import ceiling
from compare.scenario import Fleet
from edgewise.clock import SystemClock
from edgewise.messages import Codec
from edgewise.mqtt.outbox import Answer, MqttOutbox
from producers.fleet.null_sink import null_sink
from tests.real import connected, eventually


def test_the_null_sink_confirms_every_frame() -> None:
    with null_sink() as sink:
        outbox = connected(MqttOutbox(sink.address, camera="camera-0", window=50, clock=SystemClock()))
        for number in range(50):
            outbox.send(number, bytes(3000))
        answers: list[tuple[int, Answer]] = []

        def all_there() -> bool:
            answers.extend(outbox.receive())
            return len(answers) == 50

        eventually(all_there, within_s=10)
        assert sorted(answers) == [(number, Answer.CONFIRMED) for number in range(50)]
        outbox.close()


def test_the_null_sink_answers_a_packet_that_comes_in_pieces_and_hangs_up_on_another_protocol() -> None:
    with null_sink() as sink:
        host, port = sink.address.split(":")
        with socket.create_connection((host, int(port)), 5) as camera:
            hello = mqtt5.ConnectPacket("camera", keep_alive=0).write()
            camera.sendall(hello[:5])
            camera.sendall(hello[5:])
            assert isinstance(mqtt5.read(memoryview(camera.recv(1000)))[0], mqtt5.ConnAckPacket)
            frame = mqtt5.PublishPacket("cameras/c/frames", bytes(300), qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=258)
            unanswered = mqtt5.PublishPacket("cameras/c/frames", bytes(300)).write()
            whole = frame.write()
            for piece in (whole[:1], whole[1:2], whole[2:9], whole[9:] + unanswered + whole):
                camera.sendall(piece)
            answers = bytearray()
            while len(answers) < 8:
                answers += camera.recv(1000)
            assert answers == mqtt5.PubAckPacket(258).write() * 2
            camera.sendall(mqtt5.PingReqPacket().write())
            assert camera.recv(1000) == mqtt5.PingRespPacket().write()
            camera.sendall(b"\x00\x05" + bytes(5))
            assert camera.recv(1000) == b""


def test_the_ceiling_is_what_a_fleet_sends_when_nothing_holds_it_back() -> None:
    assert ceiling.measured_hz(Fleet(cameras=4, codec=Codec.RAW), clock=SystemClock()) > 500


def test_the_command_measures_it_without_any_broker() -> None:
    command = [sys.executable, "-m", "edgewise", "fleet", "--ceiling", "--cameras", "50", "--format", "json"]
    told = subprocess.run([*command, "--processes", "2"], capture_output=True, text=True, check=False, timeout=100)
    assert told.returncode == 0, told.stderr
    account = json.loads(told.stdout)
    assert (account["cameras"], account["processes"]) == (50, 2)
    assert account["ceiling_hz"] > 500
    assert 0 < account["sink_busy_share"] <= 1.01
