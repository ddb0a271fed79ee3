// Cases of deploy/browser/aphlict-client.js whose times are minutes: its clocks, its WebSockets and its chance are made up.
//
// Prints an object: of each case's name, what is wrong, or null. test_browser_client.py reads it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const cases = new Map();
const test = (name, run) => cases.set(name, run);
const PONG = '{"type":"pong"}';
const A = "wss://a.example.com/";
const B = "wss://b.example.com/";
const C = "wss://c.example.com/";

// --- the world around the module

let time, timers, sockets;
let slept; // by which the wall's clock is ahead of the steady one
let page; // its window, as far as events go
const chance = Math.random;

globalThis.setTimeout = (run, delay = 0) => {
  const timer = { run, at: time + delay };
  timers.push(timer);
  return timer;
};
globalThis.clearTimeout = (timer) => {
  timers = timers.filter((each) => each !== timer);
};
Object.defineProperty(globalThis, "performance", { value: { now: () => time } });
Date.now = () => 1_700_000_000_000 + time + slept;

// Passes time, and does what falls due.
function pass(duration) {
  const end = time + duration;
  for (;;) {
    const [next] = timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
    if (next === undefined) break;
    clearTimeout(next);
    time = Math.max(time, next.at);
    next.run();
  }
  time = end;
}

// Passes time until the next attempt, and returns how long that took.
function passToNext() {
  const [begun, count] = [time, sockets.length];
  while (sockets.length === count) pass(Math.min(...timers.map(({ at }) => at)) - time);
  return time - begun;
}

globalThis.addEventListener = (...event) => page.addEventListener(...event);
globalThis.removeEventListener = (...event) => page.removeEventListener(...event);

class FakeSocket {
  readyState = 0;
  sent = [];
  closed = false;

  constructor(url) {
    this.url = url;
    this.at = time;
    sockets.push(this);
  }

  send(text) {
    assert.equal(this.readyState, 1);
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.closed = true;
  }

  // What the server does.

  open() {
    this.readyState = 1;
    this.onopen?.();
  }

  say(text) {
    this.onmessage?.({ data: text });
  }

  tell(message) {
    this.say(JSON.stringify(message));
  }

  answer() {
    this.open();
    this.say(PONG);
  }

  end() {
    this.readyState = 3;
    this.onclose?.({});
  }

  commands(name) {
    return this.sent.filter(({ command }) => command === name).map(({ data }) => data);
  }
}

function beginAnew() {
  [time, timers, sockets, slept] = [0, [], [], 0];
  page = new EventTarget();
  globalThis.document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  globalThis.WebSocket = FakeSocket;
  Math.random = chance;
}

const newest = () => sockets[sockets.length - 1];

const path = join(dirname(fileURLToPath(import.meta.url)), "../../deploy/browser/aphlict-client.js");
// By its text: Node takes a file named .js for a module only where a package says so.
const { AphlictClient } = await import("data:text/javascript," + encodeURIComponent(readFileSync(path, "utf8")));

// A client whose messages and states are written down.
function start(urls = [A], options = undefined) {
  const client = new AphlictClient(urls, options);
  const had = [];
  const states = [];
  client.addEventListener("message", ({ message }) => had.push(message.n));
  client.addEventListener("state", () => states.push(client.state));
  return { client, had, states };
}

// Answers pings for a while, each at once.
function live(socket, duration) {
  for (const end = time + duration; time < end; ) {
    const pings = socket.commands("ping").length;
    pass(Math.min(1000, end - time));
    if (socket.commands("ping").length > pings) socket.say(PONG);
  }
}

const message = (n) => ({ uniqueID: `id-${n}`, n });

// --- which URL

test("each of the URLs is as likely to be the first", () => {
  const urls = [A, B, C];
  const counts = { [A]: 0, [B]: 0, [C]: 0 };
  for (let n = 0; n < 3000; ++n) {
    start(urls).client.close();
    ++counts[newest().url];
  }
  // Six standard deviations of 3000 throws.
  for (const url of urls) assert.ok(Math.abs(counts[url] - 1000) < 155, JSON.stringify(counts));
});

test("after a failure each of the others is as likely to be the next, and never the one that failed", () => {
  const counts = {};
  for (let n = 0; n < 3000; ++n) {
    const { client } = start([A, B, C]);
    const first = newest().url;
    newest().end();
    pass(0);
    const key = first + newest().url;
    counts[key] = (counts[key] ?? 0) + 1;
    client.close();
  }
  assert.equal(Object.keys(counts).length, 6);
  assert.ok(![A, B, C].some((url) => counts[url + url]));
  for (const count of Object.values(counts)) assert.ok(Math.abs(count - 500) < 123, JSON.stringify(counts));
});

