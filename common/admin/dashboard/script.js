"use strict";

const POLL = 1000; // ms between two looks at the status
const PATIENCE = 3000; // ms without an answer, after which the server is lost
const KEPT = 300; // samples of the charts
const SPAN = 5; // seconds that a rate is taken over
const FORGET = 60000; // ms that a node which has gone is still shown
const LAGGING = 2000; // ms
const REPORTED = 1000; // ms between two reports of a node to the one above
// Ends of clients that are nobody's fault.
const USUAL_ENDS = new Set(["left", "lost", "drained"]);

const $ = (id) => document.getElementById(id);
const svg = (name) => document.createElementNS("http://www.w3.org/2000/svg", name);

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

// --- text --------------------------------------------------------------------------------------------------

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

const count = (n) => (n === null ? "–" : whole.format(n));
const rate = (n) => (n === null ? "–" : n < 10 ? tenths.format(n) : whole.format(n));

function duration(ms) {
  if (ms === null) return "–";
  if (ms < 1) return `${whole.format(ms * 1000)} µs`;
  if (ms < 1000) return `${ms < 10 ? tenths.format(ms) : whole.format(ms)} ms`;
  if (ms < 60000) return `${tenths.format(ms / 1000)} s`;
  if (ms < 3600000) return `${Math.floor(ms / 60000)} min`;
  if (ms < 48 * 3600000) return `${Math.floor(ms / 3600000)} h`;
  return `${Math.floor(ms / (24 * 3600000))} d`;
}

function bytes(n) {
  if (n < 1024) return `${n} B`;
  if (n < 1024 * 1024) return `${whole.format(n / 1024)} KiB`;
  return `${tenths.format(n / 1024 / 1024)} MiB`;
}

// --- what a status says ------------------------------------------------------------------------------------

// The tree as rows, each node as often as it is listed: {id, name, depth, parent, ..., figures}.
function rowsOf(status) {
  const rows = [];
  const walk = (node, depth, parent) => {
    rows.push({ ...node, depth, parent, figures: node.figures || {} });
    for (const below of node.repeaters || []) walk(below, depth + 1, node.id);
  };
  walk(
    {
      ...status,
      id: status.fingerprint,
      version: status["relay.version"],
      connected: status.uptime,
      clients: (status.figures || {}).clients || 0,
      lag: null,
      url: status["public.url"] || "",
    },
    0,
    null,
  );
  return rows;
}

const distinct = (rows) => [...new Map(rows.map((row) => [row.id, row])).values()];
const sum = (values) => values.reduce((total, value) => total + value, 0);

// How far a node is behind, in ms: as it says, and as the one that is asked sees it, who hears of it with each report on
// the way up.
function lagOf(row) {
  const age = row["lag.age"] || 0;
  return Math.max(row.figures.lag_ms || 0, age > REPORTED * (row.depth + 0.5) ? age : 0);
}

const cutsOf = (figures) =>
  sum(Object.entries(figures.closed || {}).filter(([reason]) => !USUAL_ENDS.has(reason)).map(([, n]) => n));

// The value below which that share of a histogram's counts lies, in ms; null without any.
function quantile(bounds, counts, share) {
  const wanted = sum(counts) * share;
  if (wanted === 0) return null;
  let seen = 0;
  for (let i = 0; i < counts.length; ++i) {
    if (seen + counts[i] >= wanted) {
      const from = i === 0 ? 0 : bounds[i - 1];
      const to = i < bounds.length ? bounds[i] : bounds[bounds.length - 1];
      return (from + ((to - from) * (wanted - seen)) / counts[i]) / 1000;
    }
    seen += counts[i];
  }
  return bounds[bounds.length - 1] / 1000;
}

// --- what has been seen so far -----------------------------------------------------------------------------

const seen = new Map(); // by node id: {samples: [{at, figures}], row, gone: ms or 0}
const charts = { publishes: [], deliveries: [], half: [], most: [], clients: [] };

function remember(rows, now) {
  for (const row of rows) {
    const known = seen.get(row.id) || { samples: [], gone: 0 };
    known.row = row;
    known.gone = 0;
    known.samples.push({ at: now, figures: row.figures });
    while (known.samples[0].at < now - 61000) known.samples.shift();
    seen.set(row.id, known);
  }
}

