"""Masters with a state folder: what was answered 200 survives them."""

import os
import re
import struct
import subprocess

import pytest

from relay import check_nothing_lost_or_repeated, message, publish_target, run_to_end, unused_port, wait_until

PHID = "PHID-USER-1"
UNAVAILABLE, CONFIG = 69, 78


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def stateful(relay, folder):
    """Starts a master with the folder, at the same ports each time."""
    ports = {"admin": unused_port(), "repeaters": unused_port(), "clients": unused_port()}

    def start(*options, **settings):
        addresses = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        return relay.master(f"--state={folder}", *options, **addresses, **settings)

    return start


def opened(master):
    return master.wait_for_log("state_opened").fields


def replayed(relay, master, count):
    client = relay.client(master, subscribe=[PHID])
    client.replay()
    return client.take(count)


def change_state(folder, **values):
    """Writes other values into the folder's state file."""
    path = folder / "state"
    text = path.read_text()
    for key, value in values.items():
        text, count = re.subn(f"^{key}=.*$", f"{key}={value}", text, flags=re.MULTILINE)
        assert count == 1
    path.write_text(text)


def transactions(folder):
    """How many the database has seen: the number is in the two meta pages of an LMDB file, whichever is newer."""
    data = (folder / "data.mdb").read_bytes()
    page = os.sysconf("SC_PAGE_SIZE")
    return max(struct.unpack_from("<Q", data, at + 144)[0] for at in (0, page))


def test_publishes_that_wait_together_are_committed_together(relay, stateful, folder):
    master = stateful()
    connections = [relay.connect(master, "admin") for _ in range(20)]

    def post_on_all():
        for connection in connections:
            body = message(PHID).encode()
            connection.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    def all_are_answered():
        return [connection.read_reply().status for connection in connections] == [200] * 20

    post_on_all()
    assert all_are_answered()
    before = transactions(folder)
    master.freeze()
    post_on_all()
    master.thaw()
    assert all_are_answered()
    # One for them, and perhaps one that makes room.
    assert transactions(folder) - before in (1, 2)


def test_a_killed_master_goes_on_with_its_epoch_and_its_history(relay, stateful):
    master = stateful()
    texts = [master.publish(message(PHID, number=number)) for number in range(100)]
    epoch = opened(master)["epoch"]
    master.kill()
    master = stateful()
    assert (opened(master)["epoch"], opened(master)["last"], opened(master)["messages"]) == (epoch, "100", "100")
    assert replayed(relay, master, 100) == texts


def test_a_stopped_master_goes_on_likewise(relay, stateful):
    master = stateful()
    text = master.publish(message(PHID))
    epoch = opened(master)["epoch"]
    master.stop()
    master = stateful()
    assert opened(master)["epoch"] == epoch
    assert replayed(relay, master, 1) == [text]


def test_a_repeater_of_a_killed_master_loses_and_repeats_nothing(relay, stateful):
    master = stateful()
    client = relay.client(relay.repeater(master), subscribe=[PHID])
    publisher = relay.publisher(master, PHID)
    for _ in range(3):
        publisher.wait_for_more(100)
        master.kill()
        master = stateful()
    publisher.wait_for_more(100)
    publisher.stop()
    check_nothing_lost_or_repeated(client, publisher)
    assert master.status()["gaps"] == 0


def test_a_repeat_is_known_after_a_restart(relay, stateful):
    master = stateful()
    text = master.publish(message(PHID))
    master.kill()
    master = stateful()
    assert master.post(text).status == 200
    assert master.status()["repeats"] == 1
    assert replayed(relay, master, 1) == [text]


def test_ages_survive_a_restart(relay, stateful):
    master = stateful(limits={"history.seconds": 2})
    master.publish(message(PHID))
    master.kill()
    master = stateful(limits={"history.seconds": 2})
    master.wait_for_status(lambda status: status["history.size"] == 0, "an empty history")
    text = master.publish(message(PHID))
    assert replayed(relay, master, 1) == [text]


