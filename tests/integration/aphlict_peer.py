"""A push peer as Aphlict is one: takes publishes on its admin port, and passes each on to its own peers."""

import http.client
import http.server
import json
import secrets
import socket
import ssl
import threading
import urllib.parse

from relay import DEADLINE, request_on


class AphlictPeer:
    """Not the product's code, and without its care: whatever a message has touched is left out, and that is all.

    `taken` are the posts that it has not dropped, as (instance, body). `statuses`, when it is not empty, are answered in
    their order in place of taking what comes; what is for one of `refused_instances` is answered 503.
    """

    def __init__(self, port=0, certificate=None):
        self.fingerprint = secrets.token_hex(8)
        self.peers = []  # [{"host": …, "port": …}], as the configuration has them
        self.posts = 0
        self.taken = []
        self.connections = 0
        self.statuses = []
        self.refused_instances = set()
        self._known = {}  # fingerprints, by port
        self._awake = threading.Event()
        self._awake.set()
        self._sockets = set()
        peer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # else each line of the head is a packet

            def setup(self):
                super().setup()
                peer.connections += 1
                peer._sockets.add(self.connection)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                peer._awake.wait()
                peer.posts += 1
                status = peer.statuses.pop(0) if peer.statuses else 200
                if peer.instance_of(self.path) in peer.refused_instances:
                    status = 503
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                if status == 200:  # in chunks, as Node.js answers what has no length
                    peer._take(self.path, body)
                    receipt = json.dumps({"fingerprint": peer.fingerprint}).encode()
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(receipt), receipt))
                else:
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 128  # the others of a mesh may all come at once

            def handle_error(self, *_):
                pass  # a connection that was cut

        self._server = Server(("127.0.0.1", port), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.cert, certificate.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.entry = {"host": "127.0.0.1", "port": self.port, "protocol": "https" if certificate else "http"}
        threading.Thread(target=self._server.serve_forever, args=[0.01], daemon=True).start()

    @staticmethod
    def instance_of(path):
        return urllib.parse.parse_qs(urllib.parse.urlsplit(path).query).get("instance", ["default"])[0]

    def _take(self, path, body):
        touched = json.loads(body).get("touched") or []
        if self.fingerprint in touched:
            return
        self.taken.append((self.instance_of(path), body))
        for peer in self.peers:
            if self._known.get(peer["port"]) not in (self.fingerprint, *touched):
                threading.Thread(target=self._pass_on, args=[peer, path, body, touched], daemon=True).start()

    def _pass_on(self, peer, path, body, touched):
        copy = json.dumps({**json.loads(body), "touched": [*touched, self.fingerprint]})
        connection = http.client.HTTPConnection(peer["host"], peer["port"], timeout=DEADLINE)
        try:
            reply = request_on(connection, "POST", path, copy)
            self._known[peer["port"]] = reply.json()["fingerprint"]
        except (OSError, http.client.HTTPException):
            pass  # lost, as with Aphlict
        finally:
            connection.close()

    def messages(self):
        """What it has taken, without the list of those that it has come by, in order."""
        return [{key: value for key, value in json.loads(body).items() if key != "touched"} for _, body in list(self.taken)]

    def stop_answering(self):
        self._awake.clear()

    def answer_again(self):
        self._awake.set()

    def cut_connections(self):
        for connection in list(self._sockets):
            self._sockets.discard(connection)
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self._awake.set()
        self._server.shutdown()
        self._server.server_close()
        self.cut_connections()
