"""Options and configuration files: what is understood, and what is refused with which exit code."""

import json
import re
import socket

import pytest

from relay import DEFAULT_PORTS, ROOT, message, request, run_to_end, unused_port, wait_until

OK, USAGE, UNAVAILABLE, NO_PERMISSION, CONFIG = 0, 64, 69, 77, 78
ROLES = ["master", "repeater"]

# As Phabricator ships it (support/aphlict/server/aphlict.default.json), but for its ports and places.
APHLICT_DEFAULT = """{
  "servers": [
    {
      "type": "client",
      "port": 0,
      "listen": "0.0.0.0",
      "ssl.key": null,
      "ssl.cert": null,
      "ssl.chain": null
    },
    {
      "type": "admin",
      "port": 0,
      "listen": "127.0.0.1",
      "ssl.key": null,
      "ssl.cert": null,
      "ssl.chain": null
    }
  ],
  "logs": [
    {
      "path": "FOLDER/aphlict.log"
    }
  ],
  "pidfile": "FOLDER/aphlict.pid"
}
"""


def arguments(role, *more):
    """The least that a role needs, on ports of its own."""
    if role == "master":
        return ["--admin=127.0.0.1:0", "--repeaters=127.0.0.1:0", *more]
    return ["--admin=127.0.0.1:0", "--clients=127.0.0.1:0", f"--upstream=http://127.0.0.1:{unused_port()}", *more]


def refused(code, words, role, *options, **process):
    """The binary must exit with that code and say these words in one line each on stderr."""
    result = run_to_end(role, *options, **process)
    assert result.returncode == code, (result.returncode, result.stderr)
    lines = result.stderr.splitlines()
    for word in words:
        assert any(word in line for line in lines), f"no line says {word!r}:\n{result.stderr}"
    assert len(lines) <= 10, result.stderr
    return result.stderr


# --- options -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_version_is_told(role):
    result = run_to_end(role, "--version")
    assert result.returncode == OK
    assert re.search(r"\b\d+\.\d+\.\d+\b", result.stdout)


@pytest.mark.parametrize("role", ROLES)
def test_help_names_every_option(role):
    result = run_to_end(role, "--help")
    assert result.returncode == OK
    options = ["config", "admin", "repeaters", "clients", "log-level", "debug", "check-config", "version", "secret-file"]
    if role == "repeater":
        options += ["upstream", "name", "public-url", "reuse-port"]
    for option in options:
        assert f"--{option}" in result.stdout


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "option",
    [
        "--nope",
        "--admin",
        "--admin=",
        "--admin=127.0.0.1:65536",
        "--admin=127.0.0.1:-1",
        "--admin=127.0.0.1:x",
        "--admin=[::1:22281",
        "--log-level=loud",
        "--log-level=",
        "--name=",
        "--config=",
        "--drain=-1",
        "--drain=soon",
        "stray",
    ],
)
def test_a_wrong_option_exits_64_and_is_named(role, option):
    refused(USAGE, [option.split("=")[0]], role, *arguments(role), option)


@pytest.mark.parametrize("option", ["--admin", "--clients", "--repeaters", "--upstream"])
def test_an_option_takes_one_value_each_time_it_is_given(option):
    """What stands behind the value is no second one."""
    value = "http://127.0.0.1:1" if option == "--upstream" else "127.0.0.1:0"
    refused(USAGE, ["127.0.0.2:0"], "repeater", *arguments("repeater"), option, value, "127.0.0.2:0")


def test_a_value_that_is_missing_is_not_taken_from_the_next_option():
    refused(USAGE, ["--name"], "master", "--name=", "--check-config")


@pytest.mark.parametrize("option", ["--config", "--name", "--log-level", "--drain"])
def test_an_option_that_counts_once_is_refused_twice(option):
    refused(USAGE, [option], "master", *arguments("master"), option, "1", option, "2")