def test_every_instance_comes_back_as_its_own(relay, stateful):
    master = stateful()
    master.publish(message(PHID), "dog")
    master.kill()
    master = stateful()
    assert master.status("dog")["history.size"] == 1
    assert master.status()["history.size"] == 0


def test_the_folder_is_its_owners_alone(stateful, folder):
    stateful()
    assert folder.stat().st_mode & 0o077 == 0


def test_the_file_does_not_grow_without_end(stateful, folder):
    master = stateful(limits={"history.bytes": 65536})
    text = message(PHID, text="x" * 1000)
    sizes = []
    for _ in range(4):
        for number in range(500):
            master.publish(text.replace("x", "y", number % 10).replace('"uniqueID"', '"other"'))
        sizes.append((folder / "data.mdb").stat().st_blocks)
    assert sizes[3] <= sizes[1]


def test_after_another_boot_what_was_not_flushed_starts_a_new_epoch_under_which_the_history_stays(
    relay, stateful, folder
):
    master = stateful()
    text = master.publish(message(PHID))
    epoch = opened(master)["epoch"]
    master.kill()
    change_state(folder, boot="another")
    master = stateful()
    assert opened(master)["epoch"] != epoch
    assert master.wait_for_log("epoch_ended").fields["epoch"] == epoch
    assert replayed(relay, master, 1) == [text]


def test_after_another_boot_what_was_flushed_goes_on_in_its_epoch(relay, stateful, folder):
    master = stateful()
    text = master.publish(message(PHID))
    epoch = opened(master)["epoch"]
    master.stop()
    change_state(folder, boot="another")
    master = stateful()
    assert (opened(master)["epoch"], opened(master)["last"]) == (epoch, "1")
    assert replayed(relay, master, 1) == [text]
    assert master.status()["history.age"] < 60_000


def test_with_durability_power_another_boot_is_no_end_of_an_epoch(relay, stateful, folder):
    master = stateful("--durability=power")
    text = master.publish(message(PHID))
    epoch = opened(master)["epoch"]
    master.kill()
    change_state(folder, boot="another")
    master = stateful("--durability=power")
    assert opened(master)["epoch"] == epoch
    assert replayed(relay, master, 1) == [text]


def test_a_machine_that_stopped_before_it_flushed_may_leave_any_bytes(relay, stateful, folder):
    master = stateful()
    master.publish(message(PHID))
    master.kill()
    change_state(folder, boot="another")
    data = folder / "data.mdb"
    with data.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(data.stat().st_size - 8192))
    master = stateful()
    assert master.wait_for_log("state_discarded")
    assert replayed(relay, master, 0) == []
    master.publish(message(PHID))


def test_a_follower_that_is_ahead_ends_the_epoch_and_nobody_misses_a_message(relay, stateful, folder, tmp_path):
    master = stateful()
    repeater = relay.repeater(master)
    client = relay.client(repeater, subscribe=[PHID])
    texts = [master.publish(message(PHID))]
    client.expect(*texts)
    master.stop()
    old = tmp_path / "old"
    subprocess.run(["cp", "-a", folder, old], check=True)
    mark = repeater.log_mark()
    master = stateful()
    repeater.wait_for_log("synchronised", after=mark)
    for _ in range(5):
        client.expect(master.publish(message(PHID)))
    master.stop()
    # Back in place, with the very inode: nothing but the follower tells that it is an older one.
    (folder / "data.mdb").write_bytes((old / "data.mdb").read_bytes())
    proxy_free_text = message(PHID)
    repeater.freeze()  # so that the master numbers a message before it learns of the follower
    master = stateful()
    master.publish(proxy_free_text)
    repeater.thaw()
    assert master.wait_for_log("epoch_ended").fields["reason"] == "a follower is ahead of it"
    client.expect(proxy_free_text)
    client.expect(master.publish(message(PHID)))


