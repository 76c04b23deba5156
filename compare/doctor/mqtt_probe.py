"""Would this MQTT broker lose our frames? Ask it, and leave nothing behind.

Every question uses topics and client ids of its own under one random name; sessions
are ended and retained messages cleared, also when a question fails half way.
"""

import secrets
from collections.abc import Callable
from typing import Final

from compare.doctor.check import Check, optional, required
from compare.doctor.mqtt_session import Session, Will, end_session
from edgewise.addresses import Address, parse

NO_SUBSCRIBER: Final = 16
REFUSED: Final = 128
QUEUED: Final = 1_500
"""More than the 1,000 that mosquitto holds with its own settings."""
FRAME_BYTES: Final = 1_000_000
PACKET_BYTES: Final = FRAME_BYTES + 1_024
"""A frame with its topic and properties."""
SMALL: Final = bytes(1_024)
EXPIRY_S: Final = 600
FEW: Final = 5
QUIET_S: Final = 0.5
"""Silence this long means that nothing more comes."""
PATIENCE_S: Final = 5.0
"""The same, for a broker that has to look into its store first."""
UNLIMITED: Final = 1 << 32


def probe_mqtt(address: str) -> list[Check]:
    """Ask a broker everything that the pipeline relies on.

    Raises:
        ConfigError: ``address`` is not HOST:PORT.
        UnreachableError: nobody answers there as an MQTT 5 broker.
    """
    at, name = parse(address, option="--mqtt"), f"edgewise-doctor-{secrets.token_hex(6)}"
    questions: tuple[Callable[[Address, str], Check], ...] = (
        _takes_large_frames,
        _says_that_nobody_listens,
        _keeps_a_session_and_its_queue,
        _honours_the_receive_maximum,
        _shares,
        _retains_the_will,
    )
    return [question(at, f"{name}-{number}") for number, question in enumerate(questions)]


def _takes_large_frames(at: Address, name: str) -> Check:
    with Session(at, client_id=name) as session:
        limit = session.granted("MaximumPacketSize", default=UNLIMITED)
        came = 0
        if limit >= PACKET_BYTES:
            session.subscribe(name)
            session.publish(name, [bytes(FRAME_BYTES)])
            came = sum(len(message.payload) for message in session.drain(1))
    stated = "no limit" if limit == UNLIMITED else f"packets up to {limit} bytes"
    return required(
        "frames of 1,000,000 bytes",
        good=came == FRAME_BYTES,
        found=f"{stated}, {came} of {FRAME_BYTES} bytes came back",
        mend="raise the broker's largest packet to 2 MiB (mosquitto: max_packet_size 2097152)",
    )


def _says_that_nobody_listens(at: Address, name: str) -> Check:
    with Session(at, client_id=name) as session:
        reasons = session.publish(name, [b"to nobody"])
    return optional(
        "says when nobody listens (reason 16)",
        good=reasons == [NO_SUBSCRIBER],
        found=f"PUBACK with reason {reasons[0]}" if reasons else "no PUBACK",
        mend="start the bridge before the cameras: frames that nobody wanted count as confirmed here",
    )


def _keeps_a_session_and_its_queue(at: Address, name: str) -> Check:
    try:
        # Not a clean start, as our consumers do it: mosquitto 2.0.11 writes down no other session.
        first = Session(at, client_id=name, clean_start=False, expiry_s=EXPIRY_S)
        first.subscribe(name)
        first.vanish()
        with Session(at, client_id=f"{name}-camera") as camera:
            confirmed = len(camera.publish(name, [SMALL] * QUEUED))
        second = Session(at, client_id=name, clean_start=False, expiry_s=EXPIRY_S)
        came = len(second.drain(QUEUED, quiet_s=PATIENCE_S))
        second.leave()
    finally:
        end_session(at, client_id=name)
    session = "kept" if second.present else "lost"
    return required(
        "keeps what it confirmed for a session that is away",
        good=second.present and came == QUEUED == confirmed,
        found=f"session {session}; {came} messages came of {confirmed} confirmed of {QUEUED} sent",
        mend="lift the broker's limit of queued messages (mosquitto: max_queued_messages 0) and allow session expiry",
    )


def _honours_the_receive_maximum(at: Address, name: str) -> Check:
    with Session(at, client_id=name, receive_maximum=FEW) as slow, Session(at, client_id=f"{name}-camera") as camera:
        slow.subscribe(name)
        camera.publish(name, [SMALL] * (FEW * 4))
        unacknowledged = len(slow.take(FEW + 1, within_s=QUIET_S))
    return optional(
        "honours the receive maximum",
        good=0 < unacknowledged <= FEW,
        found=f"{unacknowledged if unacknowledged <= FEW else f'more than {FEW}'} in flight where {FEW} are allowed",
        mend="expect more memory in bridge and gateway: they are sent more than they ask for",
    )


def _shares(at: Address, name: str) -> Check:
    with Session(at, client_id=f"{name}-a") as one, Session(at, client_id=f"{name}-b") as two:
        granted = [member.subscribe(f"$share/{name}/{name}") for member in (one, two)]
        came = 0
        if max(granted) < REFUSED:
            one.publish(name, [SMALL] * (FEW * 4))
            came = sum(len(member.drain(FEW * 4, quiet_s=QUIET_S)) for member in (one, two))
    return optional(
        "shared subscriptions",
        good=came == FEW * 4,
        found=f"{came} of {FEW * 4} messages reached a group of two" if max(granted) < REFUSED else "refused",
        mend="run one bridge only; several would each get every frame, or none",
    )


def _retains_the_will(at: Address, name: str) -> Check:
    with Session(at, client_id=f"{name}-clean") as cleaner:
        # A broker that retains nothing refuses such a will, and ends the connection at a retained message.
        retains = bool(cleaner.granted("RetainAvailable", default=1))
        seen = _wills(at, name, cleaner) if retains else []
    return required(
        "last will, retained",
        good=seen == [b"offline", b"offline"],
        found=f"{len(seen)} of 2 came" if retains else "it retains nothing",
        mend="use a broker that retains messages: every part says with a retained last will whether it is there",
    )


def _wills(at: Address, name: str, cleaner: Session) -> list[bytes]:
    """Die once and collect the will: when the broker notices, and the retained copy."""
    try:
        Session(at, client_id=name, will=Will(name, b"offline")).vanish()
        cleaner.subscribe(name)
        seen = [message.payload for message in cleaner.drain(1)]
        with Session(at, client_id=f"{name}-late") as late:
            late.subscribe(name)
            return seen + [message.payload for message in late.drain(1)]
    finally:
        cleaner.publish(name, [b""], retain=True)