// A node's figures of some seconds ago, or the oldest that are known.
function before(id, seconds, now) {
  const samples = seen.get(id).samples;
  return samples.findLast((sample) => sample.at <= now - seconds * 1000) || samples[0];
}

// By how much a count has grown a second. Null before there are two readings.
function rateOf(id, read, now) {
  const samples = seen.get(id).samples;
  const then = before(id, SPAN, now);
  const last = samples[samples.length - 1];
  if (last.at === then.at) return null;
  return Math.max(0, ((read(last.figures) || 0) - (read(then.figures) || 0)) / ((last.at - then.at) / 1000));
}

function latencyOf(nodes, now) {
  let bounds = null;
  let counts = [];
  for (const node of nodes) {
    const latency = node.figures.latency;
    if (!latency) continue;
    const then = before(node.id, SPAN, now).figures.latency;
    const grown = latency.counts.map((n, i) => Math.max(0, n - (then ? then.counts[i] : 0)));
    if (bounds === null) [bounds, counts] = [latency.bounds_us, grown];
    else if (bounds.join() === latency.bounds_us.join()) counts = counts.map((n, i) => n + grown[i]);
  }
  return [0.5, 0.99].map((share) => (bounds === null ? null : quantile(bounds, counts, share)));
}

// --- events ------------------------------------------------------------------------------------------------

function tell(text, className = "") {
  const line = element("li");
  const time = element("time", new Date().toLocaleTimeString());
  line.append(time, element("span", text, className));
  $("events").prepend(line);
  while ($("events").children.length > 200) $("events").lastChild.remove();
}

function tellChanges(rows, previous, now) {
  const present = new Set(rows.map((row) => row.id));
  for (const row of rows) {
    const known = seen.get(row.id);
    if (!known) {
      const namesake = [...seen.values()].find((other) => other.gone && other.row.name === row.name);
      tell(`${row.name} ${namesake ? "is back" : "has come"}`, "good");
      continue;
    }
    if (known.gone) tell(`${row.name} is back`, "good");
    const old = known.samples[known.samples.length - 1].figures;
    const state = row.figures.state;
    if (old.state && state !== old.state) tell(`${row.name} is ${words(state)}`, state === "ready" ? "good" : "warn");
    for (const [reason, n] of Object.entries(row.figures.closed || {})) {
      const more = n - ((old.closed || {})[reason] || 0);
      if (more > 0 && !USUAL_ENDS.has(reason)) {
        tell(`${row.name} has cut ${more === 1 ? "a client" : `${count(more)} clients`}: ${words(reason)}`, "warn");
      }
    }
    if ((row.figures.gaps || 0) > (old.gaps || 0)) tell(`${row.name} was told of a gap: messages are missing there`, "bad");
    const [lags, lagged] = [lagOf(row) > LAGGING, lagOf(known.row) > LAGGING];
    if (lags !== lagged) tell(`${row.name} ${lags ? "lags" : "is level again"}`, lags ? "warn" : "good");
  }
  for (const [id, known] of seen) {
    if (present.has(id)) continue;
    if (!known.gone) {
      known.gone = now;
      tell(`${known.row.name} has gone`, "bad");
    } else if (now - known.gone > FORGET) {
      seen.delete(id);
    }
  }
  if (previous && previous.fingerprint !== rows[0].id) seen.delete(previous.fingerprint);
}

const words = (name) => String(name || "unknown").replace(/_/g, " ");

// --- drawing -----------------------------------------------------------------------------------------------

function show(id, text, className = "") {
  $(id).textContent = text;
  $(id).className = className;
}

function stateOf(row, gone) {
  if (gone) return ["gone", "bad"];
  const state = row.figures.state;
  if (state && state !== "ready") return [words(state), "warn"];
  if (lagOf(row) > LAGGING) return ["lagging", "warn"];
  return ["ready", "good"];
}

function cell(label, text, className = "number") {
  const made = element("td", text, className);
  made.dataset.label = label;
  return made;
}