test("all are tried before one is tried again, and that is not the one that failed last", () => {
  for (let n = 0; n < 200; ++n) {
    const { client } = start([A, B, C]);
    const tried = [];
    for (let attempt = 0; attempt < 4; ++attempt) {
      tried.push(newest().url);
      newest().end();
      passToNext();
    }
    assert.equal(new Set(tried.slice(0, 3)).size, 3);
    assert.notEqual(tried[3], tried[2]);
    client.close();
  }
});

test("a URL that failed is as good as any other once another has worked", () => {
  const chosen = new Set();
  for (let n = 0; n < 200; ++n) {
    const { client } = start([A, B, C]);
    const failed = newest().url;
    newest().end();
    pass(0);
    newest().answer();
    newest().end();
    pass(500);
    chosen.add(newest().url === failed);
    client.close();
  }
  assert.deepEqual([...chosen].sort(), [false, true]);
});

test("a single URL is tried again and again", () => {
  start([A, A]);
  for (let n = 0; n < 5; ++n) {
    newest().end();
    passToNext();
  }
  assert.deepEqual(sockets.map(({ url }) => url), [A, A, A, A, A, A]);
});

test("no URL, and what is none, is an error", () => {
  for (const urls of [[], [""], ["notify.example.com"], ["https://notify.example.com/"]]) {
    assert.throws(() => new AphlictClient(urls), TypeError);
  }
  assert.equal(sockets.length, 0);
});

test("a URL that the page may not connect to is passed over", () => {
  globalThis.WebSocket = class extends FakeSocket {
    constructor(url) {
      if (url === A) throw new Error("mixed content");
      super(url);
    }
  };
  for (let n = 0; n < 20; ++n) {
    const { client } = start([A, B]);
    pass(0);
    newest().answer();
    assert.deepEqual([client.state, client.url], ["open", B]);
    client.close();
  }
});

// --- when

