"""What a manifest says of the machine: all that decides how fast it is, as far as the machine tells."""

from pathlib import Path

from compare.runs import host, runfolder


def test_the_manifest_says_what_this_machine_allows(tmp_path: Path) -> None:
    runfolder.write_manifest(tmp_path, scenario={}, parts={})
    told = runfolder.manifest(tmp_path)["host"]
    assert {"name", "system", "processor", "cores", "cores_allowed", "memory_bytes", "boot"} <= set(told)
    assert {"governor", "cgroup_cpu_max", "cgroup_memory_max", "clock_source"} <= set(told)
    assert told["boot"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_what_a_machine_does_not_tell_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "governor").write_text("performance\n")
    assert host.told(tmp_path / "governor") == "performance"
    assert host.told(tmp_path / "nothing") is None
