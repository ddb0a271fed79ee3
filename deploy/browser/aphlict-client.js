// @ts-check
/**
 * Live messages in any web page: a client of Aphlict Relay (and of Aphlict) that knows several servers.
 *
 *     import { AphlictClient } from "./aphlict-client.js";
 *
 *     const client = new AphlictClient(["wss://notify-1.example.com/", "wss://notify-2.example.com/"]);
 *     client.addEventListener("message", ({ message }) => console.log(message));
 *     client.subscribe("PHID-USER-…");
 *
 * It connects to one of the URLs, picked at random, and goes on at another when that is lost. There it asks for what it has
 * missed. What it has had before is not told again, if it has a `uniqueID`. An instance stands in the URL: "wss://…/~dog/".
 *
 * Events:
 *
 * - `message` ({@link AphlictMessageEvent}): one for each message. After a reconnection, older ones may come behind newer.
 * - `state`: {@link AphlictClient.state} has changed.
 */

/**
 * - `connecting`: not connected, or it is not known yet whether the server hears us. What is published meanwhile comes later,
 *   if that is within a minute.
 * - `open`: the server has answered.
 * - `closed`: by {@link AphlictClient.close}, and for good.
 *
 * @typedef {"connecting" | "open" | "closed"} State
 */

/**
 * @typedef {object} Options
 * @property {number} [longestWait] milliseconds, at most, from one attempt to connect to the next; 30,000 by default
 */

const PONG = '{"type":"pong"}';

// All in milliseconds.
const PING_INTERVAL = 15_000; // as Phabricator's pages
const LONGEST_SILENCE = 10_000; // of a server that has been asked something
const FIRST_WAIT = 500; // the bound of the second wait; the first is 0, and each further bound is twice the one before
const WORKED = 10_000; // for how long a connection must have been open to be no failure
const LONGEST_REPLAY = 60_000; // servers keep no more
// A repeater may have lost its own connection a while before it, or we, noticed: another has what came meanwhile.
const REPLAY_MARGIN = 20_000;
const FIRST_REPLAY_MARGIN = 500; // of messages from before the first subscription, there is nothing to be missed

// More than any page gets within the minute that can be replayed; some 100 bytes each.
const REMEMBERED = 10_000;

/** A moment, by two clocks: one that nobody sets, and one that goes on while the machine sleeps. */
class Moment {
  #steady = performance.now();
  #wall = Date.now();

  /** Milliseconds since then. Rather too many than too few. */
  age() {
    return Math.max(performance.now() - this.#steady, Date.now() - this.#wall);
  }
}

export class AphlictMessageEvent extends Event {
  /**
   * @param {any} message
   * @param {string} text
   */
  constructor(message, text) {
    super("message");
    /** What was published, parsed. */
    this.message = message;
    /** The same as it came, byte for byte. */
    this.text = text;
  }
}

export class AphlictClient extends EventTarget {
  /** @type {string[]} */
  #urls;
  #longestWait;
  /** @type {State} */
  #state = "connecting";
  /** @type {string | null} */
  #url = null;
  /** @type {Set<string>} those that have failed since a connection last was good */
  #failed = new Set();
  #attempts = 0; // since then
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {Moment | null} when the server first answered on this connection */
  #opened = null;
  /** @type {Moment | null} when the ping was sent that is not answered yet */
  #pinged = null;
  #heard = new Moment(); // anything at all
  /** @type {ReturnType<typeof setTimeout> | undefined} whatever comes next: an attempt, a ping, or the end of patience */
  #timer;
  /** @type {Set<string>} */
  #phids = new Set();
  /** @type {Moment | null} when something was subscribed to first */
  #begun = null;
  /** @type {Moment | null} until when nothing can have been missed */
  #complete = null;
  /** @type {Set<string>} in order of arrival */
  #seen = new Set();
  #wake = () => {
    if (globalThis.document?.visibilityState !== "hidden") this.#tryNow();
  };
  #online = () => this.#tryNow();

