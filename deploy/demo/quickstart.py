"""Runs a master and two repeaters on loopback, publishes what Phabricator publishes, and shows it arriving.

Called by deploy/quickstart, which builds first. `--once` checks and exits; otherwise it serves a page to try, and
runs until Ctrl-C. Everything it started is stopped at the end.
"""

import argparse
import asyncio
import http.server
import json
import pathlib
import re
import secrets
import signal
import subprocess
import sys
import threading
import urllib.parse
import urllib.request

import websockets

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = pathlib.Path(__file__).with_name("index.html")
USER, THREAD, PROJECT = "PHID-USER-quickstart", "PHID-CONP-quickstart", "PHID-PROJ-quickstart"


class Node:
    """A process of ours, and the ports that its log names."""

    def __init__(self, name, ports, *command):
        self.name = name
        self.ports = {}
        self.process = subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, text=True)
        self.early = []
        for line in self.process.stderr:
            self.early.append(line)
            if found := re.search(r"event=listening type=(\w+) address=\S*:(\d+)", line):
                self.ports[found[1]] = int(found[2])
            if self.ports.keys() >= ports:
                break
        else:
            sys.exit(f"{name} did not start:\n{''.join(self.early)}")
        # Whoever does not read a pipe fills it; the rest of the log is of no use here.
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def message_forms():
    """The forms of message that Phabricator sends: a notification, a chat line, a moved workboard."""
    unique = lambda: secrets.token_hex(16)
    return [
        {"key": str(secrets.randbelow(10**19)), "type": "notification", "subscribers": [USER], "uniqueID": unique()},
        {"type": "message", "threadPHID": THREAD, "messageID": 12, "subscribers": [THREAD], "uniqueID": unique()},
        {"type": "workboards", "subscribers": [PROJECT], "uniqueID": unique()},
    ]


def publish(admin_port, body):
    request = urllib.request.Request(f"http://127.0.0.1:{admin_port}/", data=body.encode())
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.status


async def check(master, repeaters):
    """Publishes each form, and returns whether each arrived, byte for byte and in order, on both repeaters."""
    clients = []
    for repeater in repeaters:
        client = await websockets.connect(f"ws://127.0.0.1:{repeater.ports['client']}/")
        await client.send(json.dumps({"command": "subscribe", "data": [USER, THREAD, PROJECT]}))
        await client.send(json.dumps({"command": "ping"}))
        await asyncio.wait_for(client.recv(), 10)  # the pong: the subscription is there
        clients.append(client)
    complete = True
    for form in message_forms():
        body = json.dumps(form)
        status = await asyncio.to_thread(publish, master.ports["admin"], body)
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
    return json.dumps([entry("admin", master.ports["admin"])] +
                      [entry("client", each.ports["client"]) for each in repeaters], indent=2)


def serve_page(master, repeaters):
    """Serves the page, and takes its publishes: the admin port refuses those that come from a web page."""
    urls = [f"ws://127.0.0.1:{each.ports['client']}/" for each in repeaters]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path.partition("?")[0] != "/":
                return self.send_error(404)
            self.reply(200, "text/html; charset=utf-8", PAGE.read_bytes())

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                publish(master.ports["admin"], body.decode())
                self.reply(200, "application/json", b"{}")
            except (OSError, ValueError) as error:
                self.reply(502, "text/plain; charset=utf-8", str(error).encode())

        def reply(self, status, kind, body):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/?" + urllib.parse.urlencode([("client", url) for url in urls])


def main():
    parser = argparse.ArgumentParser(prog="deploy/quickstart", description=__doc__)
    parser.add_argument("--once", action="store_true", help="check that messages arrive, and exit")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    nodes = []
    try:
        master = Node("master", {"admin", "repeater"}, ROOT / "build/master/aphlict-master",
                      "--admin", "127.0.0.1:0", "--repeaters", "127.0.0.1:0", "--name", "master")
        nodes.append(master)
        upstream = f"http://127.0.0.1:{master.ports['repeater']}"
        for number in (1, 2):
            nodes.append(Node(f"repeater-{number}", {"admin", "client"}, ROOT / "build/repeater/aphlict-repeater",
                              "--upstream", upstream, "--clients", "127.0.0.1:0", "--admin", "127.0.0.1:0",
                              "--name", f"repeater-{number}"))
        repeaters = nodes[1:]
        print(f"a master and two repeaters run on loopback; the feed is at {upstream}")
        complete = asyncio.run(check(master, repeaters))
        print(f"\nevery message arrived on both repeaters: {'yes' if complete else 'NO'}")
        print(f"\nnotification.servers for a Phabricator on this host:\n\n{servers_setting(master, repeaters)}")
        if options.once:
            return 0 if complete else 1
        print(f"\nstatus:  http://127.0.0.1:{master.ports['admin']}/status/")
        print(f"try it:  {serve_page(master, repeaters)}\n\nCtrl-C stops everything.", flush=True)
        signal.pause()
    except KeyboardInterrupt:
        print()
    finally:
        for node in reversed(nodes):
            node.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