@pytest.mark.parametrize(
    "url",
    ["", "nope", "ftp://127.0.0.1:1", "http://", "http://127.0.0.1:0", "http://127.0.0.1:65536", "http://user:x@127.0.0.1:1"],
)
def test_an_upstream_that_is_no_url_exits_64(url):
    refused(USAGE, ["upstream"], "repeater", "--admin=127.0.0.1:0", "--clients=127.0.0.1:0", f"--upstream={url}")


def test_a_repeater_without_an_upstream_says_so():
    result = run_to_end("repeater", "--admin=127.0.0.1:0", "--clients=127.0.0.1:0")
    assert result.returncode in (USAGE, CONFIG)
    assert "upstream" in result.stderr


def test_a_master_has_no_option_of_repeaters():
    refused(USAGE, ["--upstream"], "master", *arguments("master"), "--upstream=http://127.0.0.1:1")


def test_the_two_commands_are_complete_without_any_file(relay):
    """On their default ports, which are those that Phabricator's documentation names."""
    for port in DEFAULT_PORTS:
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("0.0.0.0", port))
            except OSError:
                pytest.skip(f"port {port} is taken on this machine")
    master = relay.start("master")
    assert master.address("admin") == ("127.0.0.1", 22281)
    assert master.address("repeater") == ("127.0.0.1", 22282)
    repeater = relay.start("repeater", "--upstream", "http://127.0.0.1:22282")
    assert repeater.address("admin") == ("127.0.0.1", 22283)
    assert repeater.address("client") == ("0.0.0.0", 22280)
    assert not master.events("listening", type="client") and not repeater.events("listening", type="repeater")
    client = relay.client(repeater, subscribe=["PHID-A"])
    client.expect(master.publish(message("PHID-A")))


@pytest.mark.parametrize("listener", ["admin", "clients", "repeaters"])
def test_none_switches_a_listener_off(relay, listener):
    master = relay.master(**{listener: "none"})
    server_type = {"admin": "admin", "clients": "client", "repeaters": "repeater"}[listener]
    assert len(master.events("listening")) == 2
    assert not master.events("listening", type=server_type)


def test_options_win_over_the_file(relay):
    port = unused_port()
    config = {"servers": [{"type": "admin", "port": port, "listen": "127.0.0.1"}]}
    assert relay.master(config=config).address("admin")[1] != port
    assert relay.start("master", f"--config={relay.config_file(config)}").address("admin")[1] == port


def test_two_upstream_options_are_two_groups(relay):
    masters = [relay.master(), relay.master()]
    repeater = relay.repeater(*masters)
    client = relay.client(repeater, subscribe=["PHID-A"])
    for master in masters:
        client.expect(master.publish(message("PHID-A")))


# --- addresses ---------------------------------------------------------------------------------------------


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")


@needs_ipv6
def test_an_address_may_be_ipv6(relay):
    master = relay.master(admin="[::1]:0", clients="[::1]:0", repeaters="[::1]:0")
    assert master.address("client")[0] == "::1"
    repeater = relay.repeater("http://[::1]:%d" % master.address("repeater")[1], clients="[::1]:0")
    client = relay.client(repeater, subscribe=["PHID-A"])
    client.expect(master.publish(message("PHID-A")))


@needs_ipv6
def test_the_ipv6_wildcard_is_reached_by_ipv4_too(relay):
    port = relay.master(clients="[::]:0").address("client")[1]
    for host in ("127.0.0.1", "::1"):
        assert request((host, port), "GET", "/").status == 501


def test_an_address_may_be_a_name(relay):
    master = relay.master(admin="localhost:0")
    assert master.publish(message("PHID-A"))


def test_a_name_that_does_not_resolve_is_a_clear_error():
    result = run_to_end("master", "--admin=does-not-exist.invalid:0", "--repeaters=127.0.0.1:0")
    assert result.returncode not in (0, -6, -11)
    assert "does-not-exist.invalid" in result.stderr


