"""The MQTT broker as the cause: all cameras lost their connection, and what is missing went with it."""

import numpy as np

from consumers.ledger.table import Fate
from edgewise.account import CameraAccount, Closing
from edgewise.messages import Tier
from tests.tables import RUN, Told, causes, first

FORGOTTEN = 30
"""Of each camera's frames, the last ones."""


def broken(*, lost: int, fate: Fate = Fate.UNBRIDGED, **said: object) -> Told:
    told = Told(tiers=(Tier.GATEWAY,))
    gone = np.tile(np.arange(told.frames) >= told.frames - FORGOTTEN, told.cameras)
    told.answers[Tier.GATEWAY].miss(gone, fate)
    everything, forgotten = [(0, told.frames - 1)], [(told.frames - FORGOTTEN, told.frames - 1)]
    for index in range(told.cameras):
        camera = told.plan.camera(index)
        told.entry(
            CameraAccount(
                run=RUN, camera=camera, sent=everything, confirmed=forgotten, unheard=(), refused=(), dropped=()
            )
        )
    told.entry(Closing(run=RUN, part="fleet", name="yard", summary={"connections_lost": lost, **said}))
    return told


def test_frames_that_a_broker_forgot_when_it_died_are_not_the_bridge_s() -> None:
    found = broken(lost=4).summary()
    assert causes(found) == {"MQTT broker died": ["confirmed, never bridged", "missing in gateway"]}
    assert (first(found).found, first(found).unit) == (4, "connections lost")


def test_a_camera_that_lost_its_own_connection_is_no_broker_that_died() -> None:
    assert causes(broken(lost=3).summary()) == {"confirmed, never bridged": ["missing in gateway"]}


def test_one_camera_that_loses_its_connection_again_and_again_is_no_broker_that_died() -> None:
    assert causes(broken(lost=4, cameras_cut_off=1).summary()) == {"confirmed, never bridged": ["missing in gateway"]}
    assert first(broken(lost=9, cameras_cut_off=4).summary()).rule == "MQTT broker died"


def test_cameras_that_were_away_when_their_broker_died_had_no_connection_to_lose() -> None:
    churn = {"share": 0.25, "stay_s": 60.0, "away_s": 10.0}
    assert first(broken(lost=3, cameras_cut_off=3, churn=churn).summary()).rule == "MQTT broker died"
    assert first(broken(lost=2, cameras_cut_off=2, churn=churn).summary()).rule == "confirmed, never bridged"
    assert first(broken(lost=3, cameras_cut_off=3, churn=churn | {"share": 1.0}).summary()).rule != "MQTT broker died"


def test_a_broker_that_went_and_lost_nothing_is_no_reason() -> None:
    told = Told(tiers=(Tier.GATEWAY,))
    told.entry(Closing(run=RUN, part="fleet", name="yard", summary={"connections_lost": 4}))
    assert told.summary().verdict == "VALID"


def test_a_tier_that_lost_what_it_had_is_a_reason_of_its_own() -> None:
    found = broken(lost=4, fate=Fate.UNANSWERED).summary()
    assert [reason.rule for reason in found.reasons] == ["MQTT broker died", "missing in gateway"]