def test_a_folder_that_was_copied_starts_a_new_epoch(stateful, folder):
    master = stateful()
    master.publish(message(PHID))
    epoch = opened(master)["epoch"]
    master.stop()
    copy = (folder / "data.mdb").read_bytes()
    (folder / "data.mdb").rename(folder / "aside")
    (folder / "data.mdb").write_bytes(copy)
    master = stateful()
    assert opened(master)["epoch"] != epoch


def test_two_masters_do_not_share_a_folder(relay, stateful, folder):
    stateful()
    result = run_to_end("master", "--admin=127.0.0.1:0", "--repeaters=none", f"--state={folder}")
    assert result.returncode == UNAVAILABLE
    assert f"{folder}: another master holds this folder" in result.stderr


def damage_by_cutting(folder):
    with (folder / "data.mdb").open("r+b") as file:
        file.truncate(12288)


def damage_pages(folder):
    data = (folder / "data.mdb").read_bytes()
    (folder / "data.mdb").write_bytes(data[:8192] + bytes(b ^ 0x55 for b in data[8192:]))


def make_foreign(folder):
    (folder / "data.mdb").write_text("these are not the pages that you are looking for\n" * 1000)


def forget_the_state_file(folder):
    (folder / "state").unlink()


def come_from_another_version(folder):
    change_state(folder, format="99")


@pytest.mark.parametrize(
    "damage", [damage_by_cutting, damage_pages, make_foreign, forget_the_state_file, come_from_another_version]
)
def test_a_damaged_or_foreign_folder_is_a_clear_error(stateful, folder, damage):
    master = stateful()
    for number in range(20):
        master.publish(message(PHID, text="x" * 5000))
    master.kill()
    damage(folder)
    result = run_to_end("master", "--admin=127.0.0.1:0", "--repeaters=none", f"--state={folder}")
    assert result.returncode == CONFIG, result.stderr
    assert re.search(rf"start_failed .*{re.escape(str(folder))}", result.stderr), result.stderr


def test_a_state_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    result = run_to_end("master", "--admin=127.0.0.1:0", "--repeaters=none", f"--state={tmp_path}/file/state")
    assert result.returncode != 0
    assert f"{tmp_path}/file/state" in result.stderr


def test_a_repeater_keeps_no_state(relay):
    file = relay.config_file({"state": "/tmp/x", "upstream": [["http://127.0.0.1:1"]]})
    result = run_to_end("repeater", f"--config={file}", "--check-config")
    assert result.returncode == CONFIG
    assert "state: a repeater keeps no state" in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_answered_507_and_loses_nothing_that_was_answered_200(relay, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"nobody here can mount a small file system: {mounted.stderr.strip()}")
    try:
        master = relay.master(f"--state={disk}/state")
        client = relay.client(master, subscribe=[PHID])
        accepted, refused = [], []
        for number in range(400):
            text = message(PHID, number=number, text="x" * 5000)
            reply = master.post(text)
            (accepted if reply.status == 200 else refused).append(text)
            assert reply.status in (200, 507), reply
        assert accepted and refused
        client.expect(*accepted)
        assert master.events("publish_not_stored", status="507")
        metrics = master.metrics()
        assert metrics['publishes_total{result="accepted"}'] == len(accepted)
        assert metrics['publishes_total{result="not_stored"}'] == len(refused)
        # With room again, it goes on: also for one that was refused before.
        subprocess.run(["mount", "-o", "remount,size=16m", disk], check=True)
        assert master.post(refused[-1]).status == 200
        client.expect(refused[-1])
        master.kill()
        master = relay.master(f"--state={disk}/state")
        assert replayed(relay, master, len(accepted) + 1) == [*accepted, refused[-1]]
        master.stop()
    finally:
        for node in relay.nodes:
            node.ask_to_stop()
            node.wait_for_exit()
        subprocess.run(["umount", disk], check=True)