@pytest.mark.parametrize("server_type, option", [("admin", "--admin"), ("client", "--clients"), ("repeater", "--repeaters")])
def test_an_occupied_port_exits_69_and_is_named(relay, master, server_type, option):
    address = "%s:%d" % master.address(server_type)
    listeners = {"--admin": "127.0.0.1:0", "--clients": "127.0.0.1:0", "--repeaters": "127.0.0.1:0", option: address}
    refused(UNAVAILABLE, [address], "master", *(f"{name}={value}" for name, value in listeners.items()))


def test_an_occupied_client_port_of_a_repeater_exits_69_and_is_named(relay, master):
    address = "%s:%d" % master.address("client")
    options = [f"--upstream={master.feed_url}", "--admin=127.0.0.1:0", f"--clients={address}"]
    refused(UNAVAILABLE, [address], "repeater", *options)


def test_repeaters_share_a_client_port_with_reuse_port_and_every_client_is_served(relay, master):
    address = f"127.0.0.1:{unused_port()}"
    repeaters = [relay.repeater(master, clients=address, options=["--reuse-port"]) for _ in range(2)]
    clients = [relay.client(repeaters[0], subscribe=["PHID-A"]) for _ in range(40)]
    shares = [repeater.status()["clients.active"] for repeater in repeaters]
    assert sum(shares) == 40 and all(shares)
    text = master.publish(message("PHID-A"))
    for client in clients:
        client.expect(text)
    refused(UNAVAILABLE, [address], "repeater", f"--upstream={master.feed_url}", "--admin=127.0.0.1:0", f"--clients={address}")


# --- files -------------------------------------------------------------------------------------------------


def test_aphlicts_default_file_works_unchanged(relay):
    config = relay.config_file(APHLICT_DEFAULT.replace("FOLDER", str(relay.folder)))
    log = relay.folder / "aphlict.log"
    relay.start("master", "--config", config, "--repeaters=127.0.0.1:0")
    lines = wait_until(lambda: len(found := re.findall(r"event=listening.*", read(log))) >= 3 and found, "it listens")
    ports = {re.search(r"type=(\w+)", line)[1]: int(re.search(r"address=\S+:(\d+)", line)[1]) for line in lines}
    assert request(("127.0.0.1", ports["client"]), "GET", "/").status == 501
    assert request(("127.0.0.1", ports["admin"]), "POST", "/", message("PHID-A")).status == 200
    wait_until((relay.folder / "aphlict.pid").exists, "a pidfile")


def read(path):
    return path.read_text() if path.exists() else ""


def test_a_whole_file_of_aphlict_is_accepted_with_notices_for_what_has_no_effect(relay):
    config = {
        "servers": [{"type": "admin", "port": 0, "listen": "127.0.0.1", "ssl.key": None, "ssl.cert": None, "ssl.chain": None}],
        "logs": None,
        "cluster": [],
        "pidfile": None,
        "memory.hint": 256,
    }
    master = relay.start("master", f"--config={relay.config_file(config)}", "--repeaters=127.0.0.1:0")
    assert master.address("admin")
    warnings = [line.text for line in master.log if line.fields.get("level") == "warning"]
    assert any("memory.hint" in text for text in warnings), warnings


def test_an_admin_server_without_listen_binds_to_loopback_and_warns(relay):
    """Aphlict binds it to 0.0.0.0."""
    config = {"servers": [{"type": "admin", "port": 0}]}
    master = relay.start("master", f"--config={relay.config_file(config)}", "--repeaters=127.0.0.1:0")
    assert master.address("admin")[0] == "127.0.0.1"
    warnings = [line.text for line in master.log if line.fields.get("level") == "warning"]
    assert any("127.0.0.1" in text or "listen" in text for text in warnings), warnings