function nodeRow(row, now, gone) {
  const made = element("tr");
  made.dataset.node = row.name;
  const name = element("th", `${"\u2003".repeat(row.depth)}${row.name}`);
  name.scope = "row";
  const where = [row.depth === 0 ? row.role : row.address, row.url].filter(Boolean).join(", ");
  if (where) name.append(element("small", `${"\u2003".repeat(row.depth)}${where}`));
  const [state, kind] = stateOf(row, gone);
  const badge = element("td", "", "");
  badge.dataset.label = "State";
  badge.append(element("span", state, `badge ${kind}`));
  const lag = [row.lag ? `${count(row.lag)} messages` : "", lagOf(row) ? duration(lagOf(row)) : ""];
  const cuts = cutsOf(row.figures);
  made.append(
    name,
    badge,
    cell("Clients", gone ? "–" : count(row.clients)),
    cell("Deliveries/s", gone ? "–" : rate(rateOf(row.id, (figures) => figures.messages_out, now))),
    cell("Lag", gone ? "–" : lag.filter(Boolean).join(", ") || "0"),
    cell("Unsent", gone ? "–" : bytes(row.figures.unsent_bytes || 0)),
    cell("Cut", count(cuts), cuts ? "number warn" : "number"),
    cell("Gaps", count(row.figures.gaps || 0), row.figures.gaps ? "number bad" : "number"),
    cell("Version", row.version || "", ""),
    cell(gone ? "Gone for" : "Since", duration(gone ? now - gone : row.connected), ""),
  );
  return made;
}

function drawNodes(rows, now) {
  const made = rows.map((row) => nodeRow(row, now, 0));
  for (const known of seen.values()) {
    if (known.gone) made.push(nodeRow(known.row, now, known.gone));
  }
  $("node-rows").replaceChildren(...made);
}

function drawRefused(nodes, now) {
  const all = new Map();
  const add = (what, why, node, read) => {
    const key = `${what} ${why}`;
    const entry = all.get(key) || { what, why, total: 0, lately: 0 };
    const n = read(node.figures);
    entry.total += n;
    entry.lately += n - (read(before(node.id, 60, now).figures) || 0);
    all.set(key, entry);
  };
  for (const node of nodes) {
    for (const key of Object.keys(node.figures.refused || {})) {
      const [port, reason] = key.split(".");
      add(`at the ${port} port`, words(reason), node, (figures) => (figures.refused || {})[key] || 0);
    }
    for (const reason of Object.keys(node.figures.closed || {})) {
      if (USUAL_ENDS.has(reason)) continue;
      add("clients cut off", words(reason), node, (figures) => (figures.closed || {})[reason] || 0);
    }
  }
  const entries = [...all.values()].sort((a, b) => b.lately - a.lately || b.total - a.total);
  $("refused-none").hidden = entries.length > 0;
  $("refused-table").hidden = entries.length === 0;
  $("refused-rows").replaceChildren(
    ...entries.map(({ what, why, total, lately }) => {
      const row = element("tr");
      row.append(element("td", what), element("td", why), element("td", count(lately), lately ? "number warn" : "number"));
      row.append(element("td", count(total), "number"));
      return row;
    }),
  );
}

// {name, lines: [keys of `charts`], write}
const FIGURES = [
  { name: "Publishes a second", lines: ["publishes"], write: rate },
  { name: "Deliveries a second", lines: ["deliveries"], write: rate },
  { name: "Latency: half, and 99 of 100 (dashed), within", lines: ["half", "most"], write: duration },
  { name: "Clients", lines: ["clients"], write: count },
];

function makeCharts() {
  for (const figure of FIGURES) {
    const made = element("figure");
    const caption = element("figcaption");
    figure.now = element("span");
    caption.append(element("span", figure.name), figure.now);
    figure.svg = svg("svg");
    figure.svg.setAttribute("viewBox", `0 0 ${KEPT - 1} 100`);
    figure.svg.setAttribute("preserveAspectRatio", "none");
    figure.svg.setAttribute("role", "img");
    figure.paths = figure.lines.map((_, i) => {
      const path = svg("path");
      if (i === 1) path.setAttribute("class", "second");
      figure.svg.append(path);
      return path;
    });
    made.append(caption, figure.svg);
    $("charts").append(made);
  }
}