  /**
   * Begins to connect at once.
   *
   * @param {Iterable<string>} urls of client ports, or of proxies before them: ws: or wss:
   * @param {Options} [options]
   * @throws {TypeError} when there is no URL, or what is none
   */
  constructor(urls, { longestWait = 30_000 } = {}) {
    super();
    this.#urls = [...urls];
    if (this.#urls.length === 0) throw new TypeError("no URLs");
    for (const url of this.#urls) {
      if (!/^wss?:$/.test(new URL(url).protocol)) throw new TypeError(`neither ws: nor wss: ${url}`);
    }
    this.#longestWait = longestWait;
    globalThis.addEventListener?.("online", this.#online);
    globalThis.document?.addEventListener("visibilitychange", this.#wake);
    this.#connect();
  }

  get state() {
    return this.#state;
  }

  /** The URL that is connected to or tried, or was last. */
  get url() {
    return this.#url;
  }

  /**
   * At any time. What is subscribed to already does no harm.
   *
   * @param {...string} phids
   */
  subscribe(...phids) {
    const added = phids.filter((phid) => !this.#phids.has(phid));
    if (added.length === 0) return;
    added.forEach((phid) => this.#phids.add(phid));
    this.#begun ??= new Moment();
    this.#send("subscribe", added);
  }

  /** @param {...string} phids */
  unsubscribe(...phids) {
    const removed = phids.filter((phid) => this.#phids.delete(phid));
    if (removed.length > 0) this.#send("unsubscribe", removed);
  }

  /** Ends it. No event comes after that of the state. */
  close() {
    if (this.#state === "closed") return;
    clearTimeout(this.#timer);
    globalThis.removeEventListener?.("online", this.#online);
    globalThis.document?.removeEventListener("visibilitychange", this.#wake);
    this.#letGo();
    this.#become("closed");
  }

  /** @param {State} state */
  #become(state) {
    if (this.#state === state) return;
    this.#state = state;
    this.dispatchEvent(new Event("state"));
  }

  /**
   * What is not connected is not sent: subscriptions are, with all others, once it is.
   *
   * @param {string} command
   * @param {any} [data]
   */
  #send(command, data) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify({ command, data }));
  }

  // --- one connection

  /** One at random of those that have not failed; when all have, of all but the last. */
  #pick() {
    let candidates = this.#urls.filter((url) => !this.#failed.has(url));
    if (candidates.length === 0) {
      this.#failed.clear();
      candidates = this.#urls.filter((url) => url !== this.#url);
      if (candidates.length === 0) candidates = this.#urls;
    }
    return candidates[Math.floor(Math.random() * candidates.length)];
  }

  #connect() {
    this.#url = this.#pick();
    try {
      this.#socket = new WebSocket(this.#url);
    } catch {
      // The page's own rules forbid it: ws: in a page that came by https:.
      this.#lose();
      return;
    }
    const socket = this.#socket;
    socket.onopen = () => this.#greet();
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = () => this.#lose();
    this.#heard = new Moment();
    this.#waitForAnswer();
  }

  #greet() {
    if (this.#phids.size > 0) {
      this.#send("subscribe", [...this.#phids]);
      this.#send("replay", { age: Math.ceil(this.#missed()) });
    }
    this.#ping();
  }

  /** How far back something may have been missed. */
  #missed() {
    const begun = (this.#begun ?? new Moment()).age() + FIRST_REPLAY_MARGIN;
    const incomplete = this.#complete === null ? begun : this.#complete.age() + REPLAY_MARGIN;
    return Math.min(begun, incomplete, LONGEST_REPLAY);
  }

  #ping() {
    this.#pinged = new Moment();
    this.#heard = new Moment();
    this.#send("ping");
    this.#waitForAnswer();
  }

  /** Whoever is asked and says nothing is lost, though no close may ever come. */
  #waitForAnswer() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#heard.age() < LONGEST_SILENCE) this.#waitForAnswer();
      else this.#lose();
    }, LONGEST_SILENCE - this.#heard.age());
  }

  /** @param {unknown} data */
  #receive(data) {
    this.#heard = new Moment();
    if (typeof data !== "string") return;
    if (data === PONG) {
      this.#receivePong();
      return;
    }
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    if (this.#isNew(message?.uniqueID)) this.dispatchEvent(new AphlictMessageEvent(message, data));
  }

  #receivePong() {
    if (this.#pinged === null) return;
    // The first pong may overtake the replay. With a later one, that is long done, and all from before the ping was sent
    // has come.
    if (this.#opened !== null) this.#complete = this.#pinged;
    this.#opened ??= new Moment();
    this.#pinged = null;
    this.#failed.clear();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ping(), PING_INTERVAL);
    this.#become("open");
  }

  /** @param {unknown} id */
  #isNew(id) {
    if (typeof id !== "string") return true; // nobody can tell
    if (this.#seen.has(id)) return false;
    this.#seen.add(id);
    if (this.#seen.size > REMEMBERED) {
      for (const oldest of this.#seen) {
        this.#seen.delete(oldest);
        break;
      }
    }
    return true;
  }

  /** Of a socket that may be dead, nothing is heard any more, and nothing is waited for. */
  #letGo() {
    const socket = this.#socket;
    this.#socket = null;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  // --- from one to the next

  #lose() {
    this.#letGo();
    if (this.#url !== null) this.#failed.add(this.#url);
    // One that takes us and drops us at once, over and over, is not asked over and over without a pause.
    if (this.#opened !== null && this.#opened.age() >= WORKED) this.#attempts = 0;
    this.#opened = this.#pinged = null;
    // Many pages lose a server at the same moment: each waits for a time of its own, anything up to the bound.
    const bound = this.#attempts === 0 ? 0 : Math.min(this.#longestWait, FIRST_WAIT * 2 ** (this.#attempts - 1));
    ++this.#attempts;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), Math.random() * bound);
    this.#become("connecting");
  }

  /** The network is back, or somebody looks at the page: what waits need not, and what is open may have died unnoticed. */
  #tryNow() {
    if (this.#socket === null) {
      clearTimeout(this.#timer);
      this.#connect();
    } else if (this.#opened !== null && this.#pinged === null) {
      this.#ping();
    }
  }
}