def test_a_repeater_can_be_configured_by_a_file_alone(relay, master):
    config = {
        "upstream": [[master.feed_url], {"urls": [relay.master().feed_url], "instances": ["dog", "cat"]}],
        "public.url": "wss://notify-1.example.com/",
        "servers": [
            {"type": "client", "port": 0, "listen": "127.0.0.1"},
            {"type": "admin", "port": 0, "listen": "127.0.0.1"},
            {"type": "repeater", "port": 0, "listen": "127.0.0.1"},
        ],
        "limits": {"history.seconds": 30},
    }
    repeater = relay.start("repeater", f"--config={relay.config_file(config)}")
    client = relay.client(repeater, subscribe=["PHID-A"])
    client.expect(master.publish(message("PHID-A")))
    assert repeater.address("repeater")


def test_a_file_may_have_comments(relay):
    config = relay.config_file('// a comment\n{"limits": /* another */ {"history.seconds": 5}}\n')
    assert run_to_end("master", "--check-config", f"--config={config}", *arguments("master")).returncode == OK


@pytest.mark.parametrize(
    "config, key",
    [
        ({"servrs": []}, "servrs"),
        ({"servers": [{"type": "admin", "port": 0, "prt": 1}]}, "prt"),
        ({"limits": {"histroy.seconds": 60}}, "histroy.seconds"),
        ({"logs": [{"path": "/dev/null", "pth": ""}]}, "pth"),
        ({"upstream": [{"urls": ["http://127.0.0.1:1"], "instance": ["dog"]}]}, "instance"),
    ],
)
def test_an_unknown_key_exits_78_and_names_file_and_key(relay, config, key):
    file = relay.config_file(config)
    role = "repeater" if "upstream" in config else "master"
    error = refused(CONFIG, [key], role, f"--config={file}", *arguments(role))
    assert any(str(file) in line and key in line for line in error.splitlines()), error


@pytest.mark.parametrize(
    "config, key",
    [
        ({"servers": {}}, "servers"),
        ({"servers": [1]}, "servers[0]"),
        ({"servers": [{"port": 1}]}, "type"),
        ({"servers": [{"type": "browser", "port": 1}]}, "type"),
        ({"servers": [{"type": 1, "port": 1}]}, "type"),
        ({"servers": [{"type": "admin", "port": "22281"}]}, "port"),
        ({"servers": [{"type": "admin", "port": 65536}]}, "port"),
        ({"servers": [{"type": "admin", "port": -1}]}, "port"),
        ({"servers": [{"type": "admin", "port": 1.5}]}, "port"),
        ({"servers": [{"type": "admin", "port": 1, "listen": 5}]}, "listen"),
        ({"logs": {}}, "logs"),
        ({"logs": ["x"]}, "logs[0]"),
        ({"logs": [{"path": 1}]}, "path"),
        ({"logs": [{"path": ""}]}, "logs[0].path"),
        ({"pidfile": 7}, "pidfile"),
        ({"cluster": 5}, "cluster"),
        ({"limits": []}, "limits"),
        ({"limits": {"history.seconds": "60"}}, "history.seconds"),
        ({"limits": {"history.seconds": -1}}, "history.seconds"),
        ({"limits": {"publish.bytes": 1e30}}, "publish.bytes"),
        ({"upstream": "http://127.0.0.1:1"}, "upstream"),
        ({"upstream": []}, "upstream"),
        ({"upstream": ["http://127.0.0.1:1"]}, "upstream[0]"),
        ({"upstream": {"urls": ["http://127.0.0.1:1"]}}, "upstream"),
        ({"upstream": [{"urls": "http://127.0.0.1:1"}]}, "upstream[0].urls"),
        ({"upstream": [{"urls": ["http://127.0.0.1:1"], "instances": []}]}, "upstream[0].instances"),
        ({"upstream": [[]]}, "upstream[0]"),
        ({"upstream": [[5]]}, "upstream[0]"),
        ({"upstream": [["nope"]]}, "upstream[0]"),
        ({"upstream": [{"instances": ["dog"]}]}, "upstream[0]"),
        ({"upstream": [{"urls": ["http://127.0.0.1:1"], "instances": "dog"}]}, "instances"),
        ({"public.url": 5, "upstream": [["http://127.0.0.1:1"]]}, "public.url"),
    ],
)
def test_a_wrong_type_exits_78_and_names_file_and_key(relay, config, key):
    file = relay.config_file(config)
    if "upstream" in config:
        options = ["--admin=127.0.0.1:0", "--clients=127.0.0.1:0"]
        error = refused(CONFIG, [key], "repeater", f"--config={file}", *options)
    else:
        error = refused(CONFIG, [key], "master", f"--config={file}")
    assert any(str(file) in line and key in line for line in error.splitlines()), error


