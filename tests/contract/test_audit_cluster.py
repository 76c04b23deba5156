"""The audit of the cluster's own engine: its stage, in a Spark of its own, is no faster on one image repeated."""

import numpy as np
import pytest

from compare.audits import audit, audit_checks
from compare.audits.audit import Ran
from consumers.cluster.jvm import compile as cluster
from edgewise import dataset
from edgewise.parts import say

pytestmark = [pytest.mark.brokers, pytest.mark.timeout(300)]

IMAGES = 512


def test_bigdl_is_not_faster_on_one_image_again_and_again() -> None:
    pytest.importorskip("bigdl", reason=f"no BigDL; install it with: {cluster.INSTALL_BIGDL}")
    images = np.array(dataset.load("test", say=say).images[:IMAGES])
    varied_hz, repeated_hz = audit.cluster_rates(Ran("bigdl", "resnet20"), images, rounds=3)
    assert len(varied_hz) == len(repeated_hz) == 3
    assert min(*varied_hz, *repeated_hz) > 10
    found = audit_checks.one_image("bigdl", varied_hz, repeated_hz)
    assert found.state == "passed", found