function drawCharts() {
  for (const figure of FIGURES) {
    const most = Math.max(...figure.lines.flatMap((line) => charts[line].map((n) => n || 0)), 0);
    figure.lines.forEach((line, i) => {
      const values = charts[line];
      const from = KEPT - values.length;
      let path = "";
      let pen = "M";
      values.forEach((value, at) => {
        if (value === null) return void (pen = "M");
        path += `${pen}${from + at} ${(98 - (most ? (value / most) * 94 : 0)).toFixed(1)}`;
        pen = "L";
      });
      figure.paths[i].setAttribute("d", path);
    });
    const now = figure.lines.map((line) => figure.write(charts[line].at(-1))).join(" / ");
    figure.now.textContent = `${now} (at most ${figure.write(most)})`;
    figure.svg.setAttribute("aria-label", `${figure.name}: now ${now}, in five minutes at most ${figure.write(most)}`);
  }
}

function sample(key, value) {
  charts[key].push(value);
  if (charts[key].length > KEPT) charts[key].shift();
}

function draw(status, previous) {
  const now = Date.now();
  const rows = rowsOf(status);
  if (previous) tellChanges(rows, previous, now);
  const nodes = distinct(rows);
  remember(nodes, now);

  const clients = sum(nodes.map((node) => node.clients));
  const publishes = rateOf(rows[0].id, (figures) => figures.messages_in, now);
  const rates = nodes.map((node) => rateOf(node.id, (figures) => figures.messages_out, now));
  const deliveries = rates.every((each) => each === null) ? null : sum(rates.map((each) => each || 0));
  const [half, most] = latencyOf(nodes, now);
  const lag = Math.max(...nodes.map(lagOf));
  const gaps = sum(nodes.map((node) => node.figures.gaps || 0));
  const gone = [...seen.values()].filter((known) => known.gone).length;
  show("about", `${rows[0].name}, ${status.role}, ${status["relay.version"]}, up for ${duration(status.uptime)}`);
  show("now-clients", count(clients));
  show("now-publishes", rate(publishes));
  show("now-deliveries", rate(deliveries));
  show("now-latency", half === null ? "–" : `${duration(half)} / ${duration(most)}`);
  show("now-nodes", gone ? `${nodes.length}, ${gone} gone` : `${nodes.length}`, gone ? "bad" : "");
  show("now-lag", duration(lag), lag > LAGGING ? "warn" : "");
  show("now-gaps", count(gaps), gaps ? "bad" : "");
  Object.entries({ publishes, deliveries, half, most, clients }).forEach(([key, value]) => sample(key, value));
  drawCharts();
  drawNodes(rows, now);
  drawRefused(nodes, now);
}

// --- looking -----------------------------------------------------------------------------------------------

let last = null; // the last status
let answered = Date.now(); // when it came
let token = sessionStorage.getItem("token") || "";

