// A peer of the benchmark: what one would write on npm's ws in an afternoon, with its costs kept low.
'use strict';

const http = require('http');
const { Sender, WebSocketServer } = require('ws');

const subscribers = new Map(); // PHID -> Set of sockets

function subscribe(socket, phids) {
  for (const phid of phids) {
    let set = subscribers.get(phid);
    if (set === undefined) subscribers.set(phid, (set = new Set()));
    set.add(socket);
    socket.phids.push(phid);
  }
}

function leave(socket) {
  for (const phid of socket.phids) {
    const set = subscribers.get(phid);
    set.delete(socket);
    if (set.size === 0) subscribers.delete(phid);
  }
}

// The frame is made once, and goes to the sockets past ws, which would make it anew for each.
function fanOut(message, body) {
  const frame = Buffer.concat(
    Sender.frame(body, { fin: true, opcode: 1, mask: false, readOnly: true, rsv1: false }));
  if (message.subscribers.length === 1) {
    for (const socket of subscribers.get(message.subscribers[0]) || []) socket._socket.write(frame);
    return;
  }
  const matching = new Set();
  for (const phid of message.subscribers) for (const socket of subscribers.get(phid) || []) matching.add(socket);
  for (const socket of matching) socket._socket.write(frame);
}

function listen(server, type) {
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
    process.stderr.write(`event=listening type=${type} address=127.0.0.1:${server.address().port}\n`);
  });
}

const clients = http.createServer();
new WebSocketServer({ server: clients, perMessageDeflate: false }).on('connection', (socket) => {
  socket.phids = [];
  socket.on('message', (data) => {
    const command = JSON.parse(data);
    if (command.command === 'ping') socket.send('{"type":"pong"}');
    if (command.command === 'subscribe') subscribe(socket, command.data);
  });
  socket.on('error', () => {});
  socket.on('close', () => leave(socket));
});
listen(clients, 'client');

const admin = http.createServer((request, response) => {
  const pieces = [];
  request.on('data', (piece) => pieces.push(piece));
  request.on('end', () => {
    const body = Buffer.concat(pieces);
    fanOut(JSON.parse(body), body);
    response.setHeader('Content-Type', 'application/json');
    response.end('{"fingerprint":"0123456789abcdef"}');
  });
});
admin.keepAliveTimeout = 600000;
listen(admin, 'admin');
