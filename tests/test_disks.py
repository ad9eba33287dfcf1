"""Which file system a path lies on, and that network file systems are refused before anything is written there."""

import json

import pytest

from pipeline import config, disks
from pipeline.command_line import main
from pipeline.errors import ConfigError

MOUNTS = """\
25 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
31 25 0:28 / /home rw shared:7 master:2 - nfs4 server:/home rw,vers=4.2
32 31 0:29 / /home/me/my\\040disk rw - xfs /dev/sdb rw
33 25 0:30 / /twice rw - ext4 /dev/sdc rw
34 25 0:31 / /twice rw - fuse.sshfs me@there: rw
"""


@pytest.fixture
def mounted(tmp_path, monkeypatch):
    """Return a function that says what is mounted."""

    def mounted(text):
        (tmp_path / "mountinfo").write_text(text)
        monkeypatch.setattr(disks, "MOUNTS", tmp_path / "mountinfo")

    return mounted


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/store", "ext4"),
        ("/home/me/store", "nfs4"),
        ("/homeless/store", "ext4"),
        ("/home/me/my disk/store", "xfs"),
        ("/twice/store", "fuse.sshfs"),
    ],
)
def test_the_innermost_and_last_mount_counts(mounted, tmp_path, path, kind):
    """Blanks in its name are octal numbers; a name that begins alike is another folder."""
    mounted(MOUNTS)

    assert disks.file_system(disks.Path(path)) == kind


def test_where_nothing_is_known_nothing_is_refused(tmp_path, monkeypatch):
    """There is no such list but on Linux."""
    monkeypatch.setattr(disks, "MOUNTS", tmp_path / "none")

    assert disks.file_system(tmp_path) == ""
    disks.check_local("store", tmp_path, allowed=False)


def test_this_machine_tells():
    """The list of this very machine is understood: the list itself lies on proc."""
    assert disks.file_system(disks.Path("/proc/self")) == "proc"


@pytest.mark.parametrize("command", ["run", "ingest"])
def test_a_network_file_system_is_refused_unless_allowed(mounted, tmp_path, capsys, command):
    """Exit code 2 names the folder and the setting; nothing is made there, and with the setting all is as usual."""
    mounted(f"25 1 254:0 / / rw - ext4 /dev/vda rw\n31 25 0:28 / {tmp_path}/far rw - nfs4 server:/far rw\n")
    own = [f"data.store={tmp_path}/far/store", f"output.dir={tmp_path}/far/runs", "output.report=false", "--json"]

    assert main([command, "conf/sample.yaml", *own]) == 2
    told = json.loads(capsys.readouterr().out)["error"]
    assert f"{tmp_path}/far/" in told
    assert "lies on nfs4" in told
    assert "lock.allow_network_fs" in told
    assert not (tmp_path / "far").exists()

    assert main([command, "conf/sample.yaml", *own, "lock.allow_network_fs=true"]) == 0


def test_a_folder_of_runs_and_a_store_are_both_looked_at(mounted, tmp_path):
    """A local folder of runs does not save a store that is far away."""
    mounted(f"25 1 254:0 / / rw - ext4 /dev/vda rw\n31 25 0:28 / {tmp_path}/far rw - cifs //server/far rw\n")
    from pipeline.run import run

    with pytest.raises(ConfigError, match=r"store .*/far/store: lies on cifs"):
        run(config.load(None, [f"data.store={tmp_path}/far/store", f"output.dir={tmp_path}/runs"], {}))
