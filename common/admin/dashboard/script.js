"use strict";

const POLL = 1000; // ms between two looks at the status
const PATIENCE = 3000; // ms without an answer, after which the server is lost
const SHOWN = 300000; // ms that the charts go back
const MISSED = 1900; // ms between two answers from which on a look was missed, and the charts have a gap
const SPAN = 5; // seconds that a rate is taken over
const FORGET = 60000; // ms that a node which has gone is still shown
const REPORTED = 1000; // ms between two reports of a node to the one above
const SLACK = 750; // ms by which the reports may be late: machines are busy, and links are long
const LAGGING = REPORTED + SLACK; // ms
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

// What is not known is null.
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
  if (n === null) return "–";
  if (n < 1024) return `${n} B`;
  if (n < 1024 * 1024) return `${whole.format(n / 1024)} KiB`;
  return `${tenths.format(n / 1024 / 1024)} MiB`;
}

// --- what a status says ------------------------------------------------------------------------------------

// Nodes of other versions stand in the tree, and tell figures of which the node that is asked knows nothing. So each is
// read as what it is here: a count is a number or null, counts by reason are a Map.
const objectOf = (value) => (value !== null && typeof value === "object" ? value : {});
const numberOf = (value) => (Number.isFinite(value) ? value : null);
const countsOf = (value) => new Map(Object.entries(objectOf(value)).filter(([, n]) => Number.isFinite(n)));

// {bounds, counts}, or null.
function histogramOf(value) {
  const { bounds_us: bounds, counts } = objectOf(value);
  const areNumbers = [bounds, counts].every((list) => Array.isArray(list) && list.every(Number.isFinite));
  return areNumbers && bounds.length > 0 && counts.length === bounds.length + 1 ? { bounds, counts } : null;
}

function figuresOf(value) {
  const told = objectOf(value);
  return {
    state: typeof told.state === "string" ? told.state : "",
    clients: numberOf(told.clients),
    messages_in: numberOf(told.messages_in),
    messages_out: numberOf(told.messages_out),
    unsent_bytes: numberOf(told.unsent_bytes),
    gaps: numberOf(told.gaps),
    lag_ms: numberOf(told.lag_ms),
    refused: countsOf(told.refused),
    closed: countsOf(told.closed),
    latency: histogramOf(told.latency),
  };
}

// The tree as rows, each node as often as it is listed: {id, name, depth, levels, ..., figures}. `levels` is how far
// below the node that is asked it is by the shortest way, which its reports take.
function rowsOf(status) {
  const rows = [];
  const levels = new Map();
  const walk = (node, depth) => {
    rows.push({ ...node, name: node.name || node.id, depth, figures: figuresOf(node.figures) });
    levels.set(node.id, Math.min(depth, levels.get(node.id) ?? depth));
    for (const below of node.repeaters || []) walk(below, depth + 1);
  };
  walk(
    {
      ...status,
      id: status.fingerprint,
      version: status["relay.version"],
      connected: status.uptime,
      clients: numberOf(objectOf(status.figures).clients),
      lag: null,
      url: status["public.url"] || "",
    },
    0,
  );
  for (const row of rows) row.levels = levels.get(row.id);
  return rows;
}

// In the order of the rows, the node that is asked first.
const distinct = (rows) => [...new Map(rows.map((row) => [row.id, row])).values()];
const sum = (values) => values.reduce((total, value) => total + value, 0);

// How old the oldest message is that a node was not known to have, where all its reports come in time.
const dueOf = (row) => REPORTED * row.levels + SLACK;

// How far a node is behind, in ms: as it says, and as the one that is asked sees it, who hears of it with each report
// on the way up.
function lagOf(row) {
  const age = row["lag.age"] || 0;
  return Math.max(row.figures.lag_ms || 0, age > dueOf(row) ? age : 0);
}

const cutsOf = (figures) => sum([...figures.closed].filter(([reason]) => !USUAL_ENDS.has(reason)).map(([, n]) => n));

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
const answers = []; // of the time that the charts show: {at, publishes, deliveries, half, most, clients}

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