@pytest.mark.parametrize("text", ["", "{", "nope", "[]", "null", '{"limits":{}} x', '{"limits":{},}', "\xff"])
def test_a_file_that_is_not_a_json_object_exits_78(relay, text):
    file = relay.folder / "broken.json"
    file.write_bytes(text.encode("latin-1"))
    refused(CONFIG, [str(file)], "master", f"--config={file}")


def test_a_mistake_is_told_with_its_line(relay):
    file = relay.config_file('{\n  "limits": {},\n  "servers": [\n    oops\n  ]\n}\n')
    refused(CONFIG, ["line 4"], "master", f"--config={file}")


def test_every_problem_is_reported_at_once(relay):
    config = {"servrs": [], "pidfile": 7, "limits": {"nope": 1}, "servers": [{"type": "admin", "port": "x"}]}
    refused(CONFIG, ["servrs", "pidfile", "nope", "port"], "master", f"--config={relay.config_file(config)}")


def test_two_servers_on_one_port_exit_78(relay):
    port = unused_port()
    servers = [{"type": server_type, "port": port, "listen": "127.0.0.1"} for server_type in ("admin", "client")]
    refused(CONFIG, [str(port)], "master", f"--config={relay.config_file({'servers': servers})}")


def test_two_servers_on_one_port_by_options_exit_64_or_78():
    port = unused_port()
    result = run_to_end("master", f"--admin=127.0.0.1:{port}", f"--repeaters=127.0.0.1:{port}")
    assert result.returncode in (USAGE, CONFIG)
    assert str(port) in result.stderr


def test_a_file_that_is_not_there_exits_78_and_is_named(relay):
    missing = relay.folder / "missing.json"
    refused(CONFIG, [f"{missing}: No such file"], "master", f"--config={missing}")


def test_a_folder_in_place_of_a_file_exits_78_and_is_named(relay):
    refused(CONFIG, [str(relay.folder)], "master", f"--config={relay.folder}")


def test_a_file_that_may_not_be_read_exits_77_and_is_named(relay):
    file = relay.config_file({})
    file.chmod(0)
    refused(NO_PERMISSION, [f"{file}: Permission denied"], "master", f"--config={file}", bound_by_modes=True)


def naming(key, path):
    """A configuration whose log, or pid file, is at the path, and the key's full name."""
    return ({"logs": [{"path": str(path)}]}, "logs[0].path") if key == "logs" else ({key: str(path)}, key)


FILES = pytest.mark.parametrize("key", ["logs", "pidfile"])
CHECKED = pytest.mark.parametrize("check", [["--check-config"], []], ids=["checked", "started"])


@FILES
@CHECKED
@pytest.mark.parametrize("place", ["file/aphlict", "file/a/b/aphlict", "folder"])
def test_a_log_or_pidfile_that_cannot_be_written_exits_78_and_names_file_and_key(relay, key, check, place):
    (relay.folder / "file").write_text("")
    (relay.folder / "folder").mkdir()
    config, name = naming(key, relay.folder / place)
    file = relay.config_file(config)
    error = refused(CONFIG, [str(relay.folder / place.rpartition("/")[0])], "master", f"--config={file}", *check)
    assert f"{file}: {name}: " in error