function headers() {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

function showConnection(problem) {
  const lost = problem !== "" && Date.now() - answered >= PATIENCE;
  document.body.classList.toggle("lost", lost);
  show("connection-state", problem === "" ? "live" : lost ? "lost" : "waiting", `badge ${problem === "" ? "good" : "bad"}`);
  const text = lost ? `No answer from this server since ${new Date(answered).toLocaleTimeString()}: ${problem}` : "";
  if ($("lost").textContent !== text) $("lost").textContent = text;
  $("lost").hidden = !lost;
}

async function look() {
  const begun = Date.now();
  try {
    const reply = await fetch("../status/", { headers: headers(), cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    $("token-form").hidden = reply.status !== 401 && reply.status !== 403;
    if (!reply.ok) throw new Error(`${reply.status} ${reply.statusText}`);
    const status = await reply.json();
    draw(status, last);
    last = status;
    answered = Date.now();
    showConnection("");
  } catch (error) {
    showConnection(error.name === "TimeoutError" ? "it does not answer" : error.message);
  }
  setTimeout(look, Math.max(0, POLL - (Date.now() - begun)));
}

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  sessionStorage.setItem("token", token);
});

// --- the test message --------------------------------------------------------------------------------------

const TEST_PATIENCE = 5000; // ms

// Resolves with the open socket, subscribed, or rejects with the reason.
function subscribe(url, instance, phids) {
  return new Promise((resolve, reject) => {
    const target = new URL(url.replace(/^http/, "ws"));
    if (instance !== "default") target.pathname = `${target.pathname.replace(/\/$/, "")}/~${encodeURIComponent(instance)}/`;
    const socket = new WebSocket(target);
    const timer = setTimeout(() => fail("no connection"), TEST_PATIENCE);
    const fail = (reason) => {
      clearTimeout(timer);
      socket.close();
      reject(new Error(reason));
    };
    socket.onerror = () => fail("no connection");
    socket.onopen = () => {
      socket.send(JSON.stringify({ command: "subscribe", data: phids }));
      socket.send(JSON.stringify({ command: "ping" })); // its answer says that the subscription is there
    };
    socket.onmessage = () => {
      clearTimeout(timer);
      resolve(socket);
    };
  });
}

function arrival(socket, key, sent) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("it did not arrive")), TEST_PATIENCE);
    socket.onmessage = (event) => {
      if (JSON.parse(event.data).key !== key) return;
      clearTimeout(timer);
      resolve(performance.now() - sent());
    };
  });
}

async function send(instance, body) {
  const target = instance === "default" ? "../" : `../?instance=${encodeURIComponent(instance)}`;
  const reply = await fetch(target, {
    method: "POST",
    headers: { ...headers(), "Content-Type": "application/json" },
    body,
    signal: AbortSignal.timeout(TEST_PATIENCE),
  });
  if (!reply.ok) throw new Error(`${reply.status}: ${(await reply.text()).slice(0, 200)}`);
}

async function test() {
  const instance = $("test-instance").value.trim();
  const key = crypto.getRandomValues(new Uint32Array(3)).join("");
  const phids = [`PHID-TEST-${key}`, ...$("test-phids").value.split(/\s+/).filter(Boolean)];
  const nodes = distinct(rowsOf(last)).filter((node) => node.url || node.depth > 0);
  const results = new Map(nodes.map((node) => [node.id, cell("Arrived", node.url ? "…" : "it tells no public URL", "")]));
  $("test-rows").replaceChildren(
    ...nodes.map((node) => {
      const row = element("tr");
      row.dataset.node = node.name;
      const name = element("th", node.name);
      name.scope = "row";
      row.append(name, results.get(node.id));
      return row;
    }),
  );
  $("test-table").hidden = false;
  const fail = (node, reason) => {
    results.get(node.id).textContent = reason;
    results.get(node.id).className = "bad";
  };
  $("test-state").textContent = "subscribing…";
  const sockets = new Map();
  await Promise.all(
    nodes.filter((node) => node.url).map(async (node) => {
      try {
        sockets.set(node, await subscribe(node.url, instance, phids));
      } catch (error) {
        fail(node, error.message);
      }
    }),
  );
  let sent = 0;
  const arrivals = [...sockets].map(async ([node, socket]) => {
    try {
      results.get(node.id).textContent = duration(await arrival(socket, key, () => sent));
      results.get(node.id).className = "good";
      return 1;
    } catch (error) {
      fail(node, error.message);
      return 0;
    } finally {
      socket.close();
    }
  });
  sent = performance.now();
  try {
    await send(instance, JSON.stringify({ type: "aphlict-relay.test", key, subscribers: phids, uniqueID: `test-${key}` }));
    $("test-state").textContent = `sent; taken after ${duration(performance.now() - sent)}`;
  } catch (error) {
    $("test-state").textContent = `not sent: ${error.message}`;
    sockets.forEach((socket) => socket.close());
    return;
  }
  const arrived = sum(await Promise.all(arrivals));
  $("test-state").textContent += `; arrived at ${arrived} of ${nodes.length}`;
}

$("test-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (last === null) return;
  $("test-send").disabled = true;
  try {
    await test();
  } finally {
    $("test-send").disabled = false;
  }
});

makeCharts();
look();
