"""Runs a master and two repeaters on loopback, publishes what Phabricator publishes, and shows it arriving.

Called by deploy/quickstart, which builds first; APHLICT_RELAY_BUILD names the build folder (default: build). `--once`
checks and exits. Otherwise it serves a page to try, on which repeaters can be stopped and started, until Ctrl-C, or
until its terminal goes. Everything it started is stopped at the end.
"""

import argparse
import asyncio
import http.server
import json
import os
import pathlib
import queue
import re
import secrets
import signal
import subprocess
import sys
import threading
import urllib.request

import websockets

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("APHLICT_RELAY_BUILD", "build")
PAGE = pathlib.Path(__file__).with_name("index.html")
CLIENT = ROOT / "deploy" / "browser" / "aphlict-client.js"
USER, THREAD, PROJECT = "PHID-USER-quickstart", "PHID-CONP-quickstart", "PHID-PROJ-quickstart"


class Node:
    """A master or a repeater, which keeps its ports when it is started again."""

    def __init__(self, name, role, ports, *options):
        self.name = name
        self.ports = dict.fromkeys(ports, 0)  # by who connects, as in the log; 0: one that the kernel picks
        self._binary = BUILD / role / f"aphlict-{role}"
        self._options = options
        self._process = None

    def running(self):
        return self._process is not None and self._process.poll() is None

    def start(self):
        """To be called from the main thread: with the thread that started it, the process would be killed."""
        if self.running():
            return
        option = {"admin": "--admin", "client": "--clients", "repeater": "--repeaters"}
        listeners = [f"{option[kind]}=127.0.0.1:{port}" for kind, port in self.ports.items()]
        self._process = subprocess.Popen(
            # Killed when this process is, and stopped by it alone: Ctrl-C does not reach another session.
            ["setpriv", "--pdeathsig", "KILL", self._binary, f"--name={self.name}", *listeners, *self._options],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._wait_for_ports()
        # Whoever does not read a pipe fills it; the rest of the log is of no use here.
        threading.Thread(target=self._process.stderr.read, daemon=True).start()

    def _wait_for_ports(self):
        lines, open_ports = [], {}
        for line in self._process.stderr:
            lines.append(line)
            if found := re.search(r"event=listening .*type=(\w+) address=\S*:(\d+)", line):
                open_ports[found[1]] = int(found[2])
            if open_ports.keys() >= self.ports.keys():
                self.ports = open_ports
                return
        sys.exit(f"{self.name} did not start:\n{''.join(lines)}")

    def stop(self):
        if not self.running():
            return
        self._process.send_signal(signal.SIGINT)  # at once: SIGTERM would let its clients go one after the other
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def client_url(self):
        return f"ws://127.0.0.1:{self.ports['client']}/"


def message_forms():
    """The forms of message that Phabricator sends: a notification, a chat line, a moved workboard."""
    unique = lambda: secrets.token_hex(16)
    return [
        {"key": str(secrets.randbelow(10**19)), "type": "notification", "subscribers": [USER], "uniqueID": unique()},
        {"type": "message", "threadPHID": THREAD, "messageID": 12, "subscribers": [THREAD], "uniqueID": unique()},
        {"type": "workboards", "subscribers": [PROJECT], "uniqueID": unique()},
    ]


def publish(master, body):
    request = urllib.request.Request(f"http://127.0.0.1:{master.ports['admin']}/", data=body)
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.status


async def check(master, repeaters):
    """Publishes each form, and returns whether each arrived, byte for byte and in order, on both repeaters."""
    clients = []
    for repeater in repeaters:
        client = await websockets.connect(repeater.client_url())
        await client.send(json.dumps({"command": "subscribe", "data": [USER, THREAD, PROJECT]}))
        await client.send(json.dumps({"command": "ping"}))
        await asyncio.wait_for(client.recv(), 10)  # the pong: the subscription is there
        clients.append(client)
    complete = True
    for form in message_forms():
        body = json.dumps(form)
        status = await asyncio.to_thread(publish, master, body.encode())
        print(f"\npublished  {status}  {body}")
        for repeater, client in zip(repeaters, clients):
            try:
                arrived = await asyncio.wait_for(client.recv(), 10) == body
            except (asyncio.TimeoutError, websockets.ConnectionClosed):
                arrived = False
            complete &= arrived
            print(f"{repeater.name:11}{'arrived' if arrived else 'DID NOT ARRIVE'}")
    for client in clients:
        await client.close()
    return complete


def servers_setting(master, repeaters):
    entry = lambda kind, port: {"type": kind, "host": "127.0.0.1", "port": port, "protocol": "http"}
    entries = [entry("admin", master.ports["admin"])] + [entry("client", each.ports["client"]) for each in repeaters]
    return json.dumps(entries, indent=2)


class Page(http.server.BaseHTTPRequestHandler):
    """Serves the page, and does what its buttons say. The admin port itself refuses what comes from a web page."""

    master = None
    repeaters = {}  # by name
    work = None  # what the main thread is to do, in turn

    def do_GET(self):
        if not self._for_us():
            return
        if self.path == "/":
            self._reply(200, "text/html; charset=utf-8", PAGE.read_bytes())
        elif self.path == f"/{CLIENT.name}":
            self._reply(200, "text/javascript; charset=utf-8", CLIENT.read_bytes())
        elif self.path == "/repeaters":
            urls = [{"name": name, "url": repeater.client_url()} for name, repeater in self.repeaters.items()]
            self._reply(200, "application/json", json.dumps(urls).encode())
        else:
            self.send_error(404)

    def do_POST(self):
        if not self._for_us():
            return
        verb, _, name = self.path[1:].partition("/")
        if verb == "publish":
            self._publish(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        elif verb in ("start", "stop") and name in self.repeaters:
            done = threading.Event()
            self.work.put((getattr(self.repeaters[name], verb), done))
            done.wait()
            self._reply(200, "application/json", b"{}")
        else:
            self.send_error(404)

    def _for_us(self):
        """Other pages may not publish here, neither by their own name nor by one that they let mean this host."""
        own = f"127.0.0.1:{self.server.server_port}"
        if self.headers.get("Host") == own and self.headers.get("Origin", f"http://{own}") == f"http://{own}":
            return True
        self.send_error(403)
        return False

    def _publish(self, body):
        try:
            publish(self.master, body)
            self._reply(200, "application/json", b"{}")
        except OSError as error:
            self._reply(502, "text/plain; charset=utf-8", f"The master did not take it: {error}".encode())

    def _reply(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve_page(master, repeaters):
    """Prints the page's address, and does what its buttons say, until a signal ends it."""
    Page.master, Page.repeaters, Page.work = master, {each.name: each for each in repeaters}, queue.SimpleQueue()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"\nstatus:  http://127.0.0.1:{master.ports['admin']}/status/")
    print(f"try it:  http://127.0.0.1:{server.server_port}/\n\nCtrl-C stops everything.", flush=True)
    while True:
        work, done = Page.work.get()
        work()
        done.set()


def end_on_signals():
    """The signals that end a process end this one by way of its `finally`. Under nohup, SIGHUP stays ignored."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, _: sys.exit(128 + number))


def main():
    parser = argparse.ArgumentParser(prog="deploy/quickstart", description=__doc__)
    parser.add_argument("--once", action="store_true", help="check that messages arrive, and exit")
    options = parser.parse_args()
    end_on_signals()
    nodes = []

    def start(*arguments):
        nodes.append(Node(*arguments))
        nodes[-1].start()
        return nodes[-1]

    try:
        master = start("master", "master", ["admin", "repeater"])
        upstream = f"http://127.0.0.1:{master.ports['repeater']}"
        repeaters = [
            start(f"repeater-{number}", "repeater", ["admin", "client"], f"--upstream={upstream}") for number in (1, 2)
        ]
        print(f"a master and two repeaters run on loopback; the feed is at {upstream}")
        complete = asyncio.run(check(master, repeaters))
        print(f"\nevery message arrived on both repeaters: {'yes' if complete else 'NO'}")
        print(f"\nnotification.servers for a Phabricator on this host:\n\n{servers_setting(master, repeaters)}")
        if options.once:
            return 0 if complete else 1
        try:
            serve_page(master, repeaters)
        except KeyboardInterrupt:  # the end that was asked for
            print()
            return 0
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        for node in reversed(nodes):
            node.stop()


if __name__ == "__main__":
    sys.exit(main())