@FILES
@CHECKED
@pytest.mark.parametrize("place", ["file", "folder/aphlict", "folder/a/aphlict"])
def test_a_log_or_pidfile_that_may_not_be_written_exits_77_and_names_file_and_key(relay, key, check, place):
    (relay.folder / "file").touch(mode=0o400)
    (relay.folder / "folder").mkdir(mode=0o500)
    config, name = naming(key, relay.folder / place)
    file = relay.config_file(config)
    error = refused(NO_PERMISSION, [], "master", f"--config={file}", *check, bound_by_modes=True)
    assert f"{file}: {name}: " in error


def test_folders_of_logs_and_of_the_pidfile_are_made_as_aphlict_makes_them(relay):
    log, pidfile = relay.folder / "a" / "b" / "log", relay.folder / "c" / "d" / "pid"
    file = relay.config_file({"logs": [{"path": str(log)}], "pidfile": str(pidfile)})
    master = relay.start("master", f"--config={file}", *arguments("master"))
    wait_until(lambda: read(pidfile).strip() == str(master.process.pid), "its id in the pidfile")
    assert "event=listening" in read(log)


def test_why_a_node_does_not_start_is_told_on_stderr_also_when_the_log_is_a_file(relay, master):
    log = relay.folder / "log"
    file = relay.config_file({"logs": [{"path": str(log)}]})
    address = "127.0.0.1:%d" % master.address("admin")[1]
    refused(UNAVAILABLE, [address], "master", f"--config={file}", f"--admin={address}", "--repeaters=none")
    assert "event=start_failed" in read(log) and address in read(log)


# --- --check-config ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_check_config_accepts_what_is_right_and_starts_nothing(relay, role):
    file = relay.config_file({"limits": {"history.seconds": 30}})
    result = run_to_end(role, "--check-config", f"--config={file}", *arguments(role))
    assert result.returncode == OK, result.stderr
    assert "event=listening" not in result.stderr


def test_check_config_reports_what_is_wrong_with_the_same_exit_code(relay):
    file = relay.config_file({"servrs": [], "limits": {"nope": 1}})
    refused(CONFIG, ["servrs", "nope"], "master", "--check-config", f"--config={file}")


def test_check_config_accepts_aphlicts_default_file(relay):
    file = relay.config_file(APHLICT_DEFAULT.replace("FOLDER", str(relay.folder)))
    assert run_to_end("master", "--check-config", f"--config={file}").returncode == OK


def test_check_config_leaves_no_trace(relay):
    """Root checks, and another user runs: a file of root's would be in the way."""
    config = {"logs": [{"path": f"{relay.folder}/a/log"}], "pidfile": f"{relay.folder}/b/pid"}
    file = relay.config_file(config)
    state = f"--state={relay.folder}/c"
    assert run_to_end("master", "--check-config", f"--config={file}", state, *arguments("master")).returncode == OK
    assert list(relay.folder.iterdir()) == [file]


@pytest.mark.parametrize("server", ["admin", "clients", "repeaters"])
def test_check_config_looks_at_the_ports_when_it_is_asked_to(relay, server):
    taken = socket.create_server(("127.0.0.1", 0))
    free = [option for option in arguments("master") if not option.startswith(f"--{server}=")]
    options = [*free, "--check-config", f"--{server}=127.0.0.1:{taken.getsockname()[1]}"]
    assert run_to_end("master", *options).returncode == OK
    refused(UNAVAILABLE, [f"--{server}: bind 127.0.0.1:{taken.getsockname()[1]}: EADDRINUSE"], "master", *options, "--check-ports")
    taken.close()
    assert run_to_end("master", *options, "--check-ports").returncode == OK


def test_ports_are_only_looked_at_with_check_config():
    refused(USAGE, ["--check-config"], "master", *arguments("master"), "--check-ports")