// By how much a count has grown a second. Null before there are two readings of it.
function rateOf(id, name, now) {
  const samples = seen.get(id).samples;
  const then = before(id, SPAN, now);
  const last = samples[samples.length - 1];
  const [from, to] = [then.figures[name], last.figures[name]];
  if (last.at === then.at || from === null || to === null) return null;
  return Math.max(0, (to - from) / ((last.at - then.at) / 1000));
}

function latencyOf(nodes, now) {
  let bounds = null;
  let counts = [];
  for (const node of nodes) {
    const { latency } = node.figures;
    if (!latency || (bounds !== null && bounds.join() !== latency.bounds.join())) continue;
    const then = before(node.id, SPAN, now).figures.latency;
    const known = then && then.bounds.join() === latency.bounds.join();
    const grown = latency.counts.map((n, i) => Math.max(0, n - (known ? then.counts[i] : 0)));
    counts = bounds === null ? grown : counts.map((n, i) => n + grown[i]);
    bounds = latency.bounds;
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

// `nodes`: each once.
function tellChanges(nodes, previous, now) {
  const present = new Set(nodes.map((node) => node.id));
  for (const [id, known] of seen) {
    if (present.has(id)) continue;
    if (!known.gone) {
      known.gone = now;
      tell(`${known.row.name} has gone`, "bad");
    } else if (now - known.gone > FORGET) {
      seen.delete(id);
    }
  }
  for (const node of nodes) {
    const known = seen.get(node.id);
    if (!known) {
      const namesake = [...seen.values()].find((other) => other.gone && other.row.name === node.name);
      tell(`${node.name} ${namesake ? "is back" : "has come"}`, "good");
      continue;
    }
    if (known.gone) tell(`${node.name} is back`, "good");
    const old = known.samples[known.samples.length - 1].figures;
    const { state, closed, gaps } = node.figures;
    if (state && old.state && state !== old.state) {
      tell(`${node.name} is ${words(state)}`, state === "ready" ? "good" : "warn");
    }
    for (const [reason, n] of closed) {
      const more = n - (old.closed.get(reason) || 0);
      if (more > 0 && !USUAL_ENDS.has(reason)) {
        tell(`${node.name} has cut ${more === 1 ? "a client" : `${count(more)} clients`}: ${words(reason)}`, "warn");
      }
    }
    if ((gaps || 0) > (old.gaps || 0)) tell(`${node.name} was told of a gap: messages are missing there`, "bad");
    const [lags, lagged] = [lagOf(node) >= LAGGING, lagOf(known.row) >= LAGGING];
    if (lags !== lagged) tell(`${node.name} ${lags ? "lags" : "is level again"}`, lags ? "warn" : "good");
  }
  if (previous.fingerprint !== nodes[0].id) seen.delete(previous.fingerprint);
}

const words = (name) => name.replace(/_/g, " ");

// --- drawing -----------------------------------------------------------------------------------------------

// Only what is new: whoever has the page read out would hear it again and again.
function show(id, text, className = "") {
  if ($(id).textContent !== text) $(id).textContent = text;
  if ($(id).className !== className) $(id).className = className;
}

function showAlert(id, text) {
  show(id, text, "alert");
  $(id).hidden = text === "";
}

function stateOf(row, gone) {
  if (gone) return ["gone", "bad"];
  const { state } = row.figures;
  if (state && state !== "ready") return [words(state), "warn"];
  if (lagOf(row) >= LAGGING) return ["lagging", "warn"];
  return state ? ["ready", "good"] : ["unknown", "quiet"];
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
  // What has just been sent is not behind: a node below is known to have it with its next report only.
  const lag = lagOf(row) ? [row.lag ? `${count(row.lag)} messages` : "", duration(lagOf(row))] : [];
  const cuts = cutsOf(row.figures);
  made.append(
    name,
    badge,
    cell("Clients", gone ? "–" : count(row.clients)),
    cell("Deliveries/s", gone ? "–" : rate(rateOf(row.id, "messages_out", now))),
    cell("Lag", gone ? "–" : lag.filter(Boolean).join(", ") || "0"),
    cell("Unsent", gone ? "–" : bytes(row.figures.unsent_bytes)),
    cell("Cut", count(cuts), cuts ? "number warn" : "number"),
    cell("Gaps", count(row.figures.gaps), row.figures.gaps ? "number bad" : "number"),
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
  const add = (what, why, node, kind, name) => {
    const key = `${what} ${why}`;
    const entry = all.get(key) || { what, why, total: 0, lately: 0 };
    const n = node.figures[kind].get(name);
    entry.total += n;
    entry.lately += n - (before(node.id, 60, now).figures[kind].get(name) || 0);
    all.set(key, entry);
  };
  for (const node of nodes) {
    for (const name of node.figures.refused.keys()) {
      const [port, reason] = name.split(".");
      add(`at the ${port} port`, words(reason || "unknown"), node, "refused", name);
    }
    for (const name of node.figures.closed.keys()) {
      if (!USUAL_ENDS.has(name)) add("clients cut off", words(name), node, "closed", name);
    }
  }
  const entries = [...all.values()].sort((a, b) => b.lately - a.lately || b.total - a.total);
  $("refused-none").hidden = entries.length > 0;
  $("refused-table").hidden = entries.length === 0;
  $("refused-rows").replaceChildren(
    ...entries.map(({ what, why, total, lately }) => {
      const row = element("tr");
      const kind = lately ? "number warn" : "number";
      row.append(element("td", what), element("td", why), element("td", count(lately), kind));
      row.append(element("td", count(total), "number"));
      return row;
    }),
  );
}

// {name, lines: [members of an answer], write}
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
    figure.svg.setAttribute("viewBox", `0 0 ${SHOWN / 1000} 100`);
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

// By time: a second is as wide as any other, and where the server was not heard of there is no line.
function pathOf(line, most, now) {
  let path = "";
  let end = -Infinity; // of the line so far, in ms
  for (const { at, [line]: value } of answers) {
    if (value === null) {
      end = -Infinity;
      continue;
    }
    const point = `${((SHOWN - now + at) / 1000).toFixed(1)} ${(98 - (most ? (value / most) * 94 : 0)).toFixed(1)}`;
    path += at - end > MISSED ? `M${point}h0` : `L${point}`; // h0: a dot is to be seen, too
    end = at;
  }
  return path;
}

function drawCharts(now) {
  while (answers[0].at < now - SHOWN) answers.shift();
  const latest = answers[answers.length - 1];
  for (const figure of FIGURES) {
    const most = Math.max(...figure.lines.flatMap((line) => answers.map((answer) => answer[line] || 0)));
    figure.lines.forEach((line, i) => figure.paths[i].setAttribute("d", pathOf(line, most, now)));
    const text = figure.lines.map((line) => figure.write(latest[line])).join(" / ");
    figure.now.textContent = `${text} (at most ${figure.write(most)})`;
    figure.svg.setAttribute("aria-label", `${figure.name}: now ${text}, in five minutes at most ${figure.write(most)}`);
  }
}

// Returns in how many ms to look again: when the first node that has not yet reported what it has would be late.
function draw(status, previous) {
  const now = Date.now();
  const rows = rowsOf(status);
  const nodes = distinct(rows);
  if (previous) tellChanges(nodes, previous, now);
  remember(nodes, now);

  const clients = sum(nodes.map((node) => node.clients || 0));
  const publishes = rateOf(rows[0].id, "messages_in", now);
  const rates = nodes.map((node) => rateOf(node.id, "messages_out", now));
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
  show("now-lag", duration(lag), lag >= LAGGING ? "warn" : "");
  show("now-gaps", count(gaps), gaps ? "bad" : "");
  answers.push({ at: now, publishes, deliveries, half, most, clients });
  drawCharts(now);
  drawNodes(rows, now);
  drawRefused(nodes, now);
  const left = nodes.map((node) => dueOf(node) - (node["lag.age"] || 0)).filter((ms) => ms > 0);
  return Math.min(POLL, ...left.map((ms) => Math.max(100, ms + 20)));
}

// --- looking -----------------------------------------------------------------------------------------------

let last = null; // the last status
let answered = Date.now(); // when it came
let token = sessionStorage.getItem("token") || "";

function headers() {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

const refused = { status: false, publish: false }; // whether a token was missing, last time

const lacksToken = (reply) => reply.status === 401 || reply.status === 403;

function showTokenForm() {
  const what = refused.status ? "This status" : "Publishing";
  show("token-label", `${what} is not open to you. A token of the admin port opens it:`);
  $("token-form").hidden = !refused.status && !refused.publish;
}

function showConnection(problem) {
  const lost = problem !== "" && Date.now() - answered >= PATIENCE;
  document.body.classList.toggle("lost", lost);
  const state = problem === "" ? "live" : lost ? "lost" : "waiting";
  show("connection-state", state, `badge ${problem === "" ? "good" : "bad"}`);
  const since = new Date(answered).toLocaleTimeString();
  const text = `No answer from this server since ${since}: ${problem}. What stands below is of then.`;
  showAlert("lost", lost ? text : "");
}

// An error of this page is none of the server. Returns in how many ms to look again.
function drawAnswer(status) {
  const previous = last;
  last = status;
  try {
    const next = draw(status, previous);
    showAlert("broken", "");
    return next;
  } catch (error) {
    console.error(error);
    showAlert("broken", `The server answers, but this page cannot show all of it: ${error.message}`);
    return POLL;
  }
}

async function look() {
  const begun = Date.now();
  let next = POLL;
  try {
    const signal = AbortSignal.timeout(PATIENCE);
    const reply = await fetch("../status/", { headers: headers(), cache: "no-store", signal });
    refused.status = lacksToken(reply);
    showTokenForm();
    if (!reply.ok) throw new Error(`${reply.status} ${reply.statusText}`);
    const status = await reply.json();
    answered = Date.now();
    showConnection("");
    next = drawAnswer(status);
  } catch (error) {
    showConnection(error.name === "TimeoutError" ? "it does not answer" : error.message);
  }
  setTimeout(look, Math.max(0, next - (Date.now() - begun)));
}

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  sessionStorage.setItem("token", token);
  if (!refused.publish) return; // the next look hides the form
  refused.publish = false;
  showTokenForm();
  $("test-send").focus();
});

// --- the test message --------------------------------------------------------------------------------------

const TEST_PATIENCE = 5000; // ms

// Resolves with the open socket, subscribed, or rejects with the reason.
function subscribe(url, instance, phids) {
  return new Promise((resolve, reject) => {
    const target = new URL(url.replace(/^http/, "ws"));
    const path = target.pathname.replace(/\/$/, "");
    if (instance !== "default") target.pathname = `${path}/~${encodeURIComponent(instance)}/`;
    const socket = new WebSocket(target);
    // A browser does not tell a page why.
    const unconnected = `no connection: nobody is there, or \`origins\` of that port lacks ${location.origin}`;
    const timer = setTimeout(() => fail(unconnected), TEST_PATIENCE);
    const fail = (reason) => {
      clearTimeout(timer);
      socket.close();
      reject(new Error(reason));
    };
    socket.onerror = () => fail(unconnected);
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
  if (lacksToken(reply)) {
    refused.publish = true;
    showTokenForm();
    $("token").select(); // and the focus with it
  }
  if (!reply.ok) throw new Error(`${reply.status}: ${(await reply.text()).slice(0, 200)}`);
}

async function test() {
  const instance = $("test-instance").value.trim();
  const key = crypto.getRandomValues(new Uint32Array(3)).join("");
  const phids = [`PHID-TEST-${key}`, ...$("test-phids").value.split(/\s+/).filter(Boolean)];
  const nodes = distinct(rowsOf(last)).filter((node) => node.url || node.depth > 0);
  const begin = (node) => cell("Arrived", node.url ? "…" : "it tells no public URL", "");
  const results = new Map(nodes.map((node) => [node.id, begin(node)]));
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
    const message = { type: "aphlict-relay.test", key, subscribers: phids, uniqueID: `test-${key}` };
    await send(instance, JSON.stringify(message));
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
  const button = $("test-send");
  if (last === null || button.ariaDisabled === "true") return;
  button.ariaDisabled = "true"; // `disabled` would take the focus away
  try {
    await test();
  } finally {
    button.ariaDisabled = "false";
  }
});

makeCharts();
look();
