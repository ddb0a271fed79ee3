// A browser by npm's `ws`: node client.js URL
// Lines on stdin are sent as text frames. What happens is told on stdout, one JSON object on a line:
// {"event":"open"}, {"event":"message","text":…,"binary":…}, {"event":"close","code":…}, {"event":"error",…}.

'use strict';

const readline = require('readline');
const WebSocket = require('ws');

const tell = (event) => process.stdout.write(JSON.stringify(event) + '\n');

const socket = new WebSocket(process.argv[2]);
const input = readline.createInterface({ input: process.stdin });

socket.on('open', () => {
  tell({ event: 'open', extensions: socket.extensions, protocol: socket.protocol });
  input.on('line', (line) => socket.send(line));
});
socket.on('message', (data, isBinary) => tell({ event: 'message', text: data.toString(), binary: isBinary }));
socket.on('error', (error) => tell({ event: 'error', message: error.message }));
socket.on('close', (code) => {
  tell({ event: 'close', code });
  input.close();
});
input.on('close', () => socket.close());