def test_check_config_looks_up_names(relay):
    refused(CONFIG, ["--admin: resolve does-not-exist.invalid"], "master", "--check-config", "--admin=does-not-exist.invalid:1")


def test_check_config_names_the_folder_of_the_state_that_cannot_be(relay):
    file = relay.config_file({})
    refused(CONFIG, [f"state: {file}"], "master", "--check-config", f"--state={file}/state")


def test_check_config_reports_files_beside_everything_else(relay):
    file = relay.config_file({"servrs": [], "pidfile": f"{relay.folder}/config-0.json/pid"})
    refused(CONFIG, ["servrs", "pidfile"], "master", "--check-config", f"--config={file}")


def test_check_config_does_not_disturb_a_running_node(relay):
    config = {"servers": [{"type": "admin", "port": unused_port(), "listen": "127.0.0.1"}], "pidfile": f"{relay.folder}/pid"}
    file = relay.config_file(config)
    master = relay.start("master", f"--config={file}", "--repeaters=127.0.0.1:0")
    master.address("admin")
    assert run_to_end("master", "--check-config", f"--config={file}", "--repeaters=127.0.0.1:0").returncode == OK
    wait_until(lambda: read(relay.folder / "pid").strip() == str(master.process.pid), "its id in the pidfile")
    assert master.status()


def test_every_limit_is_a_setting(relay):
    limits = {
        "publish.bytes": 1000,
        "json.depth": 10,
        "message.subscribers": 10,
        "instance.bytes": 10,
        "instances": 10,
        "head.bytes": 1000,
        "head.fields": 10,
        "head.seconds": 1,
        "unfinished.bytes": 100_000,
        "clients": 10,
        "command.bytes": 1000,
        "command.fragments": 10,
        "command.seconds": 1,
        "client.subscriptions": 10,
        "client.subscription.bytes": 1000,
        "client.stalled.bytes": 1000,
        "client.stalled.seconds": 1,
        "client.unsent.bytes": 1000,
        "client.ping.seconds": 1,
        "history.seconds": 1,
        "history.bytes": 1000,
        "repeaters": 1,
    }
    master = relay.master(limits=limits)
    assert master.post(json.dumps({"subscribers": [str(n) for n in range(11)]})).status == 400
    assert master.post('{"subscribers":[],"x":' + "[" * 10 + "]" * 10 + "}").status == 400
    assert master.post(message("PHID-A"), "/?instance=12345678901").status == 400
    assert master.post(message("PHID-A", text="x" * 1000)).status == 413


# --- every setting is documented ---------------------------------------------------------------------------


def documented():
    """The keys of README.md's tables, and those of them that it says a running node does not take."""
    text = (ROOT / "README.md").read_text().partition("## Configuration")[2].partition("## Operating it")[0]
    keys, prefix = [], ""
    for line in text.splitlines():
        if line.startswith("| key of `limits`"):
            prefix = "limits."
        cell = line.split(" | ")[0]
        if not cell.startswith("| `") or cell == "| `limits`":
            continue
        names = re.findall(r"`([^`]+)`", cell)
        stem = names[0][: names[0].index(".ssl")] if ".ssl" in names[0] else ""
        keys += [prefix + (stem + name if name[0] == "." else name) for name in names]
    sentence = re.search(r"SIGHUP takes all of them anew but (.*?)\.\s", text, re.S)[1]
    return keys, re.findall(r"`([^`]+)`", sentence)


@pytest.mark.parametrize("role", ROLES)
def test_every_setting_is_documented_and_whether_a_running_node_takes_it(role):
    lines = run_to_end(role, "--list-settings").stdout.splitlines()
    own = dict(line.split(" ") for line in lines)
    keys, at_restart = documented()
    assert keys == list(own)
    assert {key for key, when in own.items() if when == "restart"} == set(at_restart)
    assert set(own.values()) == {"reload", "restart"}
