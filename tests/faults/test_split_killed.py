"""A tier that dies in a run that divides its frames: it is blamed for its own, and the other one for none."""

from pathlib import Path
from typing import Final

import pytest

from brokers.broker import Broker
from edgewise import topics
from edgewise.errors import InvalidRunError
from edgewise.messages import Tier
from edgewise.split import owner
from tests.real import eventually
from tests.system import RUN, Answers, System, accounted
from tests.tables import causes

pytestmark = [pytest.mark.brokers, pytest.mark.faults, pytest.mark.timeout(400)]

SEED: Final = 11
CAMERAS: Final = 4
FRAMES: Final = 600
WITHIN_S: Final = 180.0


def test_a_killed_gateway_is_blamed_for_the_frames_that_were_its_own(
    mqtt: Broker, kafka: Broker, tmp_path: Path
) -> None:
    topics.ensure(kafka.address)
    system, answers = System(tmp_path, mqtt=mqtt, kafka=kafka), Answers(kafka.address)
    split = ("--split", str(SEED))
    try:
        system.cluster(*split, engine="onnx")
        ledger = system.ledger(*split, settle_s=8, tiers="gateway,cluster")
        system.start("bridge", "--end-session")
        gateway = system.start("gateway", "--engine", "onnx", "--end-session", *split)
        eventually(lambda: "gateway: classifying" in system.said(gateway), within_s=WITHIN_S)
        fleet = system.fleet(frames=FRAMES, rate_hz=100, cameras=CAMERAS)
        eventually(lambda: any(one.tier is Tier.GATEWAY for one in answers.of(RUN)), within_s=WITHIN_S)
        gateway.kill()
        found = accounted(system, ledger, fleet, within_s=WITHIN_S)
    finally:
        answers.close()
        system.stop()
    plan = [(f"camera-{camera}", number) for camera in range(CAMERAS) for number in range(FRAMES // CAMERAS)]
    owed = {tier: sum(owner(*frame, seed=SEED) is tier for frame in plan) for tier in Tier}
    mine, others = (found.tiers[tier] for tier in (Tier.GATEWAY, Tier.CLUSTER))
    assert ledger.exit_code == InvalidRunError.exit_code
    assert causes(found) == {"missing in gateway": []}
    assert (others.results, others.missing) == (owed[Tier.CLUSTER], 0)
    assert mine.results + mine.missing == owed[Tier.GATEWAY]
    assert mine.missing_by_last_place == {"bridged, no result": mine.missing}