test("the first retry is at once, and the others within a bound that doubles to 30 s", () => {
  Math.random = () => 0.999999;
  start([A, B]);
  const waits = [];
  for (let n = 0; n < 10; ++n) {
    newest().end();
    waits.push(Math.round(passToNext()));
  }
  assert.deepEqual(waits, [0, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
});

test("the waits of many pages are spread over the whole of the bound", () => {
  const waits = [];
  for (let n = 0; n < 2000; ++n) {
    const { client } = start([A, B]);
    newest().end();
    pass(0);
    const failed = time;
    newest().end();
    pass(500);
    waits.push(newest().at - failed);
    client.close();
  }
  const tenths = Array.from({ length: 10 }, (_, n) => waits.filter((wait) => Math.floor(wait / 50) === n).length);
  // Six standard deviations of 2000 throws.
  assert.ok(tenths.every((count) => Math.abs(count - 200) < 81), JSON.stringify(tenths));
});

test("the longest wait can be told", () => {
  Math.random = () => 0.999999;
  start([A], { longestWait: 1000 });
  for (let n = 0; n < 8; ++n) {
    newest().end();
    const failed = time;
    pass(1000);
    assert.ok(newest().at - failed <= 1000);
  }
  assert.equal(sockets.length, 9);
});

test("after a connection that has worked the first retry is at once again", () => {
  Math.random = () => 0.999999;
  start([A, B]);
  for (let n = 0; n < 4; ++n) {
    newest().end();
    pass(2000);
  }
  newest().answer();
  live(newest(), 60_000);
  const count = sockets.length;
  newest().end();
  pass(0);
  assert.equal(sockets.length, count + 1);
});

test("a server that takes and drops over and over is not asked without a pause", () => {
  Math.random = () => 0.999999;
  start([A]);
  for (let n = 0; n < 6; ++n) {
    newest().answer();
    newest().end();
    pass(0);
  }
  assert.equal(sockets.length, 2);
});

test("an attempt that is never answered is given up", () => {
  start([A, B]);
  const first = newest();
  pass(9_999);
  assert.equal(sockets.length, 1);
  pass(1);
  assert.equal(sockets.length, 2);
  assert.ok(first.closed);
  newest().open(); // and then says nothing
  pass(10_000);
  pass(500);
  assert.equal(sockets.length, 3);
});

// --- that it is alive

test("it pings every 15 s", () => {
  start();
  newest().answer();
  live(newest(), 150_500);
  assert.equal(newest().commands("ping").length, 11);
  assert.equal(sockets.length, 1);
});

test("a connection without a pong is dead, whether or not it ever closes", () => {
  const { client, states } = start([A, B]);
  const dead = newest();
  dead.answer();
  live(dead, 30_000);
  pass(14_000 + 9_000);
  assert.equal(client.state, "open");
  pass(3_000);
  assert.ok(dead.closed);
  assert.deepEqual([client.state, sockets.length], ["connecting", 2]);
  assert.notEqual(newest().url, dead.url);
  dead.tell(message(1)); // too late: it is another's turn
  dead.end();
  newest().answer();
  assert.deepEqual([states, sockets.length], [["open", "connecting", "open"], 2]);
});

test("a server that is slow to answer but sends messages is not dead", () => {
  const { client, had } = start();
  newest().answer();
  pass(15_000);
  for (let n = 0; n < 10; ++n) {
    pass(9_000);
    newest().tell(message(n));
  }
  assert.deepEqual([client.state, had.length, sockets.length], ["open", 10, 1]);
  pass(10_000);
  assert.equal(client.state, "connecting");
});

for (const [name, wake] of [
  ["the network is back", () => page.dispatchEvent(new Event("online"))],
  ["the page is looked at", () => document.dispatchEvent(new Event("visibilitychange"))],
]) {
  test(`when ${name} what waits is tried at once`, () => {
    Math.random = () => 0.999999;
    start([A]);
    for (let n = 0; n < 7; ++n) {
      newest().end();
      passToNext();
    }
    newest().end();
    pass(1_000);
    const count = sockets.length;
    wake();
    assert.equal(sockets.length, count + 1);
    wake(); // it is being tried
    pass(5_000);
    assert.equal(sockets.length, count + 1);
  });

  test(`when ${name} what is open is asked whether it is alive`, () => {
    const { client } = start([A, B]);
    newest().answer();
    pass(5_000);
    wake();
    wake();
    assert.equal(newest().commands("ping").length, 2);
    pass(10_000);
    assert.equal(client.state, "connecting");
  });
}

test("a page that is hidden is in no hurry", () => {
  Math.random = () => 0.999999;
  start([A]);
  newest().end();
  pass(0);
  newest().end();
  document.visibilityState = "hidden";
  document.dispatchEvent(new Event("visibilitychange"));
  assert.equal(sockets.length, 2);
});

// --- subscriptions

test("subscriptions are sent once it is connected, all together, and later ones at once", () => {
  const { client } = start();
  client.subscribe("1", "2");
  client.subscribe("2", "3");
  client.unsubscribe("1");
  newest().answer();
  client.subscribe("3", "4");
  client.unsubscribe("2", "5");
  client.unsubscribe("5");
  assert.deepEqual(newest().commands("subscribe"), [["2", "3"], ["4"]]);
  assert.deepEqual(newest().commands("unsubscribe"), [["2"]]);
  newest().end();
  pass(0);
  newest().open();
  assert.deepEqual(newest().commands("subscribe"), [["3", "4"]]);
});

test("without a subscription nothing is asked for", () => {
  start();
  newest().open();
  assert.deepEqual(newest().sent, [{ command: "ping" }]);
});

// --- what was missed

const replayed = (socket) => socket.commands("replay").map(({ age }) => age);

test("at first it asks for what came since it was subscribed to", () => {
  const { client } = start();
  pass(2000);
  client.subscribe("1");
  pass(3000);
  newest().open();
  assert.deepEqual(newest().sent.map(({ command }) => command), ["subscribe", "replay", "ping"]);
  assert.deepEqual(replayed(newest()), [3500]);
});

// The age that is asked for when a connection that lived for 300 s, pings answered at each 15th, is back after `away`.
function ageAfter(away) {
  const { client } = start();
  client.subscribe("1");
  newest().answer();
  live(newest(), 300_000);
  const [lastPing] = [timers[0].at - 15_000]; // the next is due 15 s after the last was answered
  newest().end();
  pass(0);
  pass(away);
  newest().open();
  return { age: replayed(newest())[0], since: time - lastPing };
}

test("after a loss it asks for what came since it last knew to be connected and 20 s more", () => {
  const { age, since } = ageAfter(8_000);
  assert.ok(since >= 8_000 && since <= 8_000 + 16_000);
  assert.ok(age >= since + 20_000 && age <= since + 21_000, `${age} ${since}`);
});

test("it never asks for more than a minute", () => {
  Math.random = () => 0; // so that there is an attempt at any time
  const { client } = start();
  client.subscribe("1");
  newest().answer();
  live(newest(), 300_000);
  pass(200_000); // cut off
  newest().open();
  assert.deepEqual(replayed(newest()), [60_000]);
});

test("the time that the machine slept counts", () => {
  const { client } = start();
  client.subscribe("1");
  newest().answer();
  live(newest(), 300_000);
  slept = 30_000;
  newest().end();
  pass(0);
  newest().open();
  assert.ok(replayed(newest())[0] >= 50_000);
});

test("a replay that was cut off is asked for again as a whole", () => {
  const { client } = start();
  client.subscribe("1");
  newest().answer();
  live(newest(), 300_000);
  newest().end();
  pass(0);
  pass(5_000);
  newest().answer();
  const [first] = replayed(newest());
  newest().tell(message(1));
  pass(3_000);
  newest().end();
  pass(500);
  newest().open();
  assert.ok(replayed(newest())[0] >= first + 3_000);
});

test("what was had before is not told again, whichever server sends it", () => {
  const { client, had } = start([A, B]);
  client.subscribe("1");
  newest().answer();
  [1, 2].forEach((n) => newest().tell(message(n)));
  newest().tell(message(2));
  newest().end();
  pass(0);
  newest().answer();
  [1, 2, 3].forEach((n) => newest().tell(message(n)));
  assert.deepEqual(had, [1, 2, 3]);
});

test("messages without a uniqueID are all told", () => {
  const { had } = start();
  newest().answer();
  [{ n: 1 }, { n: 1 }, { n: 1, uniqueID: 7 }, { n: 1, uniqueID: 7 }].forEach((each) => newest().tell(each));
  assert.equal(had.length, 4);
});

test("the newest 10,000 messages are remembered, and no more", () => {
  const { had } = start();
  newest().answer();
  for (let n = 0; n < 25_000; ++n) newest().tell(message(n));
  assert.equal(had.length, 25_000);
  for (let n = 15_000; n < 25_000; ++n) newest().tell(message(n));
  assert.equal(had.length, 25_000);
  newest().tell(message(14_999));
  assert.equal(had.length, 25_001);
});

test("a message is told parsed and as it came", () => {
  const { client } = start();
  const events = [];
  client.addEventListener("message", (event) => events.push(event));
  newest().answer();
  const text = '{"big": 12345678901234567890, "uniqueID":"a"}';
  newest().say(text);
  newest().say("no JSON");
  newest().onmessage({ data: new ArrayBuffer(3) });
  newest().say('{"type":"pong","subscribers":[]}');
  assert.deepEqual(events.map((event) => event.text), [text, '{"type":"pong","subscribers":[]}']);
  assert.equal(events[0].message.uniqueID, "a");
});

// --- states, and the end

test("it is open when the server has answered, not before", () => {
  const { client, states } = start();
  assert.equal(client.state, "connecting");
  newest().open();
  assert.equal(client.state, "connecting");
  newest().say(PONG);
  assert.equal(client.state, "open");
  newest().end();
  assert.deepEqual(states, ["open", "connecting"]);
});

for (const [moment, prepare] of [
  ["while it connects", () => {}],
  ["while it is open", () => newest().answer()],
  ["while it waits", () => newest().end()],
]) {
  test(`closed ${moment}, it does nothing any more`, () => {
    const { client, had, states } = start([A, B]);
    client.subscribe("1");
    prepare();
    const last = newest();
    client.close();
    client.close();
    const sent = last.sent.length;
    last.tell(message(1));
    last.end();
    page.dispatchEvent(new Event("online"));
    document.dispatchEvent(new Event("visibilitychange"));
    client.subscribe("2");
    pass(600_000);
    assert.deepEqual([client.state, had, sockets.length, last.sent.length], ["closed", [], 1, sent]);
    assert.equal(states.filter((state) => state === "closed").length, 1);
    assert.deepEqual(timers, []);
  });
}

test("a listener may close it", () => {
  const { client } = start([A, B]);
  client.addEventListener("state", () => client.close());
  newest().answer();
  pass(600_000);
  assert.deepEqual([client.state, sockets.length, timers], ["closed", 1, []]);
});

// --- all of them

const results = {};
for (const [name, run] of cases) {
  beginAnew();
  try {
    run();
    results[name] = null;
  } catch (error) {
    results[name] = error.stack;
  }
}
console.log(JSON.stringify(results));
